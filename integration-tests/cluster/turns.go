//go:build linux

package main

import (
	"context"
	"net"
	"sync"
)

// turns are how many handshakes the agents of this process begin at once. Thousands of Cs
// that lose a node are on as many machines: one that dials does not hold up what another
// serves meanwhile, as it would in a process that has thousands to compute.
type turns chan struct{}

// dial waits for its turn, which lasts until P has answered, or the connection is closed.
func (t turns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		<-t
		return nil, err
	}
	return &turnConn{Conn: conn, turns: t}, nil
}

// turnConn has a turn.
type turnConn struct {
	net.Conn
	turns turns
	over  sync.Once
}

func (c *turnConn) end() { c.over.Do(func() { <-c.turns }) }

func (c *turnConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.end()
	return n, err
}

func (c *turnConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// NetConn returns the connection inside.
func (c *turnConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends this direction.
func (c *turnConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }
