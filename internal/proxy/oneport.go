package proxy

import (
	"crypto/tls"
	"slices"

	"github.com/amahi/spdy-proxy/internal/control"
)

// takeOrigins has Cs come by the front port, too, which conf is for: a firewall may
// let nothing else out. ALPN tells them from visitors. TLS is the control port's
// then, with a client's certificate if one is asked for.
//
// Until C is let in it has a visitor's place, which it loses as a visitor does; from
// the end of TLS's handshake on it is one of the control port's unfinished
// handshakes as well, with their limits.
func (p *Proxy) takeOrigins(conf *tls.Config, others func(*tls.ClientHelloInfo) (*tls.Config, error)) {
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, control.Protocol) {
			return p.control.Config(), nil
		}
		return others(hello)
	}
	p.front.Next = map[string]func(*tls.Conn){
		control.Protocol: func(conn *tls.Conn) { p.control.Take(conn) },
	}
}

// byFront returns the visitor's connection that a C has come by, nil if it has come
// by the control port.
func byFront(conn *control.Conn) *visitor {
	v, _ := conn.NetConn().(*visitor)
	return v
}

// release gives the place of a connection back that goes on and is no visitor's.
func (c *visitor) release() { c.once.Do(func() { c.from.give(c) }) }
