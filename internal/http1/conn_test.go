package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// A head has its time from its first byte, a connection from its begin; an idle one
// has another.
func TestTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, func(b *bed) {
			b.hs.ReadHeaderTimeout, b.hs.IdleTimeout = 10*time.Second, time.Minute
		})
		defer b.close()
		for _, c := range []struct {
			name, sent, more string // more comes in between
			before           time.Duration
			want, after      string
		}{
			{"silent", "", "", 9 * time.Second, "open", "closed"},
			{"half a head", get, "", 9 * time.Second, "open", "408 the head did not come in time; closed"},
			{"a head bit by bit", get, "X", 9 * time.Second, "open", "408 the head did not come in time; closed"},
			{"an empty line", "\r\n", "", 9 * time.Second, "open", "closed"},
			{"idle", next, "", 59 * time.Second, ok + "open", "closed"},
			{"half a head behind a request", next + "GET", "", 9 * time.Second, ok + "open", "408 the head did not come in time; closed"},
			{"idle, then half a head", next, "GET", 59 * time.Second, ok + "open", "open"},
		} {
			cl := b.dial(spdytest.PipeConfig{})
			cl.send(c.sent)
			time.Sleep(c.before)
			cl.send(c.more)
			cl.want(c.name, c.want)
			time.Sleep(time.Second + 2*tick)
			cl.want(c.name+", late", c.after)
			cl.Close()
		}
	})
}

// lateConn is a connection on which each Read is over a while after it has got something,
// as for a goroutine that has to wait for its turn.
type lateConn struct{ net.Conn }

const lateBy = 4 * maxTick

func (c lateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		time.Sleep(lateBy)
	}
	return n, err
}

// What has come in time counts, though the server sees it when the time is over: a head that is
// whole is served, one that is not is answered when its own time is over, and nobody is left
// without a word.
func TestJustInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, func(b *bed) {
			b.hs.ReadHeaderTimeout, b.hs.IdleTimeout = 10*time.Second, time.Minute
		})
		defer b.close()
		const late = "408 the head did not come in time; closed"
		for _, c := range []struct {
			name, first, second string
			after               time.Duration // of first, comes second
			want, later         string        // what follows second, at once and in another head's time
		}{
			{"a head on a fresh connection", "", next, 10*time.Second - tick, ok + "open", "open"},
			{"half a head on a fresh connection", "", get, 10*time.Second - tick, "open", late},
			{"the rest of a head", get, "\r\n", 10*time.Second + lateBy - tick, ok + "open", "open"},
			{"a part of a head", get, "X", 10*time.Second + lateBy - tick, late, "closed"},
			{"the next head", next, next, time.Minute + 2*lateBy - tick, ok + "open", "open"},
			{"half of the next head", next, get, time.Minute + 2*lateBy - tick, "open", late},
		} {
			ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
			b.ln.conns <- lateConn{theirs}
			cl := &client{Conn: ours, b: b}
			go cl.read() // ends with the connection
			cl.send(c.first)
			time.Sleep(c.after)
			cl.take()
			cl.send(c.second)
			time.Sleep(2*lateBy + tick)
			cl.want(c.name, c.want)
			time.Sleep(10*time.Second + lateBy)
			cl.want(c.name+", later", c.later)
			cl.Close()
		}
	})
}

// The same for what comes while the server stops.
func TestShutdownJustInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, nil)
		ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
		b.ln.conns <- lateConn{theirs}
		cl := &client{Conn: ours, b: b}
		go cl.read() // ends with the connection
		cl.send(next)
		time.Sleep(2*lateBy + 3*tick)
		cl.want("before", ok+"open")
		stopped := make(chan error, 1)
		go func() { stopped <- b.s.Shutdown(context.Background()) }() // ends with the connection
		time.Sleep(Grace - maxTick)
		cl.send(next)
		time.Sleep(2 * lateBy)
		cl.want("the last", ok+"closed")
		cl.Close()
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		b.close()
	})
}

// An idle connection gives back what it holds, and is there again.
func TestParked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		for range 3 {
			cl.send(next)
			cl.want("a request", ok+"open")
			time.Sleep(3 * tick)
			synctest.Wait()
			for c := range b.s.conns {
				if c.in.buf != nil || c.out.buf != nil || c.parser.fields != nil {
					t.Error("it still has a buffer")
				}
				if p := state(c.state.Load()).phase(); p != phaseParked {
					t.Errorf("it is in phase %d", p)
				}
			}
		}
		cl.send("G")
		time.Sleep(3 * tick)
		cl.send(next[1:])
		cl.want("a request in two parts", ok+"open")
	})
}

// A request that comes in the moment in which its connection is parked, or is given
// up, is served or not, but nothing else becomes of it.
func TestParkedMeanwhile(t *testing.T) {
	for d := range 20 {
		bubble(t, func(t *testing.T) {
			b := newBed(t, echo, func(b *bed) { b.hs.IdleTimeout = 4 * maxTick })
			defer b.close()
			cl := b.dial(spdytest.PipeConfig{})
			defer cl.Close()
			cl.send(next)
			time.Sleep(time.Duration(d) * maxTick / 4)
			io.WriteString(cl, next)
			got, err := cl.take()
			if got := brief(got, err); got != ok+ok+"open" && got != ok+"closed" && got != ok+"reset" {
				t.Errorf("after %d quarters of a tick: %s", d, got)
			}
		})
	}
}

// The context of a request that has waited for long ends when its client is gone,
// and what came behind the request is served.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release, left := make(chan struct{}), make(chan error, 1)
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			select {
			case <-release:
				if r.URL.Path == "/" {
					echo(w, r)
				}
			case <-r.Context().Done():
				left <- context.Cause(r.Context())
			}
		}, nil)
		defer b.close()
		gone := func(name string) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-left:
				if err != context.Canceled {
					t.Errorf("%s: it ends with %v", name, err)
				}
			default:
				t.Errorf("%s: the handler was not told", name)
			}
		}
		for name, sent := range map[string]string{"GET": next, "a body": post + "Content-Length: 1\r\n\r\nx", "pipelined": next + next} {
			for _, reset := range []bool{false, true} {
				cl := b.dial(spdytest.PipeConfig{})
				cl.send(sent)
				time.Sleep(watched)
				if reset {
					cl.Reset()
				} else {
					cl.CloseWrite()
				}
				gone(fmt.Sprint(name, ", reset ", reset))
				cl.Close()
				synctest.Wait()
				select { // the second request's
				case <-left:
				default:
				}
			}
		}
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		for range 3 {
			cl.send(next)
			time.Sleep(watched)
			cl.send(next + "GET / HT")
			time.Sleep(watched)
			release <- struct{}{}
			release <- struct{}{}
			cl.want("pipelined", ok+ok+"open")
			cl.send("TP/1.1\r\nHost: a\r\n\r\n")
			release <- struct{}{}
			cl.want("and the rest", ok+"open")
		}
		// Much behind a request is not read before its turn.
		cl.send(next)
		time.Sleep(watched)
		cl.send(strings.Repeat(next, 1000))
		if n := cl.Unread(); n > 0 {
			t.Errorf("%d bytes of answers", n)
		}
		for range 1001 {
			release <- struct{}{}
		}
		cl.want("many", strings.Repeat(ok, 1001)+"open")
	})
}

// Where very many wait, one that has not waited for long costs no watch.
func TestManyWatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) { <-answer }, nil)
		defer b.close()
		const more = 10
		for range fewWatches + more {
			cl := b.dial(spdytest.PipeConfig{})
			defer cl.Close()
			cl.send(next)
		}
		watches := func(after time.Duration, want int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := b.s.watches.Load(); got != want {
				t.Errorf("%d are watched, want %d", got, want)
			}
		}
		watches(watched, fewWatches)
		watches(watchTime-2*watched, fewWatches)
		watches(2*watched, fewWatches+more)
		close(answer)
		watches(0, 0)
	})
}

// A client that closes its side gets all its answers.
func TestHalfClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, nil)
		defer b.close()
		for sent, want := range map[string]string{
			next:                                 ok + "closed",
			next + next:                          ok + ok + "closed",
			post + "Content-Length: 2\r\n\r\nhi": `200 POST a / "hi"; closed`,
			post + "Content-Length: 3\r\n\r\nhi": `200 POST a / "hi", and an error; closed`,
			in + "2\r\nhi\r\n" + end:             `200 POST a / "hi"; closed`,
			in + "2\r\nhi\r\n":                   `200 POST a / "hi", and an error; closed`,
			get:                                  "400 the head is not whole; closed",
			next + "G":                           ok + "400 the head is not whole; closed",
			"":                                   "closed",
		} {
			cl := b.dial(spdytest.PipeConfig{})
			io.WriteString(cl, sent)
			cl.CloseWrite()
			cl.want(fmt.Sprintf("%q", sent), want)
			cl.Close()
		}
	})
}

// The end of the connection's context is the requests'.
func TestConnContext(t *testing.T) {
	type key struct{}
	bubble(t, func(t *testing.T) {
		var end context.CancelFunc
		var b *bed
		b = newBed(t, func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			if ctx.Value(key{}) != 1 || ctx.Value(http.ServerContextKey) != b.hs || ctx.Value(http.LocalAddrContextKey).(net.Addr).String() != "pipe-b" || r.RemoteAddr != "pipe-a" {
				t.Error("the context has not what it should have")
			}
			derived, stop := context.WithCancel(ctx)
			defer stop()
			if r.URL.Path == "/wait" {
				<-derived.Done()
			}
			fmt.Fprint(w, ctx.Err())
		}, func(b *bed) {
			b.hs.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				ctx, end = context.WithCancel(context.WithValue(ctx, key{}, 1))
				return ctx
			}
		})
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(next)
		cl.want("before", "200 <nil>; open")
		cl.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		end()
		cl.want("while it waits", "200 context canceled; open")
		cl.send(next)
		cl.want("afterwards", "200 context canceled; open")
	})
}

// A request's context ends with its handler.
func TestContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ctx context.Context
		called := 0
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			ctx = r.Context()
			context.AfterFunc(ctx, func() { called++ })
			stop := context.AfterFunc(ctx, func() { called += 10 })
			if !stop() || stop() {
				t.Error("stop: want true, then false")
			}
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(next)
		<-ctx.Done()
		if called != 1 || ctx.Err() != context.Canceled {
			t.Errorf("called %d, error %v", called, ctx.Err())
		}
		stop := context.AfterFunc(ctx, func() { called++ })
		synctest.Wait()
		if called != 2 || stop() {
			t.Errorf("called %d", called)
		}
	})
}

// A panic ends the connection, and is said unless it is http.ErrAbortHandler.
func TestPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var states []http.ConnState
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/begun" {
				io.WriteString(w, "begun")
				http.NewResponseController(w).Flush()
			}
			if r.URL.Path == "/said" {
				panic("fault")
			}
			panic(http.ErrAbortHandler)
		}, func(b *bed) {
			b.hs.ConnState = func(_ net.Conn, s http.ConnState) { states = append(states, s) }
		})
		defer b.close()
		for path, want := range map[string]string{"/": "closed", "/begun": "200 begun, cut short; closed", "/said": "closed"} {
			states = nil
			cl := b.dial(spdytest.PipeConfig{})
			cl.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
			cl.want(path, want)
			if got := fmt.Sprint(states); got != "[new active closed]" {
				t.Errorf("%s: states %v", path, got)
			}
			cl.Close()
		}
		if got := b.log.String(); strings.Count(got, "http: panic serving pipe-a: fault\n") != 1 || strings.Count(got, "panic serving") != 1 {
			t.Errorf("the log is %q", got)
		}
	})
}

// What a handler sets as a deadline is gone with it.
func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var late *http.ResponseController
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.SetReadDeadline(time.Now().Add(time.Second))
			rc.SetWriteDeadline(time.Now().Add(time.Minute))
			if r.URL.Path == "/wait" {
				<-r.Context().Done() // the deadline, when it is watched
			}
			late = rc
			echo(w, r)
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		for range 3 {
			cl.send(next)
			cl.want("a request", ok+"open")
			time.Sleep(90 * time.Second)
		}
		if err := late.SetReadDeadline(time.Unix(1, 0)); err == nil {
			t.Error("a deadline of a handler that has returned was taken")
		}
		cl.send(next)
		cl.want("after it", ok+"open")
		cl.send(post + "Content-Length: 2\r\n\r\nx")
		time.Sleep(2 * time.Second)
		cl.want("half a body", `200 POST a / "x", and an error; closed`)

		cl = b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(2 * time.Second)
		cl.want("a deadline while it waits", "200 GET a /wait; closed")
	})
}

// A handler that returns while somebody reads the body ends that Read.
func TestBodyAfterHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 2)
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			go func() { // ends as the test says
				_, err := r.Body.Read(make([]byte, 10))
				ended <- err
				_, err = r.Body.Read(make([]byte, 10))
				ended <- err
			}()
			time.Sleep(time.Second)
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(post + "Content-Length: 5\r\n\r\n")
		time.Sleep(2 * time.Second)
		cl.want("an answer", "200; closed")
		if err := <-ended; err == nil {
			t.Error("a Read under way got no error")
		}
		if err := <-ended; err == nil {
			t.Error("a Read afterwards got no error")
		}
	})
}

// Chunks that have come are read together: each Read may become a frame to an
// origin, which small ones are not to make many of.
func TestSmallChunks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			n, reads := 0, 0
			for buf := make([]byte, 8<<10); ; reads++ {
				m, err := r.Body.Read(buf)
				if n += m; err != nil {
					fmt.Fprintf(w, "%d %v", n, err)
					break
				}
			}
			if reads > 8 {
				t.Errorf("%d bytes took %d reads", n, reads)
			}
		}, nil)
		defer b.close()
		for _, c := range []struct{ sent, want string }{
			{in + strings.Repeat("1\r\nx\r\n", 1000) + end + next, "200 1000 EOF; 200 0 EOF; open"},
			{in + strings.Repeat("2;a\r\nxx\r\n", 500) + "0\r\nX-T: u\r\n\r\n" + next, "200 1000 EOF; 200 0 EOF; open"},
			{in + "1\r\nx\r\n2\r\nxxX\r\n" + end, "200 3 http1: the request's chunks are not valid; closed"},
			{in + "1\r\nx\r\nx\r\n" + end, "200 1 http1: the request's chunks are not valid; closed"},
		} {
			cl := b.dial(spdytest.PipeConfig{})
			cl.send(c.sent)
			cl.want(fmt.Sprintf("%.70q", c.sent), c.want)
			cl.Close()
		}
	})
}

// What a client still sends is read for a while after the last answer.
func TestLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) }, nil)
		defer b.close()
		for _, c := range []struct{ sent, more, want string }{
			{post + "Content-Length: 1000000\r\n\r\n", strings.Repeat("x", 100_000), "413; closed"},
			{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("x", 100_000), "400 there is no Host; closed"},
		} {
			cl := b.dial(spdytest.PipeConfig{})
			cl.send(c.sent)
			for range 9 {
				cl.send(c.more)
				time.Sleep(100 * time.Millisecond)
			}
			cl.want(c.sent, c.want)
			time.Sleep(lingerTime)
			synctest.Wait()
			if n := len(b.s.conns); n != 0 {
				t.Errorf("%d connections after %v", n, lingerTime)
			}
			cl.Close()
		}
	})
}

// Shutdown waits for requests, and for nothing else for long.
func TestShutdown(t *testing.T) {
	for _, parked := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			release := make(chan struct{})
			b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					<-release
				}
				echo(w, r)
			}, nil)
			idle, busy, silent, half := b.dial(spdytest.PipeConfig{}), b.dial(spdytest.PipeConfig{}), b.dial(spdytest.PipeConfig{}), b.dial(spdytest.PipeConfig{})
			again := b.dial(spdytest.PipeConfig{})
			idle.send(next)
			again.send(next)
			busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
			if parked {
				time.Sleep(3 * tick)
			}
			half.send(get)
			stopped := make(chan error, 1)
			hook := false
			b.hs.RegisterOnShutdown(func() { hook = true })
			go func() { stopped <- b.s.Shutdown(context.Background()) }() // ends as the test says
			synctest.Wait()
			idle.want("idle", ok+"open")
			again.want("the one before the last", ok+"open")
			again.send(next)
			again.want("the last", ok+"closed")
			silent.want("silent", "open")
			half.send("\r\n")
			half.want("a request that comes", ok+"closed")
			time.Sleep(Grace - tick)
			idle.want("idle, for a moment", "open")
			time.Sleep(2 * tick)
			idle.want("idle, after it", "closed")
			silent.want("silent", "open")
			time.Sleep(newGrace)
			silent.want("silent, after a while", "closed")
			if err := <-b.end; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: got %v", err)
			}
			select {
			case err := <-stopped:
				t.Errorf("Shutdown has returned %v with a request open", err)
			default:
			}
			close(release)
			busy.want("busy", "200 GET a /wait; closed")
			busy.Close()
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: got %v", err)
			}
			if !hook {
				t.Error("what was registered for it was not called")
			}
			for _, cl := range []*client{idle, again, silent, half} {
				cl.Close()
			}
		})
	}
}

// backlog is a listener of which the last Accept was under way when it was closed.
type backlog struct {
	*listener
	last net.Conn
}

func (l *backlog) Accept() (net.Conn, error) {
	conn, err := l.listener.Accept()
	if err != nil && l.last != nil {
		conn, l.last, err = l.last, nil, nil
	}
	return conn, err
}

// What was accepted is served, though the server has been told to stop meanwhile, and
// waited for. After Close it is not.
func TestShutdownServesWhatWasAccepted(t *testing.T) {
	for _, closed := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			b := newBed(t, echo, nil)
			ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
			cl := &client{Conn: ours, b: b}
			go cl.read() // ends with the connection
			served := make(chan error, 1)
			go func() { served <- b.s.Serve(&backlog{newListener(), theirs}) }() // ends with Shutdown
			synctest.Wait()
			stopped, want := make(chan error, 1), ok+"closed"
			if closed {
				b.s.Close()
				stopped <- nil
				want = "closed"
			} else {
				go func() { stopped <- b.s.Shutdown(context.Background()) }() // ends with the connection
				synctest.Wait()
				select {
				case <-stopped:
					t.Error("Shutdown does not wait for it")
				default:
				}
				cl.send(next)
			}
			cl.want("the last that was accepted", want)
			cl.Close()
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: got %v", err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: got %v", err)
			}
			b.close()
		})
	}
}

// A response that had begun before Shutdown has promised that another request may come:
// it is served, and is the last, whether it has come before or comes within Grace.
func TestShutdownKeepsItsPromise(t *testing.T) {
	for _, pipelined := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			release := make(chan struct{})
			b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-release
				echo(w, r)
			}, nil)
			cl, leaves := b.dial(spdytest.PipeConfig{Delay: time.Millisecond}), b.dial(spdytest.PipeConfig{Delay: time.Millisecond})
			defer cl.Close()
			defer leaves.Close()
			cl.send(next)
			leaves.send(next)
			time.Sleep(10 * time.Millisecond)
			if pipelined {
				cl.send(next)
				time.Sleep(10 * time.Millisecond)
			}
			stopped := make(chan error, 1)
			go func() { stopped <- b.s.Shutdown(context.Background()) }() // ends with the requests
			time.Sleep(2 * Grace)
			close(release)
			time.Sleep(10 * time.Millisecond)
			leaves.want("who leaves", ok+"open")
			if pipelined {
				cl.want("both answers", ok+ok+"closed")
			} else {
				cl.want("the answer", ok+"open")
				time.Sleep(Grace / 2)
				cl.send(next)
				time.Sleep(10 * time.Millisecond)
				cl.want("the last answer", ok+"closed")
			}
			time.Sleep(Grace + 2*tick)
			leaves.want("who leaves", "closed")
			cl.Close()
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: got %v", err)
			}
			b.close()
		})
	}
}

// Shutdown ends with its context, and Close ends all.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(next)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: got %v", err)
		}
		b.close()
		cl.want("a request", "closed")
	})
}

// What is much goes out by one write with its head, and small answers do.
func TestWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(r.URL.Path)))
			io.WriteString(w, r.URL.Path)
		}, func(b *bed) { b.hs.MaxHeaderBytes = 100_000 })
		defer b.close()
		for _, size := range []int{1, 1000, 3000, 4096, 50_000} {
			for _, can := range []bool{false, true} {
				ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
				counted := &counted{Conn: theirs}
				if can {
					b.ln.conns <- counting{counted}
				} else {
					b.ln.conns <- counted
				}
				cl := &client{Conn: ours, b: b}
				go cl.read() // ends with the connection
				path := "/" + strings.Repeat("x", size-1)
				for range 3 {
					cl.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
					cl.want(fmt.Sprint(size), "200 "+path+"; open")
				}
				want := 3
				if size > 3500 && !can {
					want = 6
				}
				if counted.writes != want {
					t.Errorf("%d bytes, several buffers %v: %d writes, want %d", size, can, counted.writes, want)
				}
				cl.Close()
			}
		}
	})
}

type counted struct {
	net.Conn
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

type counting struct{ *counted }

func (c counting) WriteBuffers(b *net.Buffers) (n int64, err error) {
	c.writes++
	for _, p := range *b {
		m, _ := c.Conn.Write(p)
		n += int64(m)
	}
	return n, nil
}

// The clock looks at connections at any time, and requests are served as if it did
// not.
func TestLookedAt(t *testing.T) {
	hs := &http.Server{IdleTimeout: 100_000 * time.Hour, ReadHeaderTimeout: 100_000 * time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range len(r.URL.Path) % 50 {
			runtime.Gosched()
		}
		if r.Context().Err() != nil {
			t.Error("the context of a request has ended")
		}
		echo(w, r)
	})}
	s, ln, ended := New(hs), newListener(), make(chan error, 1)
	go func() { ended <- s.Serve(ln) }() // ends with Close
	var clients, clock sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		clock.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
					s.look()
					runtime.Gosched()
				}
			}
		})
	}
	for i := range 8 {
		clients.Go(func() { // ends with its requests
			ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
			ln.conns <- theirs
			defer ours.Close()
			ours.SetDeadline(time.Now().Add(time.Minute))
			r := bufio.NewReader(ours)
			for n := range 500 {
				path := "/" + strings.Repeat("x", (n+i)%100)
				head := "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
				for _, part := range []string{head, "\r\nbo", "dy"}[:1+n%3] {
					io.WriteString(ours, part)
					for range n % 20 {
						runtime.Gosched()
					}
				}
				io.WriteString(ours, []string{"\r\nbody", "dy", ""}[n%3])
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Errorf("connection %d, request %d: %v", i, n, err)
					return
				}
				if body, err := io.ReadAll(res.Body); err != nil || string(body) != "POST a "+path+` "body"` {
					t.Errorf("connection %d, request %d: got %q, %v", i, n, body, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	clock.Wait()
	s.Close()
	<-ended
}
