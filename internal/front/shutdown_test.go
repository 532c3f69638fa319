package front

import (
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
