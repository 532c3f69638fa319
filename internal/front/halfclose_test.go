package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/http1"
)

// server is what serves HTTP/1: P's own, or net/http's.
type server interface {
	Serve(net.Listener) error
	Close() error
}

// eachServer runs f in a bubble for each, with how late it may see the visitor's end:
// http1 looks now and then.
func eachServer(t *testing.T, f func(t *testing.T, of func(*http.Server) server, late time.Duration)) {
	t.Helper()
	t.Run("http1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, func(s *http.Server) server { return http1.New(s) }, time.Second) })
	})
	t.Run("net/http", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, func(s *http.Server) server { return s }, 0) })
	})
}

// oneConn is a listener for one connection.
type oneConn chan net.Conn

func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }
func (l oneConn) Close() error   { return nil }
func (l oneConn) Accept() (net.Conn, error) {
	if conn := <-l; conn != nil {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// visited is the server's end of a visitor's connection. As with TCP, what is
// written first to a visitor that is gone is taken, and answered with a reset.
type visited struct {
	quiet
	*spdytest.Conn
	end     chan struct{}
	ended   sync.Once
	written atomic.Uint32
	broken  atomic.Bool
}

func (v *visited) End() <-chan struct{} { return v.end }
func (v *visited) Written() uint32      { return v.written.Load() }

func (v *visited) Broken() bool {
	_, err := v.Conn.Write(nil)
	return v.broken.Load() || errors.Is(err, syscall.ECONNRESET)
}

func (v *visited) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	if errors.Is(err, syscall.ECONNRESET) {
		v.broken.Store(true)
	}
	if err == io.EOF {
		v.ended.Do(func() { close(v.end) })
	}
	return n, err
}

func (v *visited) Write(p []byte) (int, error) {
	v.written.Add(1)
	n, err := v.Conn.Write(p)
	if err != nil && !v.broken.Swap(true) {
		return len(p), nil
	}
	return n, err
}

// lateReset is the connection of a visitor who says goodbye, as TLS can, and is
// reset a moment later: seen by who waits for the end alone.
type lateReset struct{ *visited }

func (v *lateReset) End() <-chan struct{} {
	// Ends after a second.
	time.AfterFunc(time.Second, func() {
		v.broken.Store(true)
		close(v.visited.end)
	})
	return v.visited.end
}

func (v *lateReset) Read(p []byte) (int, error) { return v.Conn.Read(p) }

// A reset that comes behind the end is noticed at once, with nothing sent.
func TestResetBehindTheEnd(t *testing.T) {
	eachServer(t, func(t *testing.T, of func(*http.Server) server, late time.Duration) {
		h, table := newIn(t, nil)
		a, b := spdytest.Pipe(spdytest.PipeConfig{})
		start := time.Now()
		var told atomic.Int64
		connectIn(t, table, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			told.Store(int64(time.Since(start)))
		})
		server := of(&http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context { return WithConn(ctx, c.(*lateReset)) }})
		ln := make(oneConn, 1)
		ln <- &lateReset{&visited{Conn: b, end: make(chan struct{})}}
		ended := make(chan error)
		// Ends when the server is closed; waited for below.
		go func() { ended <- server.Serve(ln) }()
		io.WriteString(a, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		a.CloseWrite()
		time.Sleep(time.Hour)
		if told := time.Duration(told.Load()); told < time.Second || told > time.Second+late {
			t.Errorf("C was told after %v, want %v", told, time.Second)
		}
		close(ln)
		<-ended
		server.Close()
		table.Shutdown(t.Context())
	})
}

// A connection that is given up ends its request, before and after the visitor's
// sending side has ended: what http.Server had to say of the request it has said by
// then. It ends an upgraded one, too, which is not the server's any more.
func TestConnectionGivenUp(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n"
	for name, test := range map[string]struct {
		request string
		half    bool
	}{
		"whole":                            {get + "\r\n", false},
		"after its sending side has ended": {get + "\r\n", true},
		"upgraded":                         {get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, of func(*http.Server) server, _ time.Duration) {
				h, table := newIn(t, nil)
				a, b := spdytest.Pipe(spdytest.PipeConfig{})
				start := time.Now()
				var told atomic.Int64
				connectIn(t, table, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Upgrade") != "" {
						w.Header().Set("Upgrade", "websocket")
						w.WriteHeader(http.StatusSwitchingProtocols)
						http.NewResponseController(w).Flush()
					}
					select {
					case <-r.Context().Done():
					case <-time.After(time.Minute):
					}
					told.Store(int64(time.Since(start)))
				})
				server := of(&http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
					ctx, giveUp := context.WithCancel(ctx)
					time.AfterFunc(2*time.Second, giveUp)
					return WithConn(ctx, c.(*visited))
				}})
				ln := make(oneConn, 1)
				ln <- &visited{Conn: b, end: make(chan struct{})}
				ended := make(chan error)
				// Ends when the server is closed; waited for below.
				go func() { ended <- server.Serve(ln) }()
				io.WriteString(a, test.request)
				if test.half {
					a.CloseWrite()
				}
				time.Sleep(time.Hour)
				if told := time.Duration(told.Load()); told != 2*time.Second {
					t.Errorf("C was told after %v, want %v", told, 2*time.Second)
				}
				if n := h.InFlight(); n != 0 {
					t.Errorf("%d requests have not ended", n)
				}
				close(ln)
				<-ended
				server.Close()
				table.Shutdown(t.Context())
			})
		})
	}
}

// A visitor whose sending side has ended: who gets an answer, and when C is told
// of one that is gone.
func TestSendingSideEnds(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	half := func(c *spdytest.Conn) { c.CloseWrite() }
	gone := func(c *spdytest.Conn) { c.Close() }
	// What C does, after the time that the visitor's end takes.
	after := func(d time.Duration) func(http.ResponseWriter, context.Context) {
		return func(w http.ResponseWriter, ctx context.Context) {
			select {
			case <-time.After(d):
				io.WriteString(w, "late")
			case <-ctx.Done():
			}
		}
	}
	begun := func(d time.Duration) func(http.ResponseWriter, context.Context) {
		return func(w http.ResponseWriter, ctx context.Context) {
			io.WriteString(w, "begun,")
			http.NewResponseController(w).Flush()
			after(d)(w, ctx)
		}
	}
	for _, test := range []struct {
		name    string
		request string
		end     func(*spdytest.Conn)
		endAt   time.Duration
		c       func(http.ResponseWriter, context.Context)
		told    time.Duration // 0: C is not
		within  time.Duration // how much later it may be
		answer  string        // all that the visitor gets, headers and chunks apart
	}{
		{"at once", get, half, 0, after(0), 0, 0, "200 late"},
		{"soon", get, half, 0, after(leaveGrace - time.Second), 0, 0, "200 late"},
		{"late", get, half, 0, after(20 * time.Second), 0, 0, "100 200 late"},
		{"very late", get, half, time.Second, after(time.Hour), 0, 0, "100 200 late"},
		{"two", get + get, half, 0, after(20 * time.Second), 0, 0, "100 200 late 100 200 late"},
		{"HTTP/1.0, soon", "GET / HTTP/1.0\r\n\r\n", half, 0, after(leaveGrace - time.Second), 0, 0, "200 late"},
		{"HTTP/1.0, late", "GET / HTTP/1.0\r\n\r\n", half, 0, after(20 * time.Second), leaveGrace, 0, ""},
		{"a stream", get, half, 0, func(w http.ResponseWriter, ctx context.Context) {
			<-time.After(time.Second) // behind the visitor's end
			begun(time.Hour)(w, ctx)
		}, 0, 0, "200 begun, late"},
		{"a stream that had begun", get, half, time.Second, begun(time.Hour), time.Second + leaveGrace, 0, "200 begun,"},
		{"a stream that goes on", get, half, time.Second, begun(leaveGrace), 0, 0, "200 begun, late"},
		{"gone", get, gone, time.Second, after(time.Hour), time.Second + leaveGrace + leaveAnswer, 0, ""},
		{"gone, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", gone, time.Second, after(time.Hour), time.Second + leaveGrace, 0, ""},
		{"gone from a stream", get, gone, time.Second, begun(time.Hour), time.Second + leaveGrace, 0, "200 begun,"},
		{"gone, and written to", get, gone, time.Second, func(w http.ResponseWriter, ctx context.Context) {
			begun(3*time.Second)(w, ctx)
			http.NewResponseController(w).Flush()
			<-ctx.Done() // the first that was written is answered by a reset by now
		}, time.Second + leaveGrace, 0, "200 begun,"},
		{"reset", get, (*spdytest.Conn).Reset, time.Second, after(time.Hour), time.Second, 0, ""},
		{"reset after the end", get, func(c *spdytest.Conn) {
			c.CloseWrite()
			time.AfterFunc(time.Minute, c.Reset)
		}, time.Second, after(time.Hour), time.Minute, 2 * leaveGrace, "100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, of func(*http.Server) server, late time.Duration) {
				h, table := newIn(t, nil)
				a, b := spdytest.Pipe(spdytest.PipeConfig{})
				start := time.Now()
				var told atomic.Int64
				connectIn(t, table, func(w http.ResponseWriter, r *http.Request) {
					test.c(w, r.Context())
					if r.Context().Err() != nil {
						told.Store(int64(time.Since(start)))
					}
				})
				server := of(&http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context { return WithConn(ctx, c.(*visited)) }})
				ln := make(oneConn, 1)
				ln <- &visited{Conn: b, end: make(chan struct{})}
				ended := make(chan error)
				// Ends when the server is closed; waited for below.
				go func() { ended <- server.Serve(ln) }()

				io.WriteString(a, test.request)
				time.AfterFunc(test.endAt, func() { test.end(a) })
				got, _ := io.ReadAll(a)
				synctest.Wait()
				time.Sleep(2 * time.Hour)
				if told := time.Duration(told.Load()); (told > 0) != (test.told > 0) || told < test.told || told > test.told+test.within+late {
					t.Errorf("C was told after %v, want %v", told, test.told)
				}
				if answer := essence(string(got)); answer != test.answer {
					t.Errorf("the visitor got %q, want %q", answer, test.answer)
				}
				if n := h.InFlight(); n != 0 {
					t.Errorf("%d requests have not ended", n)
				}
				close(ln)
				<-ended
				server.Close()
				table.Shutdown(t.Context())
			})
		})
	}
}

// Who has ended its sending side is there while its password is checked.
func TestSendingSideEndsBeforePassword(t *testing.T) {
	line := "u:" + hash(t, "right")
	eachServer(t, func(t *testing.T, of func(*http.Server) server, _ time.Duration) {
		auth := loadHtpasswd(t, line)
		auth.compare = func(_ []byte, p string) bool {
			time.Sleep(2 * time.Second) // what bcrypt takes, of the bubble's time
			return p == "right"
		}
		auth.slots = make(chan struct{}, 1)
		h, table := newIn(t, func(c *Config) { c.Auth = auth })
		a, b := spdytest.Pipe(spdytest.PipeConfig{})
		connectIn(t, table, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "let in") })
		server := of(&http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context { return WithConn(ctx, c.(*visited)) }})
		ln := make(oneConn, 1)
		ln <- &visited{Conn: b, end: make(chan struct{})}
		ended := make(chan error)
		// Ends when the server is closed; waited for below.
		go func() { ended <- server.Serve(ln) }()
		io.WriteString(a, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTpyaWdodA==\r\n\r\n")
		a.CloseWrite()
		got, _ := io.ReadAll(a)
		if answer := essence(string(got)); answer != "200 let in" {
			t.Errorf("the visitor got %q, want an answer", answer)
		}
		close(ln)
		<-ended
		server.Close()
		table.Shutdown(t.Context())
	})
}

// essence returns the statuses and the bodies' lines of HTTP/1 responses.
func essence(s string) string {
	var words []string
	for line := range strings.SplitSeq(s, "\r\n") {
		if status, ok := strings.CutPrefix(line, "HTTP/1."); ok {
			words = append(words, status[2:5])
		} else if !strings.Contains(line, ": ") && len(line) > 1 {
			// The last line of a body is the next response's first.
			body, next, more := strings.Cut(line, "HTTP/1.")
			words = append(words, body)
			if more {
				words = append(words, next[2:5])
			}
		}
	}
	return strings.Join(words, " ")
}
