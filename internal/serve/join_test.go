package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A joint is a WebSocket whose two ends the test plays.
type joint struct {
	visitor   *io.PipeWriter // what the visitor says
	service   *io.PipeWriter // what the service says
	told      chan struct{}  // closed when the service was told that the visitor has ended
	closed    chan struct{}  // closed when the service's connection was
	once      sync.Once      // for closed
	done      chan error     // what join returned
	toVisitor *io.PipeReader
	toService *io.PipeReader
}

type jointConn struct {
	io.Reader
	io.Writer
	j *joint
}

func (c jointConn) CloseWrite() error { close(c.j.told); return nil }

func (c jointConn) Close() error {
	c.j.once.Do(func() {
		close(c.j.closed)
		c.j.service.CloseWithError(os.ErrClosed)
		c.j.toService.Close()
	})
	return nil
}

type jointWriter struct {
	http.ResponseWriter
	to   *io.PipeWriter
	body *io.PipeReader
}

func (w jointWriter) Write(p []byte) (int, error) { return w.to.Write(p) }
func (w jointWriter) FlushError() error           { return nil }
func (w jointWriter) SetReadDeadline(time.Time) error {
	w.body.CloseWithError(os.ErrDeadlineExceeded)
	return nil
}

func newJoint(t *testing.T) *joint {
	j := &joint{told: make(chan struct{}), closed: make(chan struct{}), done: make(chan error, 1)}
	body, visitor := io.Pipe()
	fromService, fromServiceW := io.Pipe()
	toService, serviceIn := io.Pipe()
	toVisitor, visitorIn := io.Pipe()
	j.visitor, j.service, j.toService, j.toVisitor = visitor, fromServiceW, toService, toVisitor
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", body)
	s := newHandler(t, Config{To: "http://127.0.0.1:1"}).serve.(*service)
	// Ends with both directions; the test takes what it returns.
	go func() {
		j.done <- s.join(jointWriter{httptest.NewRecorder(), visitorIn, body}, r, jointConn{fromService, serviceIn, j})
	}()
	return j
}

func TestJoinedEndsDoNotOutliveEachOther(t *testing.T) {
	isClosed := func(c chan struct{}) bool {
		synctest.Wait()
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	t.Run("the service ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			j := newJoint(t)
			<-time.After(24 * time.Hour) // idle, and both alive
			if isClosed(j.closed) {
				t.Fatal("an idle WebSocket was cut")
			}
			j.service.Close()
			if err := <-j.done; err != nil || !isClosed(j.closed) {
				t.Errorf("%v, closed %t, want the end", err, isClosed(j.closed))
			}
		})
	})
	t.Run("the visitor ends, and the service says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			j := newJoint(t)
			<-time.After(24 * time.Hour)
			j.visitor.Close()
			if !isClosed(j.told) {
				t.Error("the service was not told")
			}
			<-time.After(closeWait - 1)
			if isClosed(j.closed) {
				t.Errorf("the service's end was cut before %v", closeWait)
			}
			<-time.After(1)
			if !isClosed(j.closed) {
				t.Errorf("the service's end was not cut after %v", closeWait)
			}
			if err := <-j.done; err == nil {
				t.Error("what was cut looks whole")
			}
		})
	})
	t.Run("the visitor ends, and the service answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			j := newJoint(t)
			j.visitor.Close()
			<-time.After(closeWait / 2)
			go func() { io.WriteString(j.service, "bye"); j.service.Close() }() // ends when both are read
			last := make([]byte, 3)
			if _, err := io.ReadFull(j.toVisitor, last); err != nil || string(last) != "bye" {
				t.Errorf("the visitor got %q, %v", last, err)
			}
			if err := <-j.done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("the visitor leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			j := newJoint(t)
			j.visitor.CloseWithError(io.ErrUnexpectedEOF)
			if err := <-j.done; err == nil || !isClosed(j.closed) {
				t.Errorf("%v, closed %t, want an error and the end", err, isClosed(j.closed))
			}
		})
	})
}
