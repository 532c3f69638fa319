package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/testlog"
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
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection closed", err)
	}
}

func newTestVisitors(t *testing.T, stall time.Duration) (*visitors, chan any) {
	next := make(chan any, 16)
	v := newVisitors("front", fakeListener{next: next}, slog.New(slog.DiscardHandler), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, stall, stall)
	t.Cleanup(func() {
		v.Close()
		v.unwatch()
	})
	return v, next
}

// Who takes nothing of what is written is given up though no more visitors are let in,
// as while P waits for what is under way.
func TestWatchedWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, _ := newTestVisitors(t, time.Minute)
		ours, theirs := pipe("192.0.2.1")
		defer theirs.Close()
		c := v.take(ours)
		defer c.Close()
		v.Close()
		start := time.Now()
		_, err := c.Write(make([]byte, 1<<20))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < time.Minute || took > time.Minute+time.Minute/4 {
			t.Errorf("the write ended after %v with %v, want it given up after a minute", took, err)
		}
		if !c.Stalled() {
			t.Error("it is not said that the visitor reads nothing")
		}
	})
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
	var log testlog.Buffer
	v.lines = loglimit.New(log.Logger(slog.LevelInfo), 1)
	// At the edge, each connection that ends makes room for one.
	for range 4 {
		for range 3 {
			next <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		ours, _ := pipe("192.0.2.1")
		next <- ours
		if _, err := v.Accept(); err != nil {
			t.Errorf("got %v, want the connection after the errors", err)
		}
	}
	if n := log.Count("front port: accept failed"); n != 1 {
		t.Errorf("%d lines about it, want 1:\n%s", n, log.String())
	}
	next <- net.ErrClosed
	if _, err := v.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
