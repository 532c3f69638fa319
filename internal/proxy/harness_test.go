package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// patience is how long a test waits for what must happen. Nothing takes as long,
// on a machine with ten times as much to do; it is the difference between a failure
// and a hang.
const patience = time.Minute

// aLongTimeAgo is a deadline that has passed, in a bubble too.
var aLongTimeAgo = time.Unix(1, 0)

// Most of these tests use real sockets: TLS, net/http's server and h2 are what is
// put together here. Those that wait for time to pass, and in which nothing is
// TCP's affair alone, run in bubbles: see everyClientInBubble.

// files are certificates and tokens in a folder of the test's.
type files struct {
	t   *testing.T
	dir string
	ca  *controltest.CA

	network *network // in a bubble; nil: the system's
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{t: t, dir: t.TempDir()}
	f.ca = f.authority("ca.pem")
	f.leaf("p", f.ca, "localhost")
	f.write("token", "good-token *\n")
	return f
}

// dial connects to a P that uses f.
func (f *files) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if f.network != nil {
		return f.network.dial(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func (f *files) write(name, text string) string {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.path(name)
}

// authority makes a CA and writes its certificate.
func (f *files) authority(name string) *controltest.CA {
	f.t.Helper()
	ca := controltest.NewCA(f.t)
	ca.WriteCA(f.t, f.dir, name)
	return ca
}

// leaf writes name.pem and name.key, for a host or for a client.
func (f *files) leaf(name string, ca *controltest.CA, host string) {
	f.t.Helper()
	controltest.Write(f.t, ca.Issue(f.t, host, "127.0.0.1", "::1"), f.dir, name)
}

// roots trusts the test's CA.
func (f *files) roots() *x509.CertPool { return f.ca.Pool() }

// journal keeps log lines, and lets a test wait for one.
type journal struct {
	t    *testing.T
	who  string
	mu   sync.Mutex
	text strings.Builder // guarded by mu
	more chan struct{}   // guarded by mu; closed and replaced at each line
}

func newJournal(t *testing.T, who string) *journal {
	j := &journal{t: t, who: who, more: make(chan struct{})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", who, j.String())
		}
	})
	return j
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	close(j.more)
	j.more = make(chan struct{})
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) count(part string) int {
	j.t.Helper()
	if _, err := strconv.Atoi(part); err == nil {
		j.t.Fatalf("a number, as %s, is in times and ports, too: give words with it", part)
	}
	return strings.Count(j.String(), part)
}

// wait returns when part was logged n times in all.
func (j *journal) wait(part string, n int) {
	j.t.Helper()
	limit := time.After(patience)
	for {
		j.mu.Lock()
		more := j.more
		j.mu.Unlock()
		have := j.count(part)
		if have >= n {
			return
		}
		select {
		case <-more:
		case <-limit:
			j.t.Fatalf("%s logged %q %d times, want %d", j.who, part, have, n)
		}
	}
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// p is a proxy that runs.
type p struct {
	*proxy.Proxy
	t     *testing.T
	files *files
	log   *journal
	cfg   proxy.Config
	admin *http.Client // asks the admin port

	cancel, cancelNow context.CancelFunc
	done              chan struct{} // closed when Run has returned
	err               error         // of Run; read after done
}

// startP runs a P on ports of its own. edit may change its configuration.
func startP(t *testing.T, f *files, edit func(*proxy.Config)) *p {
	t.Helper()
	x := &p{t: t, files: f, log: newJournal(t, "p"), done: make(chan struct{})}
	x.admin = &http.Client{Transport: x.transport(nil, false)}
	x.cfg = proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", Admin: "127.0.0.1:0",
		CertFiles: []string{f.path("p.pem")}, KeyFiles: []string{f.path("p.key")}, Tokens: control.TokenSource{File: f.path("token")},
		// The end that a test waits for is not to be the limit of a response.
		Hold: 10 * time.Second, ResponseTimeout: 10 * patience, KeepAlive: 15 * time.Second, Drain: 10 * time.Second,
		Version: "test", Logger: x.log.logger(),
	}
	if edit != nil {
		edit(&x.cfg)
	}
	var err error
	if x.Proxy, err = proxy.New(x.cfg); err != nil {
		t.Fatal(err)
	}
	if f.network != nil {
		x.ListenOn(f.network.listen(), f.network.listen(), f.network.listen(), f.network.listen())
	} else if err := x.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	now, cancelNow := context.WithCancel(context.Background())
	x.cancel, x.cancelNow = cancel, cancelNow
	go func() { // ends with Run, which stop and the cleanup end and wait for
		defer close(x.done)
		x.err = x.Run(ctx, now)
	}()
	t.Cleanup(func() {
		cancel()
		cancelNow()
		x.wait()
	})
	return x
}

// wait returns when Run has.
func (x *p) wait() {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(patience):
		x.t.Fatal("P did not stop")
	}
}

// url is an address on the front port.
func (x *p) url(path string) string {
	scheme := "http"
	if x.cfg.TLS {
		scheme = "https"
	}
	return scheme + "://" + x.FrontAddr().String() + path
}

// adminGet asks the admin port.
func (x *p) adminGet(path string) (int, string) {
	x.t.Helper()
	res, err := x.admin.Get("http://" + x.AdminAddr().String() + path)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// metric returns the value of a line of /metrics, "" if it is not there.
func (x *p) metric(name string) string {
	x.t.Helper()
	_, text := x.adminGet("/metrics")
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return v
		}
	}
	return ""
}

// c is an origin that runs.
type c struct {
	t    *testing.T
	log  *journal
	wire *wire

	cancel, cancelNow context.CancelFunc
	done              chan struct{} // closed when Run has returned
}

// startC runs a C with handler, and returns when it is connected. edit may
// change its configuration.
func startC(t *testing.T, x *p, handler http.Handler, edit func(*agent.Config)) *c {
	t.Helper()
	y := launchC(t, x, handler, edit)
	y.log.wait("msg=connected", 1)
	return y
}

// launchC is startC that does not wait.
func launchC(t *testing.T, x *p, handler http.Handler, edit func(*agent.Config)) *c {
	t.Helper()
	y := &c{t: t, log: newJournal(t, "c"), wire: &wire{via: x.files.dial}, done: make(chan struct{})}
	cfg := agent.Config{
		Proxies: []string{x.ControlAddr().String()},
		Load: func() (agent.Identity, error) {
			conf, err := control.ClientTLS{CAFile: x.files.path("ca.pem"), ServerName: "localhost"}.Load()
			return agent.Identity{Token: "good-token", TLS: conf}, err
		},
		Handler: handler, Session: spdy.Config{KeepAlive: 15 * time.Second}, Drain: 10 * time.Second,
		Logger: y.log.logger(), DialContext: y.wire.dial,
	}
	if edit != nil {
		edit(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	now, cancelNow := context.WithCancel(context.Background())
	y.cancel, y.cancelNow = cancel, cancelNow
	go func() { // ends with Run, which stop, crash and the cleanup end and wait for
		defer close(y.done)
		a.Run(ctx, now)
	}()
	t.Cleanup(y.crash)
	return y
}

// stop ends C as SIGTERM does, and waits for its end.
func (y *c) stop() {
	y.t.Helper()
	y.cancel()
	y.wait()
}

// crash ends C as kill -9 does: the connections are gone, without a word.
func (y *c) crash() {
	y.t.Helper()
	y.wire.fail(errors.New("the machine is off"))
	y.wire.cut()
	y.cancel()
	y.cancelNow()
	y.wait()
}

func (y *c) wait() {
	y.t.Helper()
	select {
	case <-y.done:
	case <-time.After(patience):
		y.t.Fatal("C did not stop")
	}
}

// waitFor asks again and again, for what no event tells.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(patience)
	for pause := 5 * time.Millisecond; !ok(); pause = min(pause*5/4, 100*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-limit:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// client speaks one protocol to the front port. Each has connections of its
// own.
type client struct {
	name string
	tls  bool // needs -t
	make func(t *testing.T, x *p) http.RoundTripper
}

var clients = []client{
	{"HTTP/1.1", false, func(t *testing.T, x *p) http.RoundTripper { return x.transport(nil, false) }},
	{"HTTP/1.1 over TLS", true, func(t *testing.T, x *p) http.RoundTripper {
		return x.transport(&tls.Config{RootCAs: x.files.roots(), NextProtos: []string{"http/1.1"}}, false)
	}},
	{"h2", true, func(t *testing.T, x *p) http.RoundTripper {
		return x.transport(&tls.Config{RootCAs: x.files.roots()}, true)
	}},
	{"SPDY", true, func(t *testing.T, x *p) http.RoundTripper { return dialSPDY(t, x, "spdy/3.1") }},
}

func transport(t *testing.T, conf *tls.Config, h2 bool) http.RoundTripper {
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: h2, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// transport is one with connections of its own to x.
func (x *p) transport(conf *tls.Config, h2 bool) *http.Transport {
	tr := transport(x.t, conf, h2).(*http.Transport)
	tr.DialContext = x.files.dial
	return tr
}

// dialSPDY opens a SPDY session to the front port.
func dialSPDY(t *testing.T, x *p, alpn string) *spdy.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tcp, err := x.files.dial(ctx, "tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(tcp, &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{alpn}})
	if err := conn.HandshakeContext(ctx); err != nil {
		tcp.Close()
		t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != alpn {
		t.Fatalf("ALPN: got %q, want %q", got, alpn)
	}
	cfg := spdy.Config{MaxPeerFrameSize: 2 << 20}
	if alpn == "spdy/3" {
		cfg.Version = spdy.SPDY3
	}
	s := cfg.NewClientSession(conn)
	done := make(chan struct{})
	go func() { // ends with the session, which the cleanup closes and waits for
		defer close(done)
		s.Serve()
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return s
}

// everyClient runs body once for each protocol, with a P of its own.
func everyClient(t *testing.T, edit func(*proxy.Config), body func(t *testing.T, x *p, rt http.RoundTripper)) {
	for _, cl := range clients {
		t.Run(cl.name, func(t *testing.T) {
			x := startP(t, newFiles(t), func(c *proxy.Config) {
				c.TLS = cl.tls
				if edit != nil {
					edit(c)
				}
			})
			body(t, x, cl.make(t, x))
		})
	}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of RoundTrip, or of reading the body
}

func (a answer) String() string {
	if a.err != nil {
		return fmt.Sprintf("%d, %d bytes, then: %v", a.status, len(a.body), a.err)
	}
	return fmt.Sprintf("%d %.100q", a.status, a.body)
}

// fetch sends a request and reads all of its answer.
func fetch(ctx context.Context, rt http.RoundTripper, method, url string, body io.Reader, edit func(*http.Request)) answer {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{err: err}
	}
	req.Body = moving(ctx, req.Body)
	if edit != nil {
		edit(req)
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := readAll(moving(ctx, res.Body), res.ContentLength)
	return answer{res.StatusCode, res.Header, b, err}
}

// readAll is io.ReadAll of some n bytes, -1 if nobody knows: a film's buffer is not to grow
// from nothing, which costs most under the race detector.
func readAll(r io.Reader, n int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(max(0, n), 32<<20)+bytes.MinRead))
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// get is fetch of a path with GET over a fresh HTTP/1.1 or TLS connection.
func (x *p) get(path string) answer {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var conf *tls.Config
	if x.cfg.TLS {
		conf = &tls.Config{RootCAs: x.files.roots()}
	}
	return fetch(ctx, x.transport(conf, false), "GET", x.url(path), nil, nil)
}

// hello answers every request with its own name, method and path.
func hello(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "%s %s %s %d", name, r.Method, r.URL.RequestURI(), n)
	})
}

func want(t *testing.T, what string, a answer, status int, body string) {
	t.Helper()
	if a.err != nil || a.status != status || !strings.Contains(string(a.body), body) {
		t.Errorf("%s: got %v, want %d with %q", what, a, status, body)
	}
}

// pattern is n bytes in which no part is like another. The race detector is not told of
// each of them: nobody else has them yet, and films are long.
//
//go:norace
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := uint32(0); len(b) < n; i++ {
		b = binary.BigEndian.AppendUint32(b, i)
	}
	return b[:n]
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s: got %d bytes, want %d; the first difference is at %d", what, len(got), len(want), at)
	}
}
