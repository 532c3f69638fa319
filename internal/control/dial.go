package control

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/oneline"
)

const (
	// maxInterim is how many 1xx answers C skips.
	maxInterim = 4
	// maxURLs is how many addresses of its origin C takes from P.
	maxURLs = 16
)

// Dialer is C's end: what it needs for one connection. Addr, TLS and Token are
// needed, the rest may be zero. A Dialer may be used for many calls of Dial, at
// once too.
type Dialer struct {
	Addr     string      // HOST:PORT of P's control port; the host is resolved at each Dial
	Name     string      // of the origin; "" for the default one
	Instance string      // names this connection
	Agent    string      // this program and its version, for P's operator; "": not said
	Token    string      // "" sends none, for a P without authentication
	Again    bool        // P is told that AskAgain is understood
	TLS      *tls.Config // as made by [ClientTLS.Load]

	// Timeout is the time for each of TCP connection, TLS handshake, and
	// request with answer. Zero: 10 s, and twice that for the answer.
	Timeout time.Duration

	// DialContext makes the TCP connection. Nil: a net.Dialer's.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Via returns the proxy by way of which an address is reached, an http, https or
	// socks5 URL, nil for none; see [ViaEnvironment]. Nil: there is none. ViaTLS is
	// for an https one; nil: the system's roots.
	Via    func(addr string) (*url.URL, error)
	ViaTLS *tls.Config

	// Wrap, if set, is put around the TCP connection, below TLS.
	Wrap func(net.Conn) net.Conn
}

// RefusedError says that P answered, and not with 200.
type RefusedError struct {
	Addr       string
	Status     int
	RetryAfter time.Duration // 0: P did not say
	Reason     string        // the first line of what P said, printable; may be ""
	Expired    bool          // with 401: the token is of an invitation that was not used in time
	name       string
}

func (e *RefusedError) Error() string {
	msg := fmt.Sprintf("proxy %s answered %d %s", e.Addr, e.Status, http.StatusText(e.Status))
	if e.Reason != "" {
		msg += " (" + e.Reason + ")"
	}
	if e.Expired {
		return msg
	}
	switch e.Status {
	case http.StatusUnauthorized:
		msg += "; the first token of C's token file, or that of its invitation, must stand in P's"
	case http.StatusForbidden:
		msg += fmt.Sprintf("; add %s to the token's line in P's token file, or choose another name", nameOf(e.name))
	case http.StatusTooManyRequests:
		msg += "; it will be tried again when P says"
	case http.StatusMethodNotAllowed, http.StatusNotFound, http.StatusOK:
		msg += "; is this the control port of a spdy-proxy?"
	}
	return msg
}

// VerifyError says that P's certificate was not accepted. The token was not
// sent.
type VerifyError struct {
	Addr string
	Err  error
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("the certificate of proxy %s is not accepted: %v; see --ca and --server-name, or ask for a new invitation (no token was sent)", e.Addr, e.Err)
}

// Unwrap returns what the verification said.
func (e *VerifyError) Unwrap() error { return e.Err }

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return defaultTimeout
}

// Dial connects to P, verifies it, registers, and returns the connection for
// what comes next. Its error is a *RefusedError, a *VerifyError, ctx's, or one
// of the network's.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	host, _, err := net.SplitHostPort(d.Addr)
	if err != nil {
		return nil, err
	}
	via, err := d.via()
	if err != nil {
		return nil, err
	}
	raw, err := d.connection(ctx, via)
	if err != nil {
		return nil, err
	}
	if d.Wrap != nil {
		raw = d.Wrap(raw)
	}
	// The end of ctx ends whatever is waited for below.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	conn, err := d.handshake(ctx, raw, host)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	if via != nil {
		conn.Via = viaText(via)
	}
	return conn, nil
}

// via returns the proxy by way of which P is reached, nil if there is none.
func (d *Dialer) via() (*url.URL, error) {
	if d.Via == nil {
		return nil, nil
	}
	return d.Via(d.Addr)
}

// connection makes the connection on which P is spoken to.
func (d *Dialer) connection(ctx context.Context, via *url.URL) (net.Conn, error) {
	dial := d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	tuned := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			tuneTCP(conn)
		}
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	if via != nil {
		return d.through(ctx, via, tuned)
	}
	conn, err := tuned(ctx, "tcp", d.Addr)
	if errno.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("proxy %s: %w; does p run there, and is that its control port?", d.Addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", d.Addr, err)
	}
	return conn, nil
}

func (d *Dialer) handshake(ctx context.Context, raw net.Conn, host string) (*Conn, error) {
	tc := tls.Client(raw, d.config(host))
	tlsCtx, cancel := context.WithTimeout(ctx, d.timeout())
	err := tc.HandshakeContext(tlsCtx)
	cancel()
	if err != nil {
		return nil, d.handshakeError(err)
	}

	// P has verified itself: only now may the token leave. P in turn may take
	// its whole time for the head and again for the body.
	tc.SetDeadline(time.Now().Add(2 * d.timeout()))
	req := &http.Request{Method: http.MethodPut}
	if _, err := io.WriteString(tc, d.request()); err != nil {
		return nil, fmt.Errorf("proxy %s: sending the request: %w", d.Addr, err)
	}

	limit := &headReader{r: tc, left: maxHead}
	br := bufio.NewReader(limit)
	resp, err := http.ReadResponse(br, req)
	for n := 0; err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols && n < maxInterim; n++ {
		resp, err = http.ReadResponse(br, req)
	}
	switch {
	case err != nil && limit.err == nil && limit.left <= 0:
		return nil, fmt.Errorf("proxy %s: an answer of more than %d bytes; is this the control port of a spdy-proxy?", d.Addr, maxHead)
	case err != nil && limit.err == io.EOF:
		return nil, fmt.Errorf("proxy %s ended the connection without an answer", d.Addr)
	case err != nil:
		return nil, d.noAnswer(cmp.Or(limit.err, err))
	case resp.StatusCode != http.StatusOK:
		return nil, d.refused(resp)
	case resp.ContentLength < 0 && len(resp.TransferEncoding) == 0:
		// Its body would end with the connection.
		return nil, fmt.Errorf("proxy %s: an answer without a Content-Length; is this the control port of a spdy-proxy?", d.Addr)
	}
	limit.left = 8 * maxBody
	if n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody+1)); err != nil || n > maxBody {
		return nil, fmt.Errorf("proxy %s: an answer whose body is cut short or over %d bytes", d.Addr, maxBody)
	}
	tc.SetDeadline(time.Time{})
	conn := &Conn{Conn: tc, Server: printable(resp.Header.Get(headerServer)), Peers: parsePeers(resp.Header)}
	conn.URLs, conn.Warning = readReach(resp.Header)
	conn.early = earlyIn(br)
	return conn, nil
}

// config returns TLS's configuration for a P at host.
func (d *Dialer) config(host string) *tls.Config {
	cfg := harden(d.TLS)
	cfg.ServerName = cmp.Or(cfg.ServerName, host)
	return cfg
}

// request returns the PUT by which C asks to come in.
func (d *Dialer) request() string {
	var b strings.Builder
	fmt.Fprintf(&b, "PUT /%s HTTP/1.1\r\nHost: %s\r\n", d.Name, d.Addr)
	if d.Token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", d.Token)
	}
	if d.Instance != "" {
		fmt.Fprintf(&b, "%s: %s\r\n", headerInstance, d.Instance)
	}
	if d.Agent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", printable(d.Agent))
	}
	if d.Again {
		fmt.Fprintf(&b, "%s: %s\r\n", headerAgain, again)
	}
	fmt.Fprintf(&b, "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(helloC), helloC)
	return b.String()
}

func (d *Dialer) handshakeError(err error) error {
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &VerifyError{Addr: d.Addr, Err: v.Err}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("proxy %s speaks no TLS there; give its control port, or its front port if that has -t", d.Addr)
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" && alert.Err.Error() == "tls: internal error" {
		return fmt.Errorf("proxy %s: TLS handshake: %w; P has no certificate for this name yet, its log says why", d.Addr, err)
	}
	return fmt.Errorf("proxy %s: TLS handshake: %w", d.Addr, err)
}

func (d *Dialer) noAnswer(err error) error {
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		// In TLS 1.3 P judges C's certificate when C's handshake is over.
		return fmt.Errorf("proxy %s ended TLS: %w; a proxy with --client-ca wants --client-cert and --client-key of c", d.Addr, err)
	}
	return fmt.Errorf("proxy %s: no answer: %w", d.Addr, err)
}

// readReach returns where visitors reach the origin, and why they do not, as P tells.
func readReach(h http.Header) (urls []string, warning string) {
	for _, text := range h[headerURL] {
		if u, err := url.Parse(text); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(urls) < maxURLs {
			urls = append(urls, u.String())
		}
	}
	return urls, printable(h.Get(headerWarning))
}

func (d *Dialer) refused(resp *http.Response) error {
	e := &RefusedError{Addr: d.Addr, Status: resp.StatusCode, name: d.Name}
	e.Expired = e.Status == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == challengeExpired
	// Best effort: the status says what to do, the text is for a person.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	line, _, _ := strings.Cut(string(text), "\n")
	e.Reason = printable(line)
	if v := resp.Header.Get("Retry-After"); v != "" {
		if n, err := strconv.ParseUint(v, 10, 31); err == nil {
			e.RetryAfter = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(v); err == nil {
			e.RetryAfter = max(0, time.Until(at))
		}
	}
	return e
}

// printable makes text of a peer fit for a log line.
func printable(s string) string { return oneline.Clean(s[:min(len(s), 200)]) }
