package spdy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A request whose handler has answered without its end does not stay for ever: its peer
// has ten seconds for the rest of it.
func TestUnendedRequest(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		began := time.Now()
		h.p.Send(post(1, "/ok"))
		h.wantResponse("the response", 1, "200", "ok")
		time.Sleep(time.Until(began.Add(9 * time.Second)))
		h.p.WantIdle("before its time is over")
		time.Sleep(time.Second)
		h.p.Want("the end of what never comes", rst(1, spdy.Cancel))
		h.p.Send(post(3, "/ok"))
		h.wantResponse("the response", 3, "200", "ok")
		h.p.Send(data(3, "late", fin))
		time.Sleep(time.Minute)
		h.alive(5)
	})
}

// Few such requests are kept, and small ones, whatever the peer does.
func TestUnendedRequestsAreFew(t *testing.T) {
	onServer(t, setup{config: spdy.Config{MaxHeaderBytes: 256 << 10}}, func(h *serverTest) {
		big := nv("x-pad", strings.Repeat("x", 100<<10))
		h.p.Send(post(1, "/ok", big))
		h.wantResponse("the response", 1, "200", "ok")
		h.p.Want("the end of a large one", rst(1, spdy.Cancel))
		id := uint32(3)
		for range 16 {
			h.p.Send(post(id, "/ok"))
			h.wantResponse("the response", id, "200", "ok")
			id += 2
		}
		h.p.WantIdle("as many as may be kept")
		h.p.Send(post(id, "/ok"))
		h.wantResponse("the response", id, "200", "ok")
		h.p.Want("the end of one more", rst(id, spdy.Cancel))
		h.p.Send(data(3, "", fin))
		id += 2
		h.p.Send(post(id, "/ok"))
		h.wantResponse("the response", id, "200", "ok")
		h.p.WantIdle("there is room for one again")

		// Nobody reads their trailers.
		before := heap()
		for i := range uint32(15) {
			for range 2 {
				h.p.Send(headers(5+2*i, 0, big))
			}
		}
		h.p.WantIdle("HEADERS that are dropped")
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			h.Errorf("memory grew by %d bytes, want at most 1 MiB", grown)
		}
	})
}

// A session that is to end waits for nothing else.
func TestUnendedRequestAtTheEnd(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/ok"))
		h.wantResponse("the response", 1, "200", "ok")
		began := time.Now()
		ended := make(chan error, 1)
		// Ends when the session has, below.
		go func() { ended <- h.s.Shutdown(h.Context()) }()
		h.p.Want("that it ends", goAway(1, 0))
		h.p.Want("the end of what never comes", rst(1, spdy.Cancel))
		if d := time.Since(began); d > time.Second {
			h.Errorf("the stream ended after %v, want 1s", d)
		}
		h.p.WantEOF("the end")
		h.p.Close()
		if err := <-ended; err != nil {
			h.Errorf("Shutdown: %v", err)
		}
	})
}

// What a hijacked stream has left for a window that never comes is bounded too.
func TestHijackedRestIsBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				h.Error(err)
				return
			}
			io.WriteString(conn, switching)
			conn.Write(make([]byte, 68<<10))
			conn.Close()
		})
		h.p.Send(upgradeRequest(1), data(1, "", fin))
		for f, ok := h.p.Poll(spdytest.Idle); ok; f, ok = h.p.Poll(spdytest.Idle) {
			if f.Type == spdytest.TypeRstStream {
				h.Fatalf("the stream ended at once: %v", f)
			}
		}
		time.Sleep(time.Minute)
		h.p.Want("the end of the stream", rst(1, spdy.InternalError))
	})
}

// An announced length is no reason to make room for it.
func TestHeadOfLargeFrame(t *testing.T) {
	onServer(t, setup{config: spdy.Config{MaxFrameSize: 8 << 20, MaxHeaderBytes: 8 << 20}}, func(h *serverTest) {
		before := heap()
		h.p.Send(spdytest.Raw([]byte{0x80, 3, 0, 1, 0, 0x7f, 0xff, 0xff, 0, 0, 0, 1}))
		h.p.WantIdle("the head of a SYN_STREAM of 8 MiB")
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			h.Errorf("memory grew by %d bytes, want at most 1 MiB", grown)
		}
	})
}
