package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second

	// serviceIdle is how long an unused connection to the service is kept: less
	// than the 5 s after which many servers close theirs, because a request
	// sent into such a close is lost. A new connection costs little on one machine.
	serviceIdle = 4 * time.Second

	// serviceConns bounds the connections to the service. Requests beyond it
	// wait for one to be free.
	serviceConns = 4096

	// maxServiceHeader bounds the headers of an answer: P takes 64 KiB of them,
	// unless it is told otherwise, and counts a little more for each.
	maxServiceHeader = 60 << 10

	// copySize is the size of the buffers between the service and the visitor.
	copySize = 32 << 10
)

// errNoWebSocket is a service's 101 to something else than a WebSocket.
var errNoWebSocket = errors.New("the service switched to a protocol that was not asked for")

// A service passes requests to a local web service.
//
// The service gets method, path and query as the visitor sent them, the
// visitor's Host (it is what redirects, cookies and the Origin check of a
// WebSocket must fit) and what P says in X-Forwarded-*. Nothing is compressed,
// answered from a cache, or tried again here, but for what net/http's
// Transport does on a kept connection that proves closed.
type service struct {
	// Fixed when it is made.
	target    *url.URL // scheme and host
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	log       *slog.Logger
	buffers   buffers

	// down is set while the service does not take connections, so that it is
	// logged once and not for each request.
	down atomic.Bool
}

// newService makes the service at addr, in the form of [Config.To].
func newService(addr string, log *slog.Logger) (*service, error) {
	target, network, socket, err := parseTarget(addr)
	if err != nil {
		return nil, err
	}
	s := &service{target: target, log: log}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	dial := dialer.DialContext
	if network == "unix" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	s.transport = &http.Transport{
		// No Proxy: the service is the one that was named, whatever the environment says.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			s.noteDial(ctx, err)
			return c, err
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    256,
		MaxConnsPerHost:        serviceConns,
		IdleConnTimeout:        serviceIdle,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxServiceHeader,
		Protocols:              new(http.Protocols),
	}
	s.transport.Protocols.SetHTTP1(true)
	s.transport.Protocols.SetHTTP2(true)
	s.proxy = &httputil.ReverseProxy{
		Rewrite:      func(pr *httputil.ProxyRequest) { s.aim(pr.Out, pr.In) },
		Transport:    s.transport,
		BufferPool:   &s.buffers,
		ErrorHandler: s.fail,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// parseTarget takes the address of a service apart. For network "unix", socket is its path.
func parseTarget(addr string) (target *url.URL, network, socket string, err error) {
	bad := func(why string) (*url.URL, string, string, error) {
		return nil, "", "", fmt.Errorf("--to %q: %s; give http://HOST:PORT, https://HOST:PORT or unix:/PATH", addr, why)
	}
	if rest, ok := strings.CutPrefix(addr, "unix:"); ok {
		if after, ok := strings.CutPrefix(rest, "//"); ok {
			rest = after
		}
		switch {
		case rest == "":
			return bad("no path of a socket")
		case len(rest) > 103:
			// The shortest limit of the systems we know, less the final NUL.
			return bad("the path of a socket has 103 bytes at most")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, "unix", rest, nil
	}
	u, err := url.Parse(addr)
	if err != nil {
		return bad("not a URL")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("not a scheme that can be served")
	case u.Hostname() == "":
		return bad("no host")
	case u.User != nil:
		return bad("a name and password have no place in it")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("no path or query can be in it, because the visitor's are passed on as they are")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, "tcp", "", nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// An answer without a type stays one: nobody else may guess it.
	w.Header()["Content-Type"] = nil
	if isWebSocket(r) {
		s.webSocket(w, r)
		return
	}
	s.proxy.ServeHTTP(w, r)
}

// Close closes the connections to the service that are not in use.
func (s *service) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// aim points out, a copy of the request in without its hop-by-hop headers, at
// the service.
func (s *service) aim(out, in *http.Request) {
	out.URL = &url.URL{
		Scheme: s.target.Scheme,
		Host:   s.target.Host,
		Path:   in.URL.Path, RawPath: in.URL.RawPath,
		RawQuery: in.URL.RawQuery, ForceQuery: in.URL.ForceQuery,
	}
	// The path as the visitor wrote it, where url.URL would write it in
	// another way. It takes an opaque "//" for a host, so that one is left to it.
	raw, _, _ := strings.Cut(in.RequestURI, "?")
	if raw == "*" || strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		out.URL.Opaque = raw
	}
	out.Host = in.Host
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[name]; ok {
			out.Header[name] = v
		}
	}
	// A WebSocket has its own way; ReverseProxy would pass on others.
	out.Header.Del("Connection")
	out.Header.Del("Upgrade")
	if out.Body != nil {
		// The trailers are known only when the body ends, in the request that came in.
		out.Trailer = make(http.Header)
		for name := range in.Trailer {
			out.Trailer[name] = nil
		}
		out.Body = &trailing{ReadCloser: out.Body, in: in, out: out.Trailer}
	}
}

// A trailing is a request's body, at whose end the trailers are passed on.
type trailing struct {
	io.ReadCloser
	in     *http.Request
	out    http.Header
	broken atomic.Bool // the visitor did not send it to its end
}

func (t *trailing) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		for name, values := range t.in.Trailer {
			t.out[name] = values
		}
	} else if err != nil {
		t.broken.Store(true)
	}
	return n, err
}

// noteDial logs that the service went away or came back.
func (s *service) noteDial(ctx context.Context, err error) {
	switch {
	case err == nil:
		if s.down.CompareAndSwap(true, false) {
			s.log.Info("the service takes connections again")
		}
	case ctx.Err() != nil:
		// The visitor left: that says nothing of the service.
	case s.down.CompareAndSwap(false, true):
		s.log.Warn("the service takes no connections", "error", err)
	}
}

// fail answers a request that the service did not. The answer holds no
// address or path of this machine; the log does.
func (s *service) fail(w http.ResponseWriter, r *http.Request, err error) {
	if body, ok := r.Body.(*trailing); r.Context().Err() != nil || ok && body.broken.Load() {
		// The visitor left, or broke off his body: the service did nothing wrong.
		panic(http.ErrAbortHandler)
	}
	s.log.Debug("the service did not answer", "method", r.Method, "path", r.URL.Path, "error", err)
	http.Error(w, "502: "+failure(err), http.StatusBadGateway)
}

// failure tells in words of ours what err means.
func failure(err error) string {
	var (
		timeout net.Error
		badCert *tls.CertificateVerificationError
		notTLS  tls.RecordHeaderError
		dial    *net.OpError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return "the service behind this address is not running"
	case errors.Is(err, errNoWebSocket):
		return errNoWebSocket.Error()
	case errors.As(err, &badCert):
		return "the service behind this address has a certificate that is not trusted"
	case errors.As(err, &notTLS):
		return "the service behind this address does not speak TLS"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the service behind this address took too long to connect"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "the service behind this address cannot be reached"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the service behind this address closed the connection without an answer"
	}
	return "the service behind this address gave no valid answer"
}

// buffers is a httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, copySize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
