package proxy

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// slowListener is told of a deadline in the middle of an Accept that has a
// connection already.
type slowListener struct {
	net.Listener
	next chan net.Conn // nil: the deadline is over
}

func (l slowListener) Accept() (net.Conn, error) {
	conn, ok := <-l.next
	switch {
	case !ok:
		return nil, net.ErrClosed
	case conn == nil:
		return nil, os.ErrDeadlineExceeded
	}
	return conn, nil
}

func (l slowListener) SetDeadline(time.Time) error { return nil }
func (l slowListener) Close() error                { return nil }

// A pause has begun when the last connection of before was returned: what comes
// after is another process's.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := slowListener{next: make(chan net.Conn)}
		l := newPausable(inner)
		got := make(chan net.Conn, 10)
		ended := make(chan error, 1)
		// Ends when Accept does, at Close.
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					ended <- err
					return
				}
				got <- conn
			}
		}()
		synctest.Wait()
		paused := make(chan struct{})
		// Ends with pause; waited for below.
		go func() { l.pause(); close(paused) }()
		synctest.Wait()
		select {
		case <-paused:
			t.Error("the pause began in the middle of an Accept")
		default:
		}
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		inner.next <- a
		<-paused
		synctest.Wait()
		if len(got) != 1 {
			t.Fatalf("%d connections were taken, want that of before the pause", len(got))
		}
		select {
		case inner.next <- b:
			t.Error("another one was taken in the pause")
		default:
		}
		l.resume()
		inner.next <- b
		synctest.Wait()
		if len(got) != 2 {
			t.Error("after the pause nothing is taken")
		}
		// Woken by a deadline, it waits for the end of the pause; Close ends that.
		go l.pause() // ends with the Accept that waits
		synctest.Wait()
		inner.next <- nil
		synctest.Wait()
		l.Close()
		if err := <-ended; err != net.ErrClosed {
			t.Errorf("Accept: %v after Close, want net.ErrClosed", err)
		}
	})
}
