package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// Probe does what Dial does, step by step, but for coming in: it asks P by OPTIONS
// what the PUT would be answered, and disturbs nobody who serves. say is called with
// a line for each step that went well. The error is as Dial's.
func (d *Dialer) Probe(ctx context.Context, say func(found string)) error {
	ctx, cancel := context.WithTimeout(ctx, 3*d.timeout())
	defer cancel()
	host, _, err := net.SplitHostPort(d.Addr)
	if err != nil {
		return err
	}
	via, err := d.via()
	if err != nil {
		return err
	}
	if via == nil && d.DialContext == nil { // a proxy looks the name up by itself
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return fmt.Errorf("proxy %s: %w", d.Addr, err)
		}
		say(fmt.Sprintf("%s is %s", host, strings.Join(addrs, ", ")))
	}
	raw, err := d.connection(ctx, via)
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	if via != nil {
		say("connected by way of " + viaText(via))
	} else {
		say(fmt.Sprintf("connected to %v", raw.RemoteAddr()))
	}

	tc := tls.Client(raw, d.config(host))
	if err := tc.HandshakeContext(ctx); err != nil {
		return d.handshakeError(err)
	}
	say(describe(tc.ConnectionState().PeerCertificates[0]))
	return d.askIn(tc, say)
}

// askIn asks P whether it would take C, over a connection on which it has verified
// itself.
func (d *Dialer) askIn(tc *tls.Conn, say func(found string)) error {
	tc.SetDeadline(time.Now().Add(2 * d.timeout()))
	req := &http.Request{Method: http.MethodOptions}
	if _, err := fmt.Fprintf(tc, "OPTIONS /%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", d.Name, d.Addr, d.Token); err != nil {
		return fmt.Errorf("proxy %s: sending the request: %w", d.Addr, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(tc, maxHead+maxBody)), req)
	if err != nil {
		return d.noAnswer(err)
	}
	defer resp.Body.Close()
	n, err := strconv.Atoi(resp.Header.Get(headerServing))
	switch {
	case resp.StatusCode == http.StatusMethodNotAllowed:
		say("the proxy is of a version that cannot be asked about the token and the name")
	case resp.StatusCode != http.StatusOK || err != nil || n < 0:
		return d.refused(resp)
	case n == 0:
		say(fmt.Sprintf("the token may register %s, which nobody serves now", nameOf(d.Name)))
	default:
		say(fmt.Sprintf("the token may register %s, whose requests are shared with %s that it has now", nameOf(d.Name), connections(n)))
	}
	urls, warning := readReach(resp.Header)
	if len(urls) > 0 {
		say("visitors reach it at " + strings.Join(urls, " and "))
	}
	switch {
	case warning == "":
	case len(urls) > 0:
		say("but: " + warning)
	default:
		say("no visitor reaches it: " + warning)
	}
	return nil
}

func connections(n int) string {
	if n == 1 {
		return "the connection"
	}
	return fmt.Sprintf("the %d connections", n)
}

// describe says what a certificate is for, in a line.
func describe(c *x509.Certificate) string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return oneline.Clean(fmt.Sprintf("the certificate is for %s, until %s, from %s", strings.Join(names, ", "), c.NotAfter.UTC().Format(time.DateOnly), c.Issuer))
}
