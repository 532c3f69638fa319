package control

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// viaSchemes are those of the proxies that lead out, and the ports that they have
// if none is said.
var viaSchemes = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// ViaEnvironment returns what Dialer.Via can be, by HTTPS_PROXY, ALL_PROXY and
// NO_PROXY, in capitals or small, as getenv knows them. Its error is one line that
// says what would mend it, and shows no password.
func ViaEnvironment(getenv func(string) string) (func(addr string) (*url.URL, error), error) {
	get := func(name string) (string, string) {
		if v := getenv(strings.ToLower(name)); v != "" {
			return strings.ToLower(name), v
		}
		return name, getenv(name)
	}
	name, text := get("HTTPS_PROXY")
	if text == "" {
		name, text = get("ALL_PROXY")
	}
	_, none := get("NO_PROXY")
	if text == "" {
		return func(string) (*url.URL, error) { return nil, nil }, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || viaSchemes[u.Scheme] == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s is not the address of a proxy: give http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before the host if it asks for that", name)
	}
	which := (&httpproxy.Config{HTTPSProxy: text, NoProxy: none}).ProxyFunc()
	return func(addr string) (*url.URL, error) { return which(&url.URL{Scheme: "https", Host: addr}) }, nil
}

// ViaError says that a proxy on the way to P did not lead there.
type ViaError struct {
	Via  string // SCHEME://HOST:PORT of the proxy
	Addr string // of P
	Err  error
}

func (e *ViaError) Error() string {
	return fmt.Sprintf("no way to proxy %s through %s: %v; see HTTPS_PROXY, ALL_PROXY and NO_PROXY", e.Addr, e.Via, e.Err)
}

// Unwrap returns what the proxy or the network said.
func (e *ViaError) Unwrap() error { return e.Err }

// viaAddr is the address of a proxy.
func viaAddr(via *url.URL) string {
	return net.JoinHostPort(via.Hostname(), cmp.Or(via.Port(), viaSchemes[via.Scheme]))
}

// viaText is a proxy for people, without name and password.
func viaText(via *url.URL) string { return via.Scheme + "://" + viaAddr(via) }

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialContext makes dialFunc a proxy.ContextDialer.
func (f dialFunc) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// Dial makes it a proxy.Dialer.
func (f dialFunc) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

// through connects to P by way of a proxy. TLS to P, and what is verified by it, is
// as ever: the proxy sees no token.
func (d *Dialer) through(ctx context.Context, via *url.URL, dial dialFunc) (net.Conn, error) {
	var conn net.Conn
	var err error
	if strings.HasPrefix(via.Scheme, "socks5") {
		conn, err = d.throughSOCKS(ctx, via, dial)
	} else {
		conn, err = d.throughHTTP(ctx, via, dial)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // not what it did to the connection
		}
		return nil, &ViaError{Via: viaText(via), Addr: d.Addr, Err: err}
	}
	return conn, nil
}

// throughSOCKS is RFC 1928, and RFC 1929 for name and password. The proxy looks P's
// name up.
func (d *Dialer) throughSOCKS(ctx context.Context, via *url.URL, dial dialFunc) (net.Conn, error) {
	var auth *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	s, err := proxy.SOCKS5("tcp", viaAddr(via), auth, dial)
	if err != nil {
		return nil, err
	}
	conn, err := s.(proxy.ContextDialer).DialContext(ctx, "tcp", d.Addr)
	if oe, ok := errors.AsType[*net.OpError](err); ok && strings.HasPrefix(oe.Op, "socks") {
		err = oe.Err // the rest is said
	}
	return conn, err
}

// throughHTTP is CONNECT (RFC 9110, 9.3.6).
func (d *Dialer) throughHTTP(ctx context.Context, via *url.URL, dial dialFunc) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", viaAddr(via))
	if err != nil {
		return nil, err
	}
	raw := conn
	// The end of ctx ends whatever is waited for below.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	if via.Scheme == "https" {
		conf := &tls.Config{}
		if d.ViaTLS != nil {
			conf = d.ViaTLS.Clone()
		}
		conf.MinVersion, conf.NextProtos = tls.VersionTLS12, []string{"http/1.1"}
		conf.ServerName = via.Hostname()
		tc := tls.Client(raw, conf)
		if err = tc.HandshakeContext(ctx); err != nil {
			err = fmt.Errorf("TLS to it: %w", err)
		}
		conn = tc
	}
	if err == nil {
		err = d.connect(conn, via)
	}
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// connect asks the proxy at the other end of conn for a way to P.
func (d *Dialer) connect(conn net.Conn, via *url.URL) error {
	req := &http.Request{Method: http.MethodConnect}
	text := "CONNECT " + d.Addr + " HTTP/1.1\r\nHost: " + d.Addr + "\r\n"
	if via.User != nil {
		password, _ := via.User.Password()
		text += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password)) + "\r\n"
	}
	conn.SetDeadline(time.Now().Add(d.timeout()))
	if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
		return err
	}
	limit := &headReader{r: conn, left: maxHead}
	br := bufio.NewReader(limit)
	resp, err := http.ReadResponse(br, req)
	for n := 0; err == nil && resp.StatusCode < 200 && n < maxInterim; n++ {
		resp, err = http.ReadResponse(br, req)
	}
	switch {
	case err != nil && limit.err == io.EOF:
		return errors.New("it ended the connection without an answer")
	case err != nil && limit.err != nil:
		return limit.err
	case err != nil:
		return fmt.Errorf("what it answers is not HTTP: %w", err)
	case resp.StatusCode == http.StatusProxyAuthRequired && via.User == nil:
		return errors.New("it asks for a name and password (407): write them before its host, USER:PASSWORD@")
	case resp.StatusCode == http.StatusProxyAuthRequired && !slices.ContainsFunc(resp.Header["Proxy-Authenticate"], isBasic):
		return errors.New("it asks for another proof than a name and password (407), which c cannot give")
	case resp.StatusCode == http.StatusProxyAuthRequired, resp.StatusCode == http.StatusUnauthorized && via.User != nil: // tinyproxy says 401
		return fmt.Errorf("it does not take this name and password (%d)", resp.StatusCode)
	case resp.StatusCode == http.StatusForbidden:
		return errors.New("it answered 403 Forbidden to CONNECT: it may allow that to port 443 alone, where p with -t takes c, too")
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("it answered %d %s to CONNECT", resp.StatusCode, http.StatusText(resp.StatusCode))
	case br.Buffered() > 0:
		return errors.New("it sends something before it is P's turn")
	}
	return conn.SetDeadline(time.Time{})
}

// isBasic reports whether a challenge is for a name and password (RFC 7617).
func isBasic(challenge string) bool {
	return len(challenge) >= 5 && strings.ToLower(challenge[:5]) == "basic"
}
