package proxy

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

const (
	// balancerTime is how long a load balancer may take for its header, which it
	// sends at once.
	balancerTime = 5 * time.Second
	// maxBalancerWaits is how many connections may wait for theirs.
	maxBalancerWaits = 1024
	// balancerBuffer holds a header without much beside the addresses, and the begin
	// of what the visitor says.
	balancerBuffer = 1024
)

// balanced is the listener of a front port that load balancers stand before: each
// connection of theirs begins with a PROXY header (haproxy's proxy-protocol.txt,
// versions 1 and 2), which tells whose it is. Of others nothing is read. Connections
// without a header, where there has to be one, are closed: anybody could have sent
// them through a balancer that was told not to tell.
type balanced struct {
	net.Listener
	from  []netip.Prefix
	lines *loglimit.Logger

	accepted chan accepted // closed when there are no more
	waits    chan struct{} // holds a value for each connection whose header is read
	abandon  chan struct{} // closed some time after Close: nobody accepts
	close    sync.Once
	running  sync.WaitGroup // one for each connection whose header is read
}

type accepted struct {
	conn net.Conn
	err  error
}

// told is a connection of which a balancer has said whose it is.
type told struct {
	*net.TCPConn
	addr  net.Addr
	early []byte // what has come behind the header
}

// RemoteAddr is the visitor's, not the balancer's.
func (t *told) RemoteAddr() net.Addr { return t.addr }

func newBalanced(ln net.Listener, from []netip.Prefix, log *slog.Logger) *balanced {
	b := &balanced{
		Listener: ln, from: from, lines: loglimit.New(log, 1),
		accepted: make(chan accepted), waits: make(chan struct{}, maxBalancerWaits), abandon: make(chan struct{}),
	}
	// Ends at Close.
	go b.run()
	return b
}

// run accepts for Accept, which no header holds up.
func (b *balanced) run() {
	for {
		conn, err := b.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			b.running.Wait()
			b.lines.Close()
			close(b.accepted)
			return
		}
		tcp, ok := conn.(*net.TCPConn)
		if err != nil || !ok || !b.balances(tcp.RemoteAddr()) {
			b.hand(accepted{conn, err})
			continue
		}
		select {
		case b.waits <- struct{}{}:
			// Ends with the header, or in balancerTime; Close waits for it.
			b.running.Go(func() {
				b.begin(tcp)
				<-b.waits
			})
		default:
			tcp.Close()
			b.lines.Log("crowded", slog.LevelWarn, "front port: connections of a load balancer closed, too many have no PROXY header yet",
				slog.String("remote", tcp.RemoteAddr().String()), slog.Int("waiting", maxBalancerWaits))
		}
	}
}

// balances reports whether a header has to come from addr.
func (b *balanced) balances(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && addrkey.In(tcp.AddrPort().Addr(), b.from)
}

// begin reads the header of a connection.
func (b *balanced) begin(conn *net.TCPConn) {
	conn.SetReadDeadline(time.Now().Add(balancerTime))
	r := bufio.NewReaderSize(conn, balancerBuffer)
	_, err := r.Peek(1)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		conn.Close() // it has only looked whether the port is open
		return
	}
	var addr net.Addr
	if err == nil {
		addr, err = visitorOf(r, conn.RemoteAddr())
	}
	if err != nil {
		conn.Close()
		b.lines.Log("no header", slog.LevelWarn, "front port: connection of a load balancer closed, it has no good PROXY header: have it send one, or leave it out of --proxy-protocol",
			slog.String("remote", conn.RemoteAddr().String()), slog.Any("err", err))
		return
	}
	conn.SetReadDeadline(time.Time{})
	early, _ := r.Peek(r.Buffered())
	b.hand(accepted{conn: &told{conn, addr, slices.Clone(early)}})
}

// visitorOf reads a header, and returns the visitor's address: the balancer's own if
// it speaks for itself, or does not know.
func visitorOf(r *bufio.Reader, balancer net.Addr) (net.Addr, error) {
	h, err := proxyproto.Read(r)
	switch {
	case err != nil:
		return nil, err
	case h.Command.IsLocal() || h.TransportProtocol.IsUnspec() || h.TransportProtocol.IsUnix():
		return balancer, nil
	}
	if addr, _, ok := h.TCPAddrs(); ok {
		return addr, nil
	}
	return nil, errors.New("it is not of TCP")
}

func (b *balanced) hand(a accepted) {
	select {
	case b.accepted <- a:
	case <-b.abandon:
		if a.conn != nil {
			a.conn.Close()
		}
	}
}

// Accept returns the next connection whose header has come.
func (b *balanced) Accept() (net.Conn, error) {
	a, ok := <-b.accepted
	if !ok {
		return nil, net.ErrClosed
	}
	return a.conn, a.err
}

// Close stops Accept when those whose headers are under way were accepted.
func (b *balanced) Close() error {
	b.close.Do(func() { time.AfterFunc(2*balancerTime, func() { close(b.abandon) }) })
	return b.Listener.Close()
}
