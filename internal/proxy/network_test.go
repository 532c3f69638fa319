package proxy_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// network is one in memory. A bubble of testing/synctest has it in place of
// sockets, during whose waits the bubble's clock would stand still.
type network struct {
	mu    sync.Mutex
	ports map[string]*port // guarded by mu
	last  int              // guarded by mu; the port number given last
}

func newNetwork() *network { return &network{ports: map[string]*port{}} }

// number returns an address that nobody has.
func (n *network) number() *net.TCPAddr {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n.last}
}

func (n *network) listen() net.Listener {
	p := &port{addr: n.number(), conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[p.addr.String()] = p
	return p
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	p := n.ports[addr]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	if p == nil {
		return nil, refused
	}
	ours, theirs := spdytest.Pipe(spdytest.PipeConfig{Buffer: 256 << 10})
	near := &memoryConn{Conn: ours, local: n.number(), remote: p.addr}
	far := &memoryConn{Conn: theirs, local: near.remote, remote: near.local}
	near.peer, far.peer = far, near
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// port is a listener of a network.
type port struct {
	addr   *net.TCPAddr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{} // closed by Close
}

func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *port) Addr() net.Addr { return p.addr }

// memoryConn ends as a TCP connection does: the other end of one that was closed
// reads its end, can write once, and is reset for that.
type memoryConn struct {
	*spdytest.Conn
	local, remote *net.TCPAddr
	peer          *memoryConn
	closed        atomic.Bool
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *memoryConn) Write(b []byte) (int, error) {
	if len(b) > 0 && c.peer.closed.Load() && !c.closed.Load() {
		if _, err := c.Conn.Write(nil); err != nil {
			return 0, err
		}
		c.Reset()
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *memoryConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.peer.closed.Load() || c.Unread() > 0 {
		return c.Conn.Close()
	}
	c.SetReadDeadline(aLongTimeAgo) // for who is in Read
	return c.CloseWrite()
}

// everyClientInBubble is everyClient in bubbles: time passes when everybody waits
// for it.
func everyClientInBubble(t *testing.T, edit func(*proxy.Config), body func(t *testing.T, x *p, rt http.RoundTripper)) {
	for _, cl := range clients {
		t.Run(cl.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *files) {
				x := startP(t, f, func(c *proxy.Config) {
					c.TLS = cl.tls
					if edit != nil {
						edit(c)
					}
				})
				body(t, x, cl.make(t, x))
			})
		})
	}
}

// inBubble runs body in a bubble of testing/synctest, with files for a P that has
// a network in memory.
func inBubble(t *testing.T, body func(t *testing.T, f *files)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t)
		f.network = newNetwork()
		body(t, f)
	})
}
