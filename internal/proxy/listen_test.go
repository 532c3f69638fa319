package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeListener gives out connections and errors.
type fakeListener struct {
	net.Listener
	next chan any // net.Conn or error; closed: net.ErrClosed
}

func (l fakeListener) Accept() (net.Conn, error) {
	switch x := (<-l.next).(type) {
	case net.Conn:
		return x, nil
	case error:
		return nil, x
	}
	return nil, net.ErrClosed
}

func (l fakeListener) Close() error { return nil }

// fakeConn is one end of a pipe, from an address.
type fakeConn struct {
	net.Conn
	from netip.Addr
}

func (c fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 4711))
}

func pipe(from string) (ours net.Conn, theirs net.Conn) {
	a, b := net.Pipe()
	return fakeConn{a, netip.MustParseAddr(from)}, b
}

func closedSoon(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection closed", err)
	}
}

func newTestVisitors(t *testing.T, stall time.Duration) (*visitors, chan any) {
	next := make(chan any, 16)
	v := newVisitors(fakeListener{next: next}, slog.New(slog.DiscardHandler), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, stall, stall)
	t.Cleanup(func() { v.Close() })
	return v, next
}

// Connection caps, in all and an address.
func TestVisitorCaps(t *testing.T) {
	v, next := newTestVisitors(t, time.Hour)
	log := &strings.Builder{}
	v.log = slog.New(slog.NewTextHandler(log, nil))
	v.places.max, v.places.maxOne = 10, 2
	accepted := make(chan net.Conn, 16)
	go func() { // ends with the listener, below
		for {
			c, err := v.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	var open []net.Conn
	for _, c := range []struct {
		from string
		ok   bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false}, // two an address
		{"::ffff:192.0.2.1", false},                                          // the same address
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, // one /64
		{"127.0.0.2", true}, {"127.0.0.2", true}, {"127.0.0.2", false}, // on this machine, but as any
		{"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"10.1.1.1", true}, // these have no cap of their own
		{"127.0.0.1", false}, {"10.1.1.1", false}, {"198.51.100.1", false}, // ten in all
	} {
		ours, theirs := pipe(c.from)
		next <- ours
		if !c.ok {
			closedSoon(t, theirs)
			continue
		}
		got := <-accepted
		noteState(got, http.StateActive)
		open = append(open, got)
	}
	// One that goes makes room for one, once.
	open[0].Close()
	open[0].Close()
	ours, _ := pipe("192.0.2.1")
	next <- ours
	noteState(<-accepted, http.StateActive)
	ours, theirs := pipe("192.0.2.1")
	next <- ours
	closedSoon(t, theirs)
	close(next)
	if c, ok := <-accepted; ok {
		t.Errorf("got %v after the listener was closed", c)
	}
	if open, refused := v.counts(); open != 10 || refused != [refusalKinds]uint64{refusedAddress: 5, refusedTotal: 3} {
		t.Errorf("%d are open, %v were refused; want 10, 5 for their address and 3 for all", open, refused)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "address_full=1 all_full=0 silent_dropped=0 idle_dropped=0 open=2 last_from=192.0.2.1\n") {
		t.Errorf("got the lines %q, want one about the first", got)
	}
}

// The log has a line a minute about connections that were refused.
func TestRefusalsAreSaidNowAndThen(t *testing.T) {
	var r refusals
	start := time.Now()
	said := func(after time.Duration) string {
		return strings.TrimSpace(fmt.Sprintln(r.line(start.Add(after), 7)...))
	}
	if got := said(0); got != "" {
		t.Errorf("nothing was refused: %q", got)
	}
	for i, want := range []string{"address_full 1 all_full 0 silent_dropped 0 idle_dropped 0 open 7 last_from a", "", ""} {
		r.add(refusedAddress, "a")
		if got := said(time.Duration(i) * 20 * time.Second); got != want {
			t.Errorf("refusal %d: %q, want %q", i, got, want)
		}
	}
	r.add(droppedSilent, "a")
	r.add(droppedIdle, "a")
	r.add(refusedTotal, "")
	if got, want := said(refusedEvery), "address_full 2 all_full 1 silent_dropped 1 idle_dropped 1 open 7"; got != want {
		t.Errorf("after a minute: %q, want %q", got, want)
	}
	if got := said(time.Hour); got != "" {
		t.Errorf("nothing more was refused: %q", got)
	}
}

// File-descriptor exhaustion is waited out, not died of.
func TestAcceptErrors(t *testing.T) {
	v, next := newTestVisitors(t, time.Hour)
	for range 3 {
		next <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	ours, _ := pipe("192.0.2.1")
	next <- ours
	if _, err := v.Accept(); err != nil {
		t.Errorf("got %v, want the connection after the errors", err)
	}
	next <- net.ErrClosed
	if _, err := v.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

// A visitor that takes nothing, or that nobody takes anything from, is given up
// after a while; one that is waited on is not.
func TestVisitorStall(t *testing.T) {
	v, next := newTestVisitors(t, 100*time.Millisecond)
	accept := func() (net.Conn, context.Context) {
		ours, _ := pipe("192.0.2.1")
		next <- ours
		c, err := v.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c, withLeave(context.Background(), c)
	}
	writing, _ := accept()
	if _, err := writing.Write([]byte("x")); err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a write that gets nowhere: got %v, want a timeout", err)
	}
	reading, readingCtx := accept()
	go reading.Read(make([]byte, 1)) // ends when the connection is closed, below
	_, idleCtx := accept()
	select {
	case <-idleCtx.Done():
	case <-time.After(10 * time.Second):
		t.Error("a connection on which nothing moves was kept")
	}
	if readingCtx.Err() != nil {
		t.Error("a connection that is read from was given up")
	}
	reading.Close()
}

func TestBindErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct {
		addr, want string
		config     bool
	}{
		{ln.Addr().String(), "another program listens there: stop it, or give another address with --front", false},
		{"192.0.2.1:0", "this machine has no such address: give another address with --front", false},
		{"no-such-host.invalid:1443", "give another address with --front", true},
	} {
		_, err := bind("front", c.addr)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.addr, err, c.want)
		}
		if _, ok := errors.AsType[*ConfigError](err); ok != c.config {
			t.Errorf("%s: a ConfigError: %v, want %v", c.addr, ok, c.config)
		}
	}
}

// Nothing moves for a while: who is given up, and when.
func TestVisitorLook(t *testing.T) {
	const stall = time.Minute
	start := time.Now()
	const never = -1
	for _, test := range []struct {
		name      string
		reading   bool
		writing   time.Duration   // since when a Write is under way, or never
		reads     []time.Duration // when one ends
		writes    []time.Duration // when one ends, and another begins
		left, cut time.Duration   // the wanted ends of the requests and of the Write
	}{
		{"it waits for a request", true, never, nil, nil, never, never},
		{"a body that nobody reads", false, never, nil, nil, 70 * time.Second, never},
		{"a body that is read now and then", false, never, []time.Duration{45 * time.Second, 95 * time.Second}, nil, 170 * time.Second, never},
		{"it takes nothing, and may send", true, 5 * time.Second, nil, nil, never, 70 * time.Second},
		{"it takes nothing, and sends", true, 5 * time.Second, []time.Duration{50 * time.Second, 100 * time.Second, 150 * time.Second}, nil, never, 70 * time.Second},
		{"it takes nothing, and is not read from", false, 5 * time.Second, nil, nil, 80 * time.Second, 70 * time.Second},
		{"it takes something now and then", true, 5 * time.Second, nil, []time.Duration{50 * time.Second, 100 * time.Second}, never, 160 * time.Second},
		{"it takes something now and then, and is not read from", false, 5 * time.Second, nil, []time.Duration{50 * time.Second, 100 * time.Second}, 170 * time.Second, 160 * time.Second},
		{"a write that begins after a long wait", true, 175 * time.Second, nil, nil, never, never},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := &deadlineConn{}
			c := &visitor{Conn: conn, from: &visitors{stall: stall, unread: stall}, since: start, sinceWrite: start}
			ctx := withLeave(t.Context(), c)
			if test.reading {
				c.reading.Store(1)
			}
			left, cut := time.Duration(never), time.Duration(never)
			const tick = 10 * time.Second
			for now := time.Duration(0); now <= 3*stall; now += tick {
				during := func(at time.Duration) bool { return at > now-tick && at <= now && at != never }
				if slices.ContainsFunc(test.reads, during) {
					c.reads.Add(1)
				}
				if during(test.writing) || slices.ContainsFunc(test.writes, during) {
					c.writes.Add(1)
				}
				if test.writing != never && test.writing <= now {
					c.writing.Store(1)
				}
				c.lookLocked(start.Add(now))
				if left == never && ctx.Err() != nil {
					left = now
				}
				if cut == never && !conn.first.IsZero() {
					cut = now
				}
			}
			if left != test.left || cut != test.cut {
				t.Errorf("requests ended after %v, the Write after %v; want %v and %v", left, cut, test.left, test.cut)
			}
		})
	}
}

// deadlineConn notes the first write deadline.
type deadlineConn struct {
	net.Conn
	first time.Time
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	if c.first.IsZero() {
		c.first = t
	}
	return nil
}

// readConn is a connection whose Read returns that.
type readConn struct {
	net.Conn
	n   int
	err error
}

func (c readConn) Read([]byte) (int, error) { return c.n, c.err }

// Behind the end that TLS has, a reset may come in place of TCP's, or something
// that must not be there: neither is a visitor who waits for an answer.
func TestResetIsAnEnd(t *testing.T) {
	for name, read := range map[string]readConn{"a reset": {err: syscall.ECONNRESET}, "more": {n: 1}} {
		v, _ := newTestVisitors(t, time.Hour)
		read.Conn, _ = pipe("192.0.2.1")
		c := v.take(read)
		defer c.Close()
		c.secure = true
		select {
		case <-c.End():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is no end", name)
		}
		if !c.Broken() {
			t.Errorf("after %s the connection is not broken", name)
		}
	}
}
