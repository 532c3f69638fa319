package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

// again asks C for another connection, and returns the answer's status, or what
// kept it from being sent, on the channel.
func (s *session) again(ctx context.Context, edit func(*http.Request)) <-chan int {
	answered := make(chan int, 1)
	// Ends with the answer or ctx.
	go func() {
		req := control.AskAgain(ctx)
		if edit != nil {
			edit(req)
		}
		resp, err := s.RoundTrip(req)
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	return answered
}

// P asks for another connection: C dials, serves on both, and lets the first go
// when P does.
func TestAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		old := w.registered()
		if !old.reg.DialsAgain {
			t.Fatal("C does not say that it dials again")
		}
		time.Sleep(time.Minute)
		w.setDial(func(int) (net.Conn, error) { return nil, errors.New("not yet") })
		began := time.Now()
		answered := old.again(context.Background(), nil)
		time.Sleep(20 * time.Millisecond)
		select {
		case status := <-answered:
			t.Errorf("the answer, %d, came before the connection", status)
		default:
		}
		old.wantServing(t)
		w.setDial(nil)
		next := w.registered()
		if status := <-answered; status != http.StatusNoContent || time.Since(began) > 200*time.Millisecond {
			t.Errorf("got %d after %v, want 204 and no long wait", status, time.Since(began))
		}
		if next.reg.Instance != old.reg.Instance {
			t.Errorf("instance %q, want the same as before, %q", next.reg.Instance, old.reg.Instance)
		}
		old.wantServing(t)
		next.wantServing(t)
		if err := old.Shutdown(context.Background()); err != nil {
			t.Errorf("P's Shutdown: %v", err)
		}
		next.wantServing(t)
		if n := w.log.Count("level=WARN"); n != 1 || len(w.gaps()) > 3 {
			t.Errorf("%d warnings and %d dials in\n%s\nwant one, of the dial that failed", n, len(w.gaps())+1, w.log)
		}
	})
}

// A P that does not let go is let go.
func TestAgainForgotten(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		old := w.registered()
		answered := old.again(context.Background(), nil)
		next := w.registered()
		<-answered
		began := time.Now()
		<-old.Done()
		if took := time.Since(began); took < longestBeside || took > longestBeside+time.Second {
			t.Errorf("C let go after %v, want %v", took, longestBeside)
		}
		next.wantServing(t)
	})
}

// A C that stops does not wait for a connection that it will not make.
func TestAgainAndStop(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		old := w.registered()
		w.setDial(func(int) (net.Conn, error) { return nil, errors.New("never") })
		answered := old.again(context.Background(), nil)
		time.Sleep(time.Minute)
		began := time.Now()
		w.stop()
		if status := <-answered; status != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", status)
		}
		<-w.ended
		if took := time.Since(began); took > time.Second {
			t.Errorf("C took %v to stop", took)
		}
	})
}

// What a visitor sends is no such request, whatever is in it.
func TestAgainIsNotForVisitors(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		s := w.registered()
		for what, edit := range map[string]func(*http.Request){
			"through P":    func(r *http.Request) { r.Header.Set("Via", "1.1 spdy-proxy") },
			"another path": func(r *http.Request) { r.URL.Path = "/" },
			"a GET":        func(r *http.Request) { r.Method, r.URL.Path = "GET", "/" },
		} {
			if status := <-s.again(context.Background(), edit); status != http.StatusOK {
				t.Errorf("%s: got %d, want the service's own 200", what, status)
			}
		}
		if n := len(w.gaps()); n != 0 {
			t.Errorf("C dialled %d times more", n)
		}
	})
}
