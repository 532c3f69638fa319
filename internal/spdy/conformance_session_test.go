package spdy_test

import (
	"context"
	"errors"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

var pingCases = join([]conformanceCase{
	server(86, "PING while a response waits for window", func(h *serverTest) {
		h.p.Send(req(1, "/size/1048576"))
		h.wantBytes("the window", map[uint32]int{1: 65536})
		start := time.Now()
		h.p.Send(ping(1))
		h.p.Want("2.6.5: the identical frame", ping(1))
		if d := time.Since(start); d > time.Second {
			h.Errorf("got the echo after %v, want 1s at most", d)
		}
		h.p.WantIdle("once")
	}),
	client(87, "PING", func(h *clientTest) {
		h.p.Send(ping(2))
		h.p.Want("2.6.5: the identical frame", ping(2))
		h.p.WantIdle("once")
		h.p.Send(ping(0))
		h.p.Want("0 is even", ping(0))
	}),
	server(88, "PING of its own parity", func(h *serverTest) {
		h.p.Send(ping(2), ping(0))
		h.p.WantIdle("2.6.5: no echo of an echo")
		h.alive(1)
	}),
	client(88, "PING of its own parity", func(h *clientTest) {
		h.p.Send(ping(1))
		h.p.WantIdle("2.6.5: no echo of an echo")
		h.alive()
	}),
},
	both(89, "Ping with echo, without, and a late one", func(h *session) {
		got := h.startPing(time.Second)
		h.p.Send(h.wantPing())
		if !<-got {
			h.Error("Ping with an echo: got false, want true")
		}
		start := time.Now()
		got = h.startPing(time.Second)
		f := h.wantPing()
		if <-got {
			h.Error("Ping without an echo: got true, want false")
		}
		if d := time.Since(start); d != time.Second {
			h.Errorf("Ping without an echo: returned after %v, want 1s", d)
		}
		h.p.Send(f)
		h.p.WantIdle("a late echo is ignored")
	}),
	both(90, "two Pings, echoes in the other order", func(h *session) {
		a := h.startPing(time.Second)
		f := h.wantPing()
		b := h.startPing(time.Second)
		g := h.wantPing()
		if f.ID == g.ID {
			h.Errorf("got PING %d twice, want two ids", f.ID)
		}
		h.p.Send(g, f)
		if !<-a || !<-b {
			h.Error("got false, want true twice")
		}
	}),
)

// both are two rows of the same script, that ends with alive.
func both(id int, what string, run func(h *session)) []conformanceCase {
	return []conformanceCase{
		server(id, what, func(h *serverTest) { run(h.session); h.alive(1) }),
		client(id, what, func(h *clientTest) { run(h.session); h.alive() }),
	}
}

func (h *session) startPing(d time.Duration) chan bool {
	got := make(chan bool, 1)
	// Ends after d.
	go func() { got <- h.s.Ping(d) }()
	return got
}

// wantPing reads a PING of the session's own.
func (h *session) wantPing() frame {
	h.Helper()
	f := h.p.Next("PING")
	if f.Type != spdytest.TypePing || f.Flags != 0 {
		h.Fatalf("got %v, want PING", f)
	}
	return f
}

var goAwayCases = join([]conformanceCase{
	client(91, "GOAWAY below an open stream", func(h *clientTest) {
		a, id1 := h.open("/1")
		b, _ := h.open("/3")
		h.p.Send(goAway(1, 0))
		_, err := b.wait()
		if !spdy.Retryable(err) {
			h.Errorf("stream 3: got %v, want an error that says it was not processed", err)
		}
		wantSessionError(h.session, err, spdy.GoAwayOK, true)
		h.p.WantIdle("stream 1 goes on")
		h.answer(a, id1)
		h.p.Want("2.6.6: GOAWAY before a close", goAway(0, 0))
		h.p.WantEOF("the last stream has ended")
		if err := h.wantServed(); err != nil {
			h.Errorf("Serve: got %v, want nil", err)
		}
	}),
	client(91, "GOAWAY that is raised again", func(h *clientTest) {
		a, id1 := h.open("/1")
		b, id3 := h.open("/3")
		h.p.Send(goAway(1, 0), goAway(3, 0), rep(id3), data(id3, "ok", fin))
		if _, err := b.wait(); !spdy.Retryable(err) {
			h.Errorf("stream 3: got %v, want an error that says it was not processed", err)
		}
		h.drainResets()
		h.answer(a, id1)
	}),
	client(92, "GOAWAY, then a call", func(h *clientTest) {
		h.p.Send(goAway(0, 0))
		select {
		case <-h.s.GoingAway():
		case <-time.After(spdytest.Limit):
			h.Fatal("GoingAway was not closed")
		}
		_, err := h.get("/").wait()
		if !spdy.Retryable(err) {
			h.Errorf("got %v, want an error that says it was not processed", err)
		}
		if st := h.s.NewClientStream(); st != nil {
			h.Errorf("NewClientStream: got %v, want nil", st)
		}
		h.p.Want("2.6.6: no SYN_STREAM, and GOAWAY before a close", goAway(0, 0))
		h.p.WantEOF("no stream is left")
		if err := h.s.Err(); err == nil {
			h.Error("Err: got nil")
		}
	}),
	client(92, "GOAWAY while a stream is open, then a call", func(h *clientTest) {
		a, id := h.open("/1")
		h.p.Send(goAway(id, 0))
		<-h.s.GoingAway()
		_, err := h.get("/").wait()
		if !spdy.Retryable(err) {
			h.Errorf("got %v, want an error that says it was not processed", err)
		}
		if n := h.s.Available(); n != 0 {
			h.Errorf("Available: got %d, want 0", n)
		}
		if st := h.s.NewClientStream(); st != nil {
			h.Errorf("NewClientStream: got %v, want nil", st)
		}
		h.p.WantIdle("2.6.6: no SYN_STREAM")
		h.answer(a, id)
	}),
	server(93, "a graceful stop", func(h *serverTest) {
		stopped := h.stopGracefully()
		h.p.WantIdle("stream 1 goes on")
		close(h.release)
		h.wantResponse("stream 1 completes", 1, "200", "ok")
		h.p.WantEOF("2.6.6: the last stream has ended")
		if err := <-stopped; err != nil {
			h.Errorf("Shutdown: got %v, want nil", err)
		}
	}),
	server(94, "frames that cross the GOAWAY", func(h *serverTest) {
		stopped := h.stopGracefully()
		h.p.Send(post(3, "/ok"), data(3, "x"), headers(3, fin, nv("a", "b")))
		h.p.WantIdle("2.6.6: ignored")
		close(h.release)
		h.wantResponse("stream 1 completes", 1, "200", "ok")
		h.p.WantEOF("the last stream has ended")
		if err := <-stopped; err != nil {
			h.Errorf("Shutdown: got %v, want nil", err)
		}
	}),
	server(95, "Close with a stream accepted", func(h *serverTest) {
		h.p.Send(req(1, "/block"))
		<-h.arrived
		h.s.Close()
		h.p.Want("2.6.6: GOAWAY before a close", goAway(1, 0))
		h.p.WantEOF("closed")
		h.wantEnded("the session has ended")
	}),
},
	both95(),
	[]conformanceCase{
		clientGoAway(2), clientGoAway(11), clientGoAway(99),
	})

// both95 are the rows of case 95 that do not end with alive.
func both95() []conformanceCase {
	closed := func(h *session) {
		h.s.Close()
		h.p.Want("2.6.6: GOAWAY before a close", goAway(0, 0))
		h.p.WantEOF("closed")
		if err := h.wantServed(); err != nil {
			h.Errorf("Serve: got %v, want nil", err)
		}
		h.s.Close() // may be called twice
		if err := h.s.Err(); !errors.Is(err, spdy.ErrClosed) {
			h.Errorf("Err: got %v, want ErrClosed", err)
		}
	}
	return []conformanceCase{
		server(95, "Close", func(h *serverTest) { closed(h.session) }),
		client(95, "Close", func(h *clientTest) { closed(h.session) }),
		client(95, "Close with a call under way", func(h *clientTest) {
			c, _ := h.open("/")
			closed(h.session)
			if err := c.failure(); !errors.Is(err, spdy.ErrClosed) {
				h.Errorf("the call: got %v, want ErrClosed", err)
			}
		}),
	}
}

// clientGoAway is a row of case 96.
func clientGoAway(status uint32) conformanceCase {
	return client(96, "GOAWAY with status "+spdy.GoAwayStatus(status).String(), func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(goAway(id, status))
		h.p.WantIdle("a stream at or below last-good may still complete")
		h.p.Close()
		err := c.failure()
		if _, ok := errors.AsType[*spdy.SessionError](err); !ok || spdy.Retryable(err) {
			h.Errorf("got %v, want a *SessionError that may have been processed", err)
		}
	})
}

// stopGracefully shuts the session down while /hold runs on stream 1, and reads
// its GOAWAY.
func (h *serverTest) stopGracefully() chan error {
	h.Helper()
	h.p.Send(req(1, "/hold"))
	<-h.arrived
	stopped := make(chan error, 1)
	// Ends when the session has; the case reads the channel.
	go func() { stopped <- h.s.Shutdown(context.Background()) }()
	h.p.Want("2.6.6: the last stream that was accepted", goAway(1, 0))
	return stopped
}

// drainResets reads RST_STREAM frames until none comes for 300 ms.
func (h *session) drainResets() {
	h.Helper()
	for {
		f, ok := h.p.Poll(spdytest.Idle)
		if !ok {
			return
		}
		if f.Type != spdytest.TypeRstStream {
			h.Fatalf("got %v, want RST_STREAM or nothing", f)
		}
	}
}
