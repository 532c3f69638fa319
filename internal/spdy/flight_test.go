package spdy_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// flown is the frames that a session remembers, without their times, and without the
// lengths of header blocks.
func flown(s *spdy.Session) (lines []string) {
	for _, f := range s.Frames() {
		switch f.Type.String() {
		case "SYN_STREAM", "SYN_REPLY", "HEADERS":
			f.Length = 0
		}
		lines = append(lines, f.FrameInfo.String())
	}
	return lines
}

// A session remembers what went both ways in the order in which it did, with what
// the frames of a fixed length say.
func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h := newServerTest(t, setup{})
		time.Sleep(time.Second)
		h.p.Send(ping(1))
		h.p.Want("the echo", ping(1))
		h.p.Send(req(1, "/block"))
		h.p.WantIdle("no answer")
		h.p.Send(wu(1, 77), rst(1, spdy.Cancel))
		synctest.Wait()
		h.p.Send(goAway(0, 2))
		h.p.Close()
		h.wantServed()
		got := flown(h.s)
		want := []string{
			"send SETTINGS length=20", "send WINDOW_UPDATE length=8 delta=983040",
			"recv PING length=4 id=1", "send PING length=4 id=1",
			"recv SYN_STREAM stream=1 flags=FIN length=0", "recv WINDOW_UPDATE stream=1 length=8 delta=77",
			"recv RST_STREAM stream=1 length=8 status=CANCEL",
			"recv GOAWAY length=8 last-good=0 status=INTERNAL_ERROR", "send GOAWAY length=8 last-good=1 status=OK",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		frames := h.s.Frames()
		if first, ping := frames[0].Time, frames[2].Time; !first.Equal(began) || ping.Sub(first) != time.Second+spdytest.Idle {
			t.Errorf("the first frame at %v, the PING at %v after the begin, want 0s and 1.3s", first.Sub(began), ping.Sub(began))
		}
	})
}

// The frame that ends a session is remembered, though nothing of it was acted on.
func TestFramesBeforeAnError(t *testing.T) {
	for name, test := range map[string]struct{ hex, want string }{
		"a length":  {"80 03 00 06 00 00 00 05 00 00 00 01 00", "recv PING length=5"},
		"a version": {"80 02 00 06 00 00 00 04 00 00 00 01", "recv PING length=4"},
		"a type":    {"00 00 00 00 00 00 00 01 61", "recv DATA length=1"},
		"flags":     {"80 03 00 09 07 00 00 08 00 00 00 00 00 00 00 01", "recv WINDOW_UPDATE flags=FIN|UNIDIRECTIONAL|04 length=8"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newServerTest(t, setup{})
			h.p.Send(raw(test.hex))
			h.wantXE(name, 0)
			got := flown(h.s)
			if n := len(got); n < 2 || got[n-2] != test.want || got[n-1] != "send GOAWAY length=8 last-good=0 status=PROTOCOL_ERROR" {
				t.Errorf("%s: got %q, want %q and a GOAWAY at the end", name, got, test.want)
			}
		})
	}
}

// Of many frames the last 256 are there, and as text they are one short line.
func TestFramesOfALongSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newClientTest(t, setup{})
		c, id := h.open("/")
		h.p.Send(rep(id))
		if _, err := c.wait(); err != nil {
			t.Fatal(err)
		}
		for i := range uint32(300) {
			h.p.Send(ping(2 * (i + 1)))
			h.p.Want("the echo", ping(2*(i+1)))
		}
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			h.p.Send(data(id, "12345"))
		}
		synctest.Wait()
		frames := h.s.Frames()
		if len(frames) != 256 || frames[155].String() == frames[156].String() || frames[255].Detail != "" {
			t.Fatalf("%d frames, want 256, and 100 of DATA at the end", len(frames))
		}
		if got, want := frames[156:].String(), fmt.Sprintf("-0.990s recv DATA stream=%d length=500 frames=100", id); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		text := frames.String()
		if len(text) > 1536 || !strings.Contains(text, "recv PING length=4 id=600; -1.000s send PING length=4 id=600; -0.990s recv DATA") {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		for i := range frames {
			frames[i].StreamID, frames[i].Detail = uint32(i), strings.Repeat("x", 30)
		}
		if text := frames.String(); len(text) > 1536 || !strings.HasPrefix(text, "...; ") || !strings.Contains(text, "stream=255 ") {
			t.Errorf("%d bytes: %.100s", len(text), text)
		}
		h.finish()
	})
}

// Frames may be asked for at any time.
func TestFramesWhileItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link(t, spdytest.PipeConfig{}, spdy.Config{}, spdy.Config{}, func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(1 << 20)) })
		done := make(chan struct{})
		asked := make(chan struct{})
		// Ends with done, for which the test waits.
		go func() {
			defer close(asked)
			for {
				select {
				case <-done:
					return
				default:
					_ = l.client.Frames().String()
				}
			}
		}()
		if n, err := io.Copy(io.Discard, l.fetch("GET", "/", nil).Body); n != 1<<20 || err != nil {
			t.Errorf("got %d bytes, %v, want 1 MiB", n, err)
		}
		close(done)
		<-asked
	})
}
