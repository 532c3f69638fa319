package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

const (
	dialTimeout = 5 * time.Second

	// serviceIdle is how long an unused connection to the service is kept: less
	// than the 5 s after which many servers close theirs, because a request
	// sent into such a close is lost. A new connection costs little on one machine.
	serviceIdle = 4 * time.Second

	// maxServiceIdle is how many of those are kept, and beside them how many connections
	// go on being made whose requests have ended.
	maxServiceIdle = 256

	// maxServiceHeader bounds in bytes the headers of an answer: a frame with
	// them may have 128 KiB. P has limits of its own, and says so.
	maxServiceHeader = 120 << 10

	// readServiceHeader is how much of a head is read to say so.
	readServiceHeader = 256 << 10

	// maxServiceLines bounds their number: P takes 512.
	maxServiceLines = 500

	// awayPause is the least time between two lines that say that the service
	// takes no connections.
	awayPause = 10 * time.Second

	// copySize is the size of the buffers between the service and the visitor, and
	// restSize that of one for a direction in which little or nothing is said.
	copySize = 32 << 10
	restSize = 4 << 10
)

// A service passes requests to a local web service.
//
// The service gets method, path and query as the visitor sent them, the
// visitor's Host (it is what redirects, cookies and the Origin check of a
// WebSocket must fit) unless Config.ToHost says another, and what P says in
// X-Forwarded-*. Nothing is compressed,
// answered from a cache, or tried again here, but for what net/http's
// Transport does on a kept connection that proves closed.
//
// What a request causes ends with its context, which ends with its visitor.
type service struct {
	// Fixed when it is made.
	target    *url.URL // scheme and host
	host      string   // that the service gets; "": the visitor's
	to, ca    string   // Config.To and ToCA
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	transport *http.Transport
	log       *slog.Logger
	buffers   buffers

	limit *loglimit.Logger // for what any number of requests can cause

	roots   atomic.Pointer[x509.CertPool] // of ca, as it was read last; nil: the system's
	orphans atomic.Int64                  // connections being made for requests that have ended

	mu sync.Mutex
	// Guarded by mu.
	away   bool      // it takes no connections, and that was logged
	awayAt time.Time // when it was logged last
}

// newService makes the service of [Config.To].
func newService(cfg Config, limit *loglimit.Logger) (*service, error) {
	target, network, socket, err := parseTarget(cfg.To)
	if err != nil {
		return nil, err
	}
	s := &service{target: target, to: cfg.To, ca: cfg.ToCA, log: cfg.Logger, limit: limit}
	secure, err := s.particular(cfg)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		// A machine that is gone is noticed within half a minute, on a silent WebSocket too.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	s.dial = dialer.DialContext
	if network == "unix" {
		s.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	s.transport = &http.Transport{
		// No Proxy: the service is the one that was named, whatever the environment says.
		// No MaxConnsPerHost: requests would wait for one in no order of visitors. P
		// shares out the streams that C takes, and each has one connection at most;
		// twice maxServiceIdle are there beside.
		DialContext:            s.dialPlain,
		DialTLSContext:         s.dialTLS,
		TLSClientConfig:        secure,
		DisableCompression:     true,
		MaxIdleConns:           maxServiceIdle,
		MaxIdleConnsPerHost:    maxServiceIdle,
		IdleConnTimeout:        serviceIdle,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: readServiceHeader,
		Protocols:              new(http.Protocols),
	}
	s.transport.Protocols.SetHTTP1(true)
	s.transport.Protocols.SetHTTP2(true)
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
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	webSocket := isWebSocket(r)
	out := s.outgoing(context.WithValue(ctx, askingKey{}, asking{ctx, webSocket}), r, webSocket)
	if out.Body != nil {
		// The Transport may read on after an early answer, until this.
		defer out.Body.Close()
	}
	resp, err := s.transport.RoundTrip(out)
	if err == nil {
		defer resp.Body.Close()
		if err = checkAnswer(resp, webSocket); err != nil {
			cancel() // closes the connection: who knows where on it the next answer begins
		}
	}
	switch {
	case err != nil:
		s.fail(w, r, out, err)
	case resp.StatusCode == http.StatusSwitchingProtocols:
		s.switchProtocols(w, r, resp)
	default:
		s.mendLocation(resp.Header, r)
		refused := s.lookForHost(r, resp)
		s.pass(w, r, resp)
		refused()
	}
}

// Close closes the connections to the service that are not in use.
func (s *service) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// outgoing makes the request to the service of the visitor's, which is not
// changed. Their headers share their values.
func (s *service) outgoing(ctx context.Context, in *http.Request, webSocket bool) *http.Request {
	out := &http.Request{
		Method: in.Method,
		URL: &url.URL{
			Scheme: s.target.Scheme,
			Host:   s.target.Host,
			Path:   in.URL.Path, RawPath: in.URL.RawPath,
			RawQuery: in.URL.RawQuery, ForceQuery: in.URL.ForceQuery,
		},
		Host:   cmp.Or(s.host, in.Host),
		Header: make(http.Header, len(in.Header)+2),
	}
	// The path as the visitor wrote it, where url.URL would write it in
	// another way. It takes an opaque "//" for a host, so that one is left to it.
	raw, _, _ := strings.Cut(in.RequestURI, "?")
	if raw == "*" || strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		out.URL.Opaque = raw
	}
	for name, values := range httpfield.EndToEnd(in.Header) {
		out.Header[spelling(name)] = values
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[name]; ok {
			out.Header[name] = v // P's own, whatever Connection names
		}
	}
	if _, ok := in.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // absent stays absent
	}
	switch {
	case webSocket:
		// The body is not one yet: after the 101 it is what the visitor says.
		out.Header["Connection"] = []string{"Upgrade"}
		out.Header["Upgrade"] = []string{"websocket"}
		return out.WithContext(ctx)
	case httpfield.HasToken(in.Header["Te"], "trailers"):
		out.Header["TE"] = []string{"trailers"} // they are passed on
		if s.target.Scheme == "http" {
			// RFC 9110, 10.1.4. Over TLS it may become HTTP/2, which forbids it.
			out.Header["Connection"] = []string{"TE"}
		}
	}
	if in.Body != nil && in.Body != http.NoBody && in.ContentLength != 0 {
		// The trailers are known only when the body ends, in the request that came in.
		out.Trailer = make(http.Header)
		for name := range httpfield.Trailers(in.Header, in.Trailer) {
			out.Trailer[name] = nil
		}
		out.Body = &trailing{ReadCloser: in.Body, in: in, out: out.Trailer}
		out.ContentLength = in.ContentLength
	}
	return out.WithContext(ctx)
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
		for name, values := range httpfield.Trailers(t.in.Header, t.in.Trailer) {
			t.out[name] = values
		}
	} else if err != nil {
		t.broken.Store(true)
	}
	return n, err
}

// dialError is err, or what kept the name from being looked up: of that the
// resolver returns no more than the text.
func dialError(err error) error {
	if !errors.As(err, new(*net.DNSError)) {
		return err
	}
	f, none := os.Open(os.DevNull)
	if none == nil {
		f.Close()
	} else if status(none) == http.StatusServiceUnavailable {
		return none
	}
	return err
}

// noteDial logs that the service went away or came back.
func (s *service) noteDial(ctx context.Context, err error) {
	if err != nil && (ctx.Err() != nil || status(err) == http.StatusServiceUnavailable) {
		return // the visitor left, or nothing can be opened here: that says nothing of the service
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.away:
		s.away = false
		s.log.Info("the service takes connections again")
	case err != nil && !s.away && (s.awayAt.IsZero() || time.Since(s.awayAt) >= awayPause):
		// One that takes some and refuses others would fill the log.
		s.away, s.awayAt = true, time.Now()
		s.log.Warn("the service takes no connections", "error", err)
	}
}

// fail answers the request r, which the service got as out and did not answer.
// The answer holds no address or path of this machine; the log does.
func (s *service) fail(w http.ResponseWriter, r, out *http.Request, err error) {
	if body, ok := out.Body.(*trailing); r.Context().Err() != nil || ok && body.broken.Load() {
		// The visitor left, or broke off his body: the service did nothing wrong.
		panic(http.ErrAbortHandler)
	}
	f := failureOf(err)
	if f.log {
		s.limit.Log("failed", slog.LevelWarn, "the service gave no answer that can be passed on",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("error", shortened(err)))
	}
	code := http.StatusBadGateway
	switch {
	case f.untrusted:
		s.limit.Log("untrusted", slog.LevelWarn, "the service was not asked: "+s.mendCertificate(err), slog.String("error", shortened(err)))
	case f.busy:
		noDescriptors(s.limit, r.URL.Path, err)
		w.Header().Set("Retry-After", "1")
		code = http.StatusServiceUnavailable
	}
	http.Error(w, fmt.Sprintf("%d: %s", code, f.text), code)
}

// shortened is the text of err, which may hold all that a service said.
func shortened(err error) string {
	const most = 300
	s := err.Error()
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}

// A failure is why the service did not answer.
type failure struct {
	text      string // for the visitor
	absent    bool   // nobody listens there
	plain     bool   // it does not speak TLS
	untrusted bool   // its certificate is not trusted
	busy      bool   // too many files are open here
	log       bool   // it is to be logged as an answer that was none; other ways are logged elsewhere
}

// failureOf tells what err means.
func failureOf(err error) failure {
	var (
		bad     *answerError
		timeout net.Error
		badCert *tls.CertificateVerificationError
		notTLS  tls.RecordHeaderError
		dial    *net.OpError
	)
	const it = "the service behind this address "
	switch {
	case errors.As(err, &bad):
		return failure{text: it + "gave no valid answer: " + bad.what, log: true}
	case status(err) == http.StatusServiceUnavailable:
		return failure{text: "too many connections are open; try again soon", busy: true}
	case errno.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return failure{text: it + "is not running", absent: true}
	case errors.As(err, &badCert):
		return failure{text: it + "has a certificate that is not trusted", untrusted: true}
	case errors.As(err, &notTLS):
		return failure{text: it + "does not speak TLS", plain: true, log: true}
	case errors.Is(err, os.ErrDeadlineExceeded), errno.Is(err, syscall.ETIMEDOUT), errors.As(err, &timeout) && timeout.Timeout():
		return failure{text: it + "took too long to connect"}
	case errors.As(err, &dial) && dial.Op == "dial":
		return failure{text: it + "cannot be reached"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errno.Is(err, syscall.ECONNRESET), errno.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed): // by the Transport, where it could not write and then reads
		return failure{text: it + "closed the connection without an answer", log: true}
	}
	return failure{text: it + "gave no valid answer", log: true}
}

// buffers are those of the directions in which something is copied.
type buffers struct {
	rest, large sync.Pool // of *[]byte
}

func bufferOf(p *sync.Pool, size int) *[]byte {
	if buf, ok := p.Get().(*[]byte); ok {
		return buf
	}
	return new(make([]byte, size))
}

// copy copies until from ends. Only what fills a small buffer gets a large one:
// there may be as many that say nothing as there are requests.
func (b *buffers) copy(to io.Writer, from io.Reader) error {
	rest := bufferOf(&b.rest, restSize)
	defer b.rest.Put(rest)
	var large *[]byte
	for {
		buf := rest
		if large != nil {
			buf = large
		}
		n, err := from.Read(*buf)
		if n > 0 {
			if _, err := to.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case large == nil && n == restSize:
			large = bufferOf(&b.large, copySize)
		case large != nil && n < restSize:
			b.large.Put(large)
			large = nil
		}
	}
}
