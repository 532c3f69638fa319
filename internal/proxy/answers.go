package proxy

import (
	"bufio"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
)

// Answers returns nil if the front port answers a request that P answers by
// itself, before ctx ends. A connection that is closed without an answer counts:
// the port is full then, which is visitors' to cause, and is looked after.
func (p *Proxy) Answers(ctx context.Context) error {
	addr := p.FrontAddr().String()
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().IsUnspecified() {
		local := netip.IPv6Loopback()
		if ap.Addr().Is4() {
			local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		addr = netip.AddrPortFrom(local, ap.Port()).String()
	}
	err := p.ask(ctx, addr)
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the front port does not answer on %s", addr)
	}
	return nil
}

// ask sends a request to the front port at addr, and reads the begin of the answer.
func (p *Proxy) ask(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	if b := (&balanced{from: p.balancers}); b.balances(conn.LocalAddr()) {
		if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil {
			return err
		}
	}
	if p.cfg.TLS {
		// Whom it reaches is this process or its successor: the certificate says
		// nothing more.
		tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		if err := tc.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = tc
	}
	// RFC 9110, 7.6.2: the answer is P's own.
	request := "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n" + probeHeader + ": " + p.probe + "\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadByte()
	return err
}

// probeHeader has a word that this process alone knows, in the requests that it asks
// itself: they are no visitor's.
const probeHeader = "Spdy-Proxy-Probe"

// asksItself is front.Config.Probe.
func (p *Proxy) asksItself(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.RequestURI == "*" && subtle.ConstantTimeCompare([]byte(r.Header.Get(probeHeader)), []byte(p.probe)) == 1
}
