package serve

import (
	"context"
	"crypto/tls"
	"net"
)

// askingKey is that of the value asking in the context of a request to the service.
type askingKey struct{}

// asking is the request that a connection is made for. net/http cuts the making from
// the end of its request, since another one may use what comes of it, and leaves no
// more than the values.
type asking struct {
	ctx   context.Context // of the request
	http1 bool            // it cannot go by HTTP/2
}

// dialPlain makes a connection for a request.
func (s *service) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, end := s.wanted(ctx)
	defer end()
	return s.connect(ctx, network, addr)
}

// dialTLS makes one with TLS. net/http's own handshake would go on for who has left.
func (s *service) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, end := s.wanted(ctx)
	defer end()
	c, err := s.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conf := s.tlsConfig()
	if ctx.Value(askingKey{}).(asking).http1 {
		conf.NextProtos = nil
	}
	host, _, _ := net.SplitHostPort(addr) // net/http has made it of a host and a port
	return secure(ctx, c, host, conf)
}

// wanted is ctx, of a connection that is made, until nobody wants it: its request has
// ended, and there are more such ones than could be kept. end is called when it is made
// or is not.
func (s *service) wanted(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx.Value(askingKey{}).(asking).ctx, func() {
		if s.orphans.Add(1) > maxServiceIdle {
			cancel()
		}
	})
	return ctx, func() {
		if !stop() {
			s.orphans.Add(-1)
		}
		cancel()
	}
}

// connect dials, and notes what came of it.
func (s *service) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := s.dial(ctx, network, addr)
	err = dialError(err)
	s.noteDial(ctx, err)
	return c, err
}

// secure has TLS on c, which leads to host. Without success within dialTimeout it closes c.
func secure(ctx context.Context, c net.Conn, host string, conf *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if conf.ServerName == "" {
		conf.ServerName = host
	}
	t := tls.Client(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}
