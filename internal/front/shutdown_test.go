package front

import (
	"bufio"
	"io"
	"net/http"
	"testing"
)

func TestShutdownLetsRequestsEnd(t *testing.T) {
	s := newStage(t, nil)
	started, finish := make(chan bool), make(chan bool)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		started <- true
		<-finish
		io.WriteString(w, "done")
	})
	v := s.visitors[0]
	answer := make(chan reply, 1)
	// Ends with its request, and is waited for.
	go func() { answer <- v.do(t, v.request(t, "GET", "/", nil)) }()
	await(t, "the request", started)
	s.h.Stop()
	ended := make(chan error, 1)
	// Ends when the request does, and is waited for.
	go func() { ended <- s.h.Shutdown(t.Context()) }()
	late := s.visitors[1].get(t, "/")
	late.wantRefusal(t, 503, reasonInternal)
	select {
	case err := <-ended:
		t.Errorf("Shutdown returned %v while a request was running", err)
	default:
	}
	close(finish)
	if got := await(t, "the answer", answer); got.body != "done" {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	if err := await(t, "Shutdown", ended); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// A proxy that leaves serves what comes by open connections, and has each of
// HTTP/1 end.
func TestLeave(t *testing.T) {
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }
	inBubble(t, 100, nil, ok, func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		r := bufio.NewReader(conn)
		for _, leaving := range []bool{false, true} {
			if leaving {
				b.h.Leave()
			}
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Close != leaving {
				b.Fatalf("leaving %v: got %v, %v, want 200, and the connection's end %v", leaving, resp, err, leaving)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if _, err := r.ReadByte(); err != io.EOF {
			b.Errorf("after the last answer: %v, want EOF", err)
		}
	})
}
