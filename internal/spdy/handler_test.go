package spdy_test

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A handler's panic is told once: to Config.Logger, or without one to the server's
// ErrorLog.
func TestPanicIsLoggedOnce(t *testing.T) {
	for _, test := range []struct {
		what             string
		logger, errorLog bool
		logged, told     int
	}{
		{"neither", false, false, 0, 0},
		{"a Logger", true, false, 1, 0},
		{"an ErrorLog", false, true, 0, 1},
		{"both", true, true, 1, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			var logged, told bytes.Buffer
			var conf spdy.Config
			srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a panic of the test's") })}
			if test.logger {
				conf.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			}
			if test.errorLog {
				srv.ErrorLog = log.New(&told, "", 0)
			}
			near, far := spdytest.Pipe(spdytest.PipeConfig{})
			client, server := (*spdy.Config)(nil).NewClientSession(near), conf.NewServerSession(far, srv)
			served := make(chan error, 2)
			for _, s := range []*spdy.Session{client, server} {
				go func() { served <- s.Serve() }() // ends with the session
			}
			resp, err := client.RoundTrip(request(t, "GET", "/", nil))
			if err != nil || resp.StatusCode != 500 {
				t.Errorf("got %v, %v, want 500", resp, err)
			}
			client.Close()
			server.Close()
			<-served
			<-served
			for _, got := range []struct {
				where string
				text  string
				want  int
			}{{"Logger", logged.String(), test.logged}, {"ErrorLog", told.String(), test.told}} {
				if n := strings.Count(got.text, "a panic of the test's"); n != got.want {
					t.Errorf("%s: told %d times, want %d:\n%s", got.where, n, got.want, got.text)
				}
			}
		})
	}
}

// Bytes that arrive while the handler returns are given back like all others
// that nobody reads, or the peer's upload stops for ever.
func TestCreditForFrameThatCameDuringHandlersEnd(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		wire := h.p.Encode(data(1, string(bytesOf(60000))))
		h.p.Conn.Write(wire[:20000])
		synctest.Wait()
		close(h.release)
		h.collect("the response", 1)
		h.p.Conn.Write(wire[20000:])
		c := h.drain(newCollector())
		if got := c.credit[1]; got < 60000-32768 {
			h.Errorf("stream 1: got credit of %d bytes for the 60000 that were dropped, want all but half a window", got)
		}
	})
}

// A deadline that a handler set does not keep its request in memory.
func TestDeadlinesEndWithTheHandler(t *testing.T) {
	requests := make(chan weak.Pointer[http.Request], 1)
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/deadline" {
			return
		}
		c := http.NewResponseController(w)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		io.Copy(io.Discard, r.Body)
		requests <- weak.Make(r)
	}))
	for _, path := range []string{"/deadline", "/other", "/other"} {
		resp, err := client.RoundTrip(request(t, "POST", path, strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	p := <-requests
	for end := time.Now().Add(limit); p.Value() != nil; {
		if time.Now().After(end) {
			t.Fatal("a request is still in memory after its response, because of its deadlines")
		}
		runtime.GC()
		runtime.Gosched()
	}
}
