package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// socket is a service's side of a WebSocket: what it does when it is open.
type socket struct {
	open func(ctx context.Context, r io.Reader, w io.Writer)
	left chan struct{} // its visitor is gone, or it has ended
}

func newSocket(open func(ctx context.Context, r io.Reader, w io.Writer)) *socket {
	return &socket{open, make(chan struct{})}
}

func (s *socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	defer close(s.left)
	s.open(r.Context(), r.Body, promptly{w})
}

type promptly struct{ http.ResponseWriter }

func (f promptly) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}

// webSocket opens one, and returns the visitor's connection.
func (b *bubble) webSocket() (*spdytest.Conn, *bufio.Reader) {
	b.Helper()
	conn := b.dial("192.0.2.1")
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("got %v, %v, want 101", resp, err)
	}
	return conn, r
}

// An upgraded connection on which nothing is said is not stalled.
func TestIdleUpgrade(t *testing.T) {
	s := newSocket(func(_ context.Context, r io.Reader, w io.Writer) { io.Copy(w, r) })
	inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
		conn, r := b.webSocket()
		time.Sleep(time.Hour)
		io.WriteString(conn, "echo")
		got := make([]byte, 4)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "echo" {
			b.Errorf("after an hour: %q, %v", got, err)
		}
		conn.Close()
		<-s.left
	})
}

// One whose visitor reads nothing of what the service says is.
func TestStalledUpgrade(t *testing.T) {
	s := newSocket(func(_ context.Context, r io.Reader, w io.Writer) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 16<<10)); err != nil {
				return
			}
		}
	})
	inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
		conn, _ := b.webSocket()
		defer conn.Close()
		time.Sleep(time.Minute - time.Second)
		if b.h.InFlight() != 1 {
			b.Error("ended within a minute")
		}
		time.Sleep(time.Minute/stallTicks + 2*time.Second)
		b.wantStalled()
		<-s.left
	})
}

// notYet is a Policy by which the turn of what goes to the origin does not come.
type notYet struct{}

func (notYet) Allows() bool                              { return true }
func (notYet) Auth() *Htpasswd                           { return nil }
func (notYet) Visit(time.Time) time.Duration             { return 0 }
func (notYet) MaxRequests() int                          { return 0 }
func (notYet) Enter(netip.Addr, time.Time) time.Duration { return 0 }
func (notYet) Leave()                                    {}
func (notYet) Header() http.Header                       { return nil }
func (notYet) Page() []byte                              { return nil }
func (notYet) Pace(ctx context.Context, toOrigin bool, n int, _ func()) int {
	if toOrigin {
		<-ctx.Done()
		return 0
	}
	return n
}

// One whose visitor has gone does not wait for the turn of what it has sent, whether the
// service writes to it or is silent.
func TestPacedUpgradeEnds(t *testing.T) {
	for _, test := range []struct {
		name    string
		service func(ctx context.Context, r io.Reader, w io.Writer)
		within  time.Duration
	}{
		{"an echo", func(_ context.Context, r io.Reader, w io.Writer) { io.Copy(w, r) }, 0},
		{"silence", func(_ context.Context, r io.Reader, w io.Writer) { io.Copy(io.Discard, r) }, 0},
		{"silence, and the service stays", func(ctx context.Context, r io.Reader, w io.Writer) { <-ctx.Done() }, upgradeGrace},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSocket(test.service)
			inBubble(t, 100, func(c *Config) {
				c.Policy = func(origin.Name, netip.Addr, bool) Policy { return notYet{} }
			}, s.ServeHTTP, func(b *bubble) {
				conn, _ := b.webSocket()
				io.WriteString(conn, "echo")
				synctest.Wait()
				conn.Close()
				time.Sleep(test.within)
				synctest.Wait()
				if n := b.h.InFlight(); n != 0 {
					b.Errorf("%d in flight after the visitor has gone", n)
				}
			})
		})
	}
}

// What a visitor sends has its turn, piece by piece, before more of it is passed on.
func TestPacedUpgradeWaits(t *testing.T) {
	got := make(chan string, 10)
	s := newSocket(func(_ context.Context, r io.Reader, _ io.Writer) {
		for p := make([]byte, 10); ; {
			n, err := r.Read(p)
			if err != nil {
				return
			}
			got <- string(p[:n])
		}
	})
	inBubble(t, 100, func(c *Config) {
		c.Policy = func(origin.Name, netip.Addr, bool) Policy { return notYet{} }
	}, s.ServeHTTP, func(b *bubble) {
		conn, _ := b.webSocket()
		defer conn.Close()
		for _, word := range []string{"one", "two"} {
			io.WriteString(conn, word)
			synctest.Wait()
		}
		if n := len(got); n != 1 {
			b.Errorf("%d pieces have passed before the turn of the first, want that alone", n)
		}
	})
}

// When one side has said all, the other is told, and has half a minute.
func TestUpgradeEnds(t *testing.T) {
	visitorEnds := func(conn *spdytest.Conn) { conn.CloseWrite() }
	for _, test := range []struct {
		name    string
		service func(ctx context.Context, r io.Reader, w io.Writer)
		visitor func(conn *spdytest.Conn)
		within  time.Duration // of the end of one side, P has ended both; 0: at once
	}{
		{"the service has gone, the visitor stays", func(context.Context, io.Reader, io.Writer) {}, func(*spdytest.Conn) {}, upgradeGrace},
		{"the service has gone, the visitor goes on talking", func(context.Context, io.Reader, io.Writer) {}, func(conn *spdytest.Conn) {
			for range 29 {
				io.WriteString(conn, "are you there?")
				time.Sleep(time.Second)
			}
		}, upgradeGrace},
		{"the service has gone, and so the visitor goes", func(context.Context, io.Reader, io.Writer) {}, visitorEnds, 0},
		{"the visitor has ended its side, and so the service ends", func(ctx context.Context, r io.Reader, w io.Writer) { io.Copy(io.Discard, r) }, visitorEnds, 0},
		{"the visitor has ended its side, the service stays", func(ctx context.Context, r io.Reader, w io.Writer) {
			io.Copy(io.Discard, r)
			<-ctx.Done()
		}, visitorEnds, upgradeGrace},
		{"the visitor has ended its side, the service goes on talking", func(ctx context.Context, r io.Reader, w io.Writer) {
			io.Copy(io.Discard, r)
			for {
				if _, err := io.WriteString(w, "one more thing"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, visitorEnds, upgradeGrace},
		{"the service breaks off", func(ctx context.Context, r io.Reader, w io.Writer) {
			r.Read(make([]byte, 1))
			panic(http.ErrAbortHandler)
		}, func(conn *spdytest.Conn) { io.WriteString(conn, "x") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSocket(test.service)
			inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
				conn, r := b.webSocket()
				defer conn.Close()
				start := time.Now()
				told := make(chan time.Duration, 1)
				// Ends when P says that nothing more comes.
				go func() {
					io.Copy(io.Discard, r)
					told <- time.Since(start)
				}()
				test.visitor(conn)
				if test.within > 0 {
					time.Sleep(time.Until(start.Add(test.within - time.Second)))
					if n := b.h.InFlight(); n != 1 {
						b.Errorf("a second before its time %d are open, want 1", n)
					}
				}
				time.Sleep(time.Until(start.Add(test.within + time.Second)))
				select {
				case rec := <-b.records:
					if !rec.Upgraded || rec.Status != http.StatusSwitchingProtocols {
						b.Errorf("record: upgraded %v, %d", rec.Upgraded, rec.Status)
					}
				default:
					b.Fatal("a second after its time it is open, want its end")
				}
				ends := strings.HasPrefix(test.name, "the service")
				select {
				case at := <-told:
					if ends && at > time.Second || at > test.within+time.Second {
						b.Errorf("the visitor was told after %v", at)
					}
				default:
					b.Fatal("the visitor was not told")
				}
			})
		})
	}
}

// "Upgrade: websocket (no other) works end to end."
func TestUpgrade(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Websocket-Key") != "k" {
			echo(w, r)
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-Websocket-Accept", "v")
		w.WriteHeader(101)
		http.NewResponseController(w).Flush()
		io.Copy(flusher{w}, r.Body)
		io.WriteString(w, " bye")
	})
	dial := func(t *testing.T, head string) (net.Conn, *bufio.Reader, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, head)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn, r, resp
	}
	open := "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n"

	t.Run("both ways", func(t *testing.T) {
		conn, r, resp := dial(t, open)
		if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "v" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") ||
			len(resp.Header["Content-Type"]) > 0 {
			t.Fatalf("%d %v, want 101", resp.StatusCode, resp.Header)
		}
		for _, word := range []string{"one", "two"} {
			io.WriteString(conn, word)
			got := make([]byte, len(word))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != word {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if s.h.InFlight() != 1 {
			t.Errorf("%d in flight, want 1", s.h.InFlight())
		}
		conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(r); err != nil || string(rest) != " bye" {
			t.Errorf("after A's end: %q, %v", rest, err)
		}
		rec := s.record(t)
		if rec.Status != 101 || !rec.Upgraded || rec.BytesIn != 6 || rec.BytesOut != 10 || rec.Aborted {
			t.Errorf("record: %d, upgraded %v, %d in, %d out, aborted %v", rec.Status, rec.Upgraded, rec.BytesIn, rec.BytesOut, rec.Aborted)
		}
	})
	t.Run("broken off by Shutdown", func(t *testing.T) {
		s := newStage(t, nil)
		s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(101)
			io.Copy(io.Discard, r.Body)
		})
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, open)
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.h.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := io.ReadAll(r); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("the connection stays open")
			}
		}
		if s.h.InFlight() != 0 {
			t.Errorf("%d in flight after Shutdown", s.h.InFlight())
		}
	})
	for name, head := range map[string]string{
		"another protocol":  "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nSec-WebSocket-Key: k\r\n\r\n",
		"not GET":           "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nContent-Length: 0\r\n\r\n",
		"not in Connection": "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
		"HTTP/1.0":          "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, resp := dial(t, head); resp.StatusCode != 200 || resp.Header.Get("Upgrade") != "" {
				t.Errorf("%d, Upgrade %q; want 200 without", resp.StatusCode, resp.Header.Get("Upgrade"))
			}
		})
	}
	t.Run("refused by C", func(t *testing.T) {
		s := newStage(t, nil)
		o := s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, open)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 403 {
			t.Fatal(resp, err)
		}
		s.record(t)
		if _, err := o.member.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := o.member.InFlight(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
	t.Run("over h2 and SPDY it is a request like any other", func(t *testing.T) {
		for _, v := range s.visitors[1:] {
			r := v.request(t, "GET", "/", nil)
			r.Header.Set("Sec-Websocket-Key", "k")
			if v.proto != "h2" {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			}
			if got := v.do(t, r); got.StatusCode != 200 {
				t.Errorf("%s: %d %q", v.proto, got.StatusCode, got.body)
			}
		}
	})
}

type flusher struct{ w http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	http.NewResponseController(f.w).Flush()
	return n, err
}

func TestOddUpgrade400(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	const next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, body := range []string{
		"\r\n",
		"Content-Length: 3\r\n\r\nabc",
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: web\xffsocket\r\n"+body+next)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q: %q, want 400", body, got)
		}
		// The body is not the next request's, and after chunks there is none.
		if next := strings.Contains(got, `"URI":"/next"`); strings.Contains(body, "chunked") && !next {
			continue
		}
		if !strings.Contains(got, "HTTP/1.1 200 ") || !strings.Contains(got, `"URI":"/next"`) {
			t.Errorf("%q: %q, want the next request answered", body, got)
		}
	}
}

// Unicode's letters and white space are not HTTP's: the kelvin sign is no k.
func TestUpgradeIsASCII(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for upgrade, want := range map[string]string{
		"Connection: Upgrade\r\nUpgrade: websoc\u212aet\r\n":    "HTTP/1.1 400 ",
		"Connection: \u00a0Upgrade\r\nUpgrade: websocket\r\n":   "HTTP/1.1 200 ",
		"Connection: Upgrade\r\nUpgrade: \u2003websocket\r\n":   "HTTP/1.1 400 ",
		"Connection: close, Upgrade\r\nUpgrade: h2c\r\n":        "HTTP/1.1 200 ",
		"Connection: close\r\nUpgrade: \u2003websocket\r\n":     "HTTP/1.1 200 ",
		"Connection: close, \u00a0Upgrade\r\nUpgrade: \xff\r\n": "HTTP/1.1 200 ",
	} {
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, want) || strings.Contains(got, `"Upgrade"`) {
			t.Errorf("%q: %.200q, want %s", upgrade, got, want)
		}
	}
}

// What A sends right behind the request is the beginning of its direction.
func TestUpgradeEarlyBytes(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(101)
		http.NewResponseController(w).Flush()
		io.Copy(flusher{w}, r.Body)
	})
	conn, err := net.Dial("tcp", s.visitors[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	if !strings.EqualFold(resp.Header.Get("Connection"), "upgrade") {
		t.Errorf("Connection: %q", resp.Header.Get("Connection"))
	}
	io.WriteString(conn, " and late")
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "early and late" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A 101 to another protocol than the one that was asked for is no answer.
func TestUpgradeToSomethingElse(t *testing.T) {
	s := newStage(t, nil)
	for _, upgrade := range [][]string{nil, {"h2c"}, {"websocket", "h2c"}, {"websocket, h2c"}} {
		f := s.enroll(t, func(r *http.Request) (*http.Response, error) {
			resp := answerOf(r, 101, nil, "")
			resp.Header["Upgrade"] = upgrade
			return resp, nil
		})
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "error="+reasonProtocol) {
			t.Errorf("Upgrade %q: %q, want 502", upgrade, got)
		}
		f.end()
	}
}

// The line of a 101 is P's own, as http.Server writes that of every other answer.
func TestUpgradeStatusLine(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 101, map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}, "")
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/2.0", 2, 0
		resp.Status = "101 Fine\x00X-A: b"
		resp.Body = &joined{}
		return resp, nil
	})
	got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if line, _, _ := strings.Cut(got, "\r\n"); line != "HTTP/1.1 101 Switching Protocols" {
		t.Errorf("got %q", line)
	}
}

// joined is the connection of a 101, on which C has said all it had to say.
type joined struct{}

func (joined) Read([]byte) (int, error)    { return 0, io.EOF }
func (joined) Write(p []byte) (int, error) { return 0, io.ErrClosedPipe }
func (joined) Close() error                { return nil }

// When P or the origin is about to stop, an upgraded connection on which nothing
// is said does not hold it up; one on which something is goes on.
func TestIdleUpgradeWhenSomebodyStops(t *testing.T) {
	for _, test := range []struct {
		name string
		stop func(b *bubble)
	}{
		{"P leaves", func(b *bubble) { b.h.Leave() }},
		{"P stops", func(b *bubble) { b.h.Stop() }},
		{"C stops", func(b *bubble) { go b.origin.Shutdown(context.Background()) }}, // ends with the last connection
		{"C has another session", func(b *bubble) {
			near, far := spdytest.Pipe(spdytest.PipeConfig{})
			b.Cleanup(func() { near.Close(); far.Close() })
			if _, err := b.table.Register(origin.Registration{Session: new(spdy.Config).NewClientSession(near)}); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var left chan struct{}
			serve := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Upgrade", "websocket")
				w.WriteHeader(http.StatusSwitchingProtocols)
				io.Copy(promptly{w}, r.Body)
				left <- struct{}{}
			}
			inBubble(t, 100, nil, serve, func(b *bubble) {
				left = make(chan struct{}, 2)
				idle, _ := b.webSocket()
				defer idle.Close()
				busy, r := b.webSocket()
				defer busy.Close()
				echo := func() {
					b.Helper()
					io.WriteString(busy, "echo")
					got := make([]byte, 4)
					if _, err := io.ReadFull(r, got); err != nil || string(got) != "echo" {
						b.Fatalf("the connection in use: %q, %v", got, err)
					}
				}
				for range 60 {
					time.Sleep(time.Second)
					echo()
				}
				if n := b.h.InFlight(); n != 2 {
					b.Fatalf("%d are open before the stop, want 2", n)
				}
				start := time.Now()
				test.stop(b)
				<-left
				if took := time.Since(start); took > 2*time.Second {
					b.Errorf("the idle one was open for %v, want 2s at most", took)
				}
				for range 20 {
					time.Sleep(time.Second)
					echo()
				}
				// From here on it is idle, too.
				start = time.Now()
				<-left
				if took := time.Since(start); took < upgradeIdle || took > upgradeIdle+2*idleLook {
					b.Errorf("the other was open for %v after its last byte, want %v and some", took, upgradeIdle)
				}
				synctest.Wait()
				if n := b.h.InFlight(); n != 0 {
					b.Errorf("%d are open, want none", n)
				}
			})
		})
	}
}
