package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

// logged returns what LogEvents writes of some events, without the time.
func logged(events func(log func(Event))) string {
	var out bytes.Buffer
	note, end := LogEvents(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	events(note)
	end()
	return out.String()
}

// A session that ends has one line that says why, whoever ended it.
func TestLogEvents(t *testing.T) {
	m := &Member{name: "films", instance: "x.0", remote: "192.0.2.1:5", credential: "SECRET"}
	got := logged(func(log func(Event)) {
		log(Event{Kind: Connected, Member: m, Sessions: 1})
		log(Event{Kind: Leaving, Member: m, Err: errors.New("used up")})
		log(Event{Kind: Ended, Member: m, Lasted: 1500 * time.Millisecond, Err: errors.New("cut")})
		log(Event{Kind: Dropped, Member: m, Lasted: time.Second, Err: context.DeadlineExceeded})
		log(Event{Kind: Ended, Member: m, Lasted: 2 * time.Second, Told: true})
	})
	want := `level=INFO msg="origin connected" origin=films remote=192.0.2.1:5 instance=x.0 sessions=1 state=connected
level=INFO msg="origin is leaving" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 state=leaving reason="used up"
level=WARN msg="origin disconnected" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 state=absent lasted=1.5s reason=cut
level=WARN msg="origin dropped, it does not answer" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 state=absent lasted=1s reason="context deadline exceeded"
`
	if got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
}

// Whoever comes and goes all day does not fill the log, nor keep others out of it.
func TestLogOfAFlappingOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log func(Event)) {
			for range 10_000 {
				log(Event{Kind: Connected, Member: &Member{name: "films"}})
				log(Event{Kind: Ended, Member: &Member{name: "films"}, Err: errors.New("cut")})
			}
			log(Event{Kind: Connected, Member: &Member{name: "books"}})
			time.Sleep(time.Minute)
			synctest.Wait()
		})
		if n := strings.Count(got, "\n"); n != 2*(eventBurst+1)+1 || strings.Count(got, fmt.Sprint(" times=", 10_000-eventBurst)) != 2 || strings.Count(got, "origin=books") != 1 {
			t.Errorf("%d lines, want %d and two that say how many there were:\n%s", n, 2*(eventBurst+1)+1, got)
		}
	})
}

// Whoever may register any name does not fill the log with ever new ones, nor keep others
// out of it; as many as may be there at once have their lines.
func TestLogOfEverNewNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log func(Event)) {
			for i := range 10_000 {
				m := &Member{name: Name(fmt.Sprint("o", i)), credential: 1}
				log(Event{Kind: Connected, Member: m})
				log(Event{Kind: Ended, Member: m})
			}
			log(Event{Kind: Connected, Member: &Member{name: "books", credential: 2}})
			time.Sleep(time.Minute)
			synctest.Wait()
		})
		if n := strings.Count(got, "\n"); n != 2*(CredentialBurst+1)+1 || strings.Count(got, fmt.Sprint(" times=", 10_000-CredentialBurst)) != 2 || strings.Count(got, "origin=books") != 1 {
			t.Errorf("%d lines, want %d and two that say how many there were", n, 2*(CredentialBurst+1)+1)
		}
	})
}

// What was counted in the last minute is not lost when the program ends.
func TestLogOfTheLastMinute(t *testing.T) {
	got := logged(func(log func(Event)) {
		for range eventBurst + 5 {
			log(Event{Kind: Ended, Member: &Member{name: "films"}, Err: spdy.ErrLost, Frames: spdy.Frames{{}}})
		}
	})
	for _, n := range []int{5, eventBurst + 5 - framesBurst} {
		if strings.Count(got, fmt.Sprint(" times=", n, "\n")) != 1 {
			t.Errorf("no line says that there were %d more:\n%s", n, got)
		}
	}
}

// The frames before an error have a line of their own, of which there are few however
// many sessions end, and those before a fault of the protocol are not lost among them.
func TestLogOfLastFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log func(Event)) {
			frames := spdy.Frames{{FrameInfo: spdy.FrameInfo{Type: 6, Length: 4}}}
			for i := range 1000 {
				m := &Member{name: Name(fmt.Sprint("o", i)), remote: "192.0.2.1:5"}
				log(Event{Kind: Ended, Member: m, Err: spdy.ErrLost, Frames: frames})
			}
			log(Event{Kind: Ended, Member: &Member{name: "bad"}, Err: errors.New("a fault"), Frames: frames})
			time.Sleep(time.Minute)
			synctest.Wait()
		})
		const line = `level=INFO msg="last frames of the origin's session" origin=%s remote=%s frames="-0.000s recv PING length=4"`
		if n := strings.Count(got, "last frames"); n != framesBurst+2 || strings.Count(got, fmt.Sprint(" times=", 1000-framesBurst)) != 1 ||
			!strings.Contains(got, fmt.Sprintf(line, "o0", "192.0.2.1:5")) || !strings.Contains(got, fmt.Sprintf(line, "bad", `""`)) {
			t.Errorf("%d lines with frames, want %d", n, framesBurst+2)
		}
	})
}

// What Ended says is what happened, and nothing if all is well.
func TestWhyItEnded(t *testing.T) {
	cut := errors.New("connection reset by peer")
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"closed here", &spdy.SessionError{Cause: spdy.ErrClosed}, nil},
		{"it said goodbye", &spdy.SessionError{Remote: true, Cause: spdy.ErrGoingAway}, nil},
		{"it said what is wrong", &spdy.SessionError{Remote: true, Status: spdy.GoAwayProtocolError, Cause: spdy.ErrGoingAway}, spdy.ErrGoingAway},
		{"cut", &spdy.SessionError{Remote: true, Status: spdy.GoAwayInternalError, Cause: cut}, cut},
	} {
		synctest.Test(t, func(t *testing.T) {
			events := make(chan Event, 10)
			table := NewTable(Config{OnEvent: func(e Event) { events <- e }})
			f := newFake("f")
			if _, err := table.Register(Registration{Session: f}); err != nil {
				t.Fatal(err)
			}
			f.end(test.err)
			table.Shutdown(t.Context())
			close(events)
			for e := range events {
				if e.Kind == Ended && !errors.Is(e.Err, test.want) {
					t.Errorf("%s: %v, want %v", test.name, e.Err, test.want)
				}
				if e.Kind == Ended && (len(e.Frames) > 0) != (e.Err != nil) {
					t.Errorf("%s: %d frames with %v, want some with an error", test.name, len(e.Frames), e.Err)
				}
				if e.Kind == Leaving && test.name != "it said goodbye" {
					t.Errorf("%s: its loss was said to be a leave", test.name)
				}
			}
		})
	}
}
