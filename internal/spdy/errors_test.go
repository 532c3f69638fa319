package spdy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// How a session ended is told as it was: by a status that was sent, or by what
// became of the connection.
func TestSessionErrorSaysItsCause(t *testing.T) {
	type want struct {
		is     error
		remote bool
		text   string
	}
	lost := func(text string) want { return want{spdy.ErrLost, false, "spdy: connection lost: " + text} }
	for what, test := range map[string]struct {
		setup setup
		end   func(h *clientTest)
		want  want
	}{
		"closed": {setup{}, func(h *clientTest) { h.p.Close() }, lost("the peer closed it")},
		"closed inside a frame": {setup{}, func(h *clientTest) {
			h.p.Send(raw("8003"))
			h.p.Close()
		}, lost("the peer closed it inside a frame")},
		"reset": {setup{}, func(h *clientTest) {
			h.p.Conn.(*spdytest.Conn).Reset()
		}, lost("read pipe pipe-b->pipe-a: connection reset by peer")},
		"GOAWAY with a status": {setup{}, func(h *clientTest) {
			h.p.Send(goAway(1, 2))
			h.p.Close()
		}, want{nil, true, "spdy: session ended by the peer with INTERNAL_ERROR: the peer sent GOAWAY with an error status"}},
		"a violation": {setup{}, func(h *clientTest) { h.p.Send(data(0, "x")) },
			want{nil, false, "spdy: session ended here with PROTOCOL_ERROR: DATA on stream 0"}},
		"silence": {setup{config: spdy.Config{KeepAlive: time.Second}}, func(h *clientTest) { time.Sleep(3 * time.Second) },
			want{spdy.ErrDead, false, "spdy: session ended here with INTERNAL_ERROR: peer is silent: nothing came for 2s, nor the echo of a PING"}},
		"nothing is taken": {setup{config: spdy.Config{WriteTimeout: 3 * time.Second}, pipe: spdytest.PipeConfig{Buffer: 1 << 10}}, func(h *clientTest) {
			h.p.Send(set(7, 1<<30), wu(0, 1<<30))
			synctest.Wait()
			h.start(h.request("POST", "/", strings.NewReader(string(bytesOf(1<<20)))))
			time.Sleep(4 * time.Second)
		}, want{spdy.ErrDead, false, "spdy: session ended here with INTERNAL_ERROR: peer is silent: it did not take a write in time"}},
	} {
		t.Run(what, func(t *testing.T) {
			var log bytes.Buffer
			test.setup.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			onClient(t, test.setup, func(h *clientTest) {
				c, _ := h.open("/")
				test.end(h)
				_, err := c.wait()
				se, ok := errors.AsType[*spdy.SessionError](err)
				if !ok || se.Remote != test.want.remote || test.want.is != nil && !errors.Is(err, test.want.is) || err.Error() != test.want.text {
					h.Errorf("the call: got %#v\n%v\nwant remote %v, %v\n%s", se, err, test.want.remote, test.want.is, test.want.text)
				}
				served := h.wantServed()
				if what == "closed" {
					if served != nil {
						h.Errorf("Serve: got %v, want nil", served)
					}
				} else if served == nil || served.Error() != test.want.text {
					h.Errorf("Serve: got %v, want %s", served, test.want.text)
				}
			})
			if log.Len() > 0 {
				t.Errorf("Serve has returned it, and it is in the log as well: %s", &log)
			}
		})
	}
}

// A session of ConfigureServer has nobody to return its end to: that is one line.
func TestConfigureServerLogsOneLine(t *testing.T) {
	for what, end := range map[string]func(c net.Conn){
		"by the peer; PROTOCOL_ERROR":                func(c net.Conn) { c.Write(unhex("80030007 00000008 00000000 00000001")) },
		"PING frame of 8 bytes":                      func(c net.Conn) { c.Write(unhex("80030006 00000008 00000000 00000001")) },
		"connection lost: the peer closed it inside": func(c net.Conn) { c.Write(unhex("80030006")) },
		"": func(c net.Conn) {}, // EOF
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var log bytes.Buffer // guarded by mu
			ended := make(chan struct{})
			srv := &http.Server{
				TLSConfig: &tls.Config{NextProtos: []string{"spdy/3.1"}}, Handler: http.NotFoundHandler(),
				ConnState: func(c net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						close(ended)
					}
				},
			}
			a := startALPN(t, srv, &spdy.Config{Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))})
			c := a.handshake("spdy/3.1")
			end(c)
			c.CloseWrite()
			io.Copy(io.Discard, c) // with unread input, Close would be a reset
			c.Close()
			<-ended
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			text := log.String()
			if what == "" {
				if text != "" {
					t.Errorf("EOF: got %q, want nothing", text)
				}
				return
			}
			if strings.Count(text, "\n") != 1 || !strings.Contains(text, `msg="session ended"`) {
				t.Errorf("%s: got %q, want one line", what, text)
			}
			for part := range strings.SplitSeq(what, "; ") {
				if !strings.Contains(text, part) {
					t.Errorf("got %q, want %q in it", text, part)
				}
			}
		})
	}
}

// lockedWriter writes to w under mu.
type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
