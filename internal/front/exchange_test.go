package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/testabort"
)

// In HTTP/1.0 a body of unknown length ends where the connection does.
func TestBrokenHTTP10(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 200, nil, "")
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), errReader{errResetByC}))
		return resp, nil
	})
	for i, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", s.visitors[0].addr) },
		func() (net.Conn, error) {
			return tls.Dial("tcp", s.visitors[1].addr, &tls.Config{InsecureSkipVerify: true})
		},
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		if answer, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("connection %d: A got %q, %v; want a reset connection", i, answer, err)
		}
	}
}

// "A request whose A leaves is reset (CANCEL), and C's handler is told."
func TestVisitorLeaves(t *testing.T) {
	s := newStage(t, nil)
	started, told := make(chan bool, 10), make(chan error, 10)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
		}
		started <- true
		<-r.Context().Done()
		told <- r.Context().Err()
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, path := range []string{"/", "/body"} {
			r := v.request(t, "GET", path, nil)
			ctx, cancel := context.WithCancel(r.Context())
			done, answered := make(chan bool), make(chan bool, 1)
			go func() {
				// Ends with the request, and is waited for below.
				defer close(done)
				resp, err := v.rt.RoundTrip(r.WithContext(ctx))
				if err == nil {
					answered <- true
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			await(t, "the handler's start", started)
			if path == "/body" {
				await(t, "the headers", answered)
			}
			cancel()
			await(t, "the end of the handler's context", told)
			rec := s.record(t)
			if !rec.Aborted || rec.Detail != detailLeft || rec.Failed() || path == "/" && rec.Status != statusLeft || path == "/body" && rec.Status != 200 {
				t.Errorf("%s: record: aborted %v, status %d, %q", path, rec.Aborted, rec.Status, rec.Detail)
			}
			await(t, "the request's end", done)
		}
	})
}

// What P cuts off when it stops is not said to be the visitor's doing.
func TestCutOffByTheStop(t *testing.T) {
	inBubble(t, 10, nil, func(w http.ResponseWriter, r *http.Request) {
		for piece := make([]byte, 64<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}, func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: p\r\n\r\n")
		synctest.Wait() // until nothing more can be written
		over, cancel := context.WithCancel(b.Context())
		cancel()
		b.h.Shutdown(over)
		if rec := <-b.records; !rec.Aborted || rec.Detail != errBrokenOff.Error() {
			b.Errorf("record: aborted %v, %q, want %q", rec.Aborted, rec.Detail, errBrokenOff)
		}
	})
}

// OnDone is told of a response that is cut short before its end can be seen, in
// HTTP/1.0 too, whose connection has to be reset for that.
func TestDoneBeforeReset(t *testing.T) {
	w := &steps{h: make(http.Header)}
	s := newStage(t, func(c *Config) { c.OnDone = func(*Record) { w.done = append(w.done, "done") } })
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 200, nil, "")
		resp.ContentLength = -1
		delete(resp.Header, "Content-Length")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errCut)))
		return resp, nil
	})
	r := httptest.NewRequest("GET", "/", nil)
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	if !testabort.Aborts(func() { s.h.ServeHTTP(w, r) }) {
		t.Fatal("an answer that was cut looks whole")
	}
	n := len(w.done)
	if n < 2 || w.done[n-2] != "done" || w.done[n-1] != "hijack" {
		t.Errorf("got %q, want done, then hijack at the end", w.done)
	}
}

func (s *steps) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.done = append(s.done, "hijack")
	return nil, nil, http.ErrNotSupported
}
