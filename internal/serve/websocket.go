package serve

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// closeWait is how long one end of a WebSocket may stay when the other has ended.
const closeWait = 30 * time.Second

// isWebSocket tells whether r asks for a WebSocket. SPDY has no Connection
// header that would say so once more.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && httpfield.Equal(r.Header.Get("Upgrade"), "websocket")
}

// switchProtocols passes on the service's 101, and then bytes both ways until
// one side ends.
func (s *service) switchProtocols(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	for name, values := range httpfield.EndToEnd(resp.Header) {
		w.Header()[name] = values
	}
	w.Header()["Upgrade"] = []string{"websocket"}
	w.WriteHeader(http.StatusSwitchingProtocols)
	if err := s.join(w, r, resp.Body.(duplex)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// A duplex is the body of a 101: the connection itself.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// join copies between the visitor and the service until the service has said
// all, and what it said is passed on. An error means that it was cut short. A
// service that has nothing to say closeWait after the visitor's end is cut.
func (s *service) join(w http.ResponseWriter, r *http.Request, conn duplex) error {
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		return err
	}
	// A visitor who leaves ends both directions.
	stop := context.AfterFunc(r.Context(), func() { conn.Close() })
	defer stop()
	serviceDone, visitorDone := make(chan struct{}), make(chan struct{})
	// Ends when the visitor has left, or has said all and the service too, or
	// when the deadline below is set; this function waits for it.
	go func() {
		defer close(visitorDone)
		err := s.buffers.copy(conn, r.Body)
		if err == nil {
			err = conn.CloseWrite()
		}
		if err == nil {
			// The service may still have something to say.
			wait := time.NewTimer(closeWait)
			defer wait.Stop()
			select {
			case <-serviceDone:
				return
			case <-wait.C:
			}
		}
		conn.Close()
	}()
	err := s.buffers.copy(flushing{w, rc}, conn)
	// Returning ends the visitor's direction too: the service has closed, and
	// nothing that the visitor sends can reach it.
	close(serviceDone)
	conn.Close()
	if rc.SetReadDeadline(time.Unix(1, 0)) != nil {
		r.Body.Close()
	}
	<-visitorDone
	return err
}

// A flushing flushes after each write: the other side may answer only what it
// has got.
type flushing struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
