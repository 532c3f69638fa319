package spdy

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// A handler that returns after its session has ended sets no timer, which would
// keep the session in memory.
func TestHandlerAfterTheEndSetsNoTimer(t *testing.T) {
	near, far := net.Pipe()
	s := newSession(near, &http.Server{}, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }() // ends with the connection, and is waited for
	if _, err := io.ReadFull(far, make([]byte, frameHeaderLen)); err != nil {
		t.Fatal(err)
	}
	far.Close()
	<-served
	s.workers.endIdleLater()
	if s.workers.timer != nil {
		t.Error("got a timer, want none")
	}
}
