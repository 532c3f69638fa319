package originserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/originserver/proxytest"
	"github.com/amahi/spdy-proxy/internal/serve"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// config is what serves p's folder through p.
func config(p *proxytest.Proxy, log *testlog.Buffer) Config {
	return Config{
		Proxies: []string{p.Addr}, Connections: 1,
		TLS: control.ClientTLS{CAFile: p.CAFile}, Tokens: control.TokenSource{File: p.TokenFile},
		Origins: []Origin{{Serve: serve.Config{Root: p.Dir, UploadMax: DefaultUploadMax}}},
		Logger:  slog.New(slog.NewTextHandler(log, nil)),
	}
}

// start runs a C, and returns it with what stops it and waits for its end.
func start(t *testing.T, cfg Config) (s *Server, stop func()) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// Ends when ctx does, in stop.
	go func() { s.Run(ctx, context.Background()); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return s, stop
}

// The threads that a disk holds are the process's, so its origins have the places of calls
// of one, and not those of each other.
func TestOriginsHavePlaces(t *testing.T) {
	cfg := config(proxytest.Start(t), new(testlog.Buffer))
	cfg.Origins = append(cfg.Origins, Origin{Name: "films", Serve: serve.Config{Root: t.TempDir(), UploadMax: 1}})
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	one, other := s.cfg.Origins[0].Serve.Places, s.cfg.Origins[1].Serve.Places
	if one == nil || other == nil || one == other {
		t.Errorf("two origins have the places %p and %p, want one for each", one, other)
	}
	if cfg.Origins[0].Serve.Places != nil {
		t.Error("the caller's Config was changed")
	}
}

// What is served is said at once: whoever waits for the connection can see that it is the
// wrong folder.
func TestSaysWhatItServes(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Origins: []Origin{{Serve: serve.Config{Root: dir}}, {Name: "wiki", Serve: serve.Config{To: "http://localhost:3000"}}}}
	if got, want := cfg.serves(), []string{"@: " + dir, "wiki: http://localhost:3000"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var log testlog.Buffer
	p := proxytest.Start(t)
	cfg = config(p, &log)
	cfg.Proxies = []string{"127.0.0.1:1"} // nobody is there
	_, stop := start(t, cfg)
	stop()
	if want := fmt.Sprintf("serves=%q", "[@: "+p.Dir+"]"); log.Count(want) != 1 {
		t.Errorf("the log\n%s\nwants %s", &log, want)
	}
}

func TestServesAFolder(t *testing.T) {
	p := proxytest.Start(t)
	var log, trace testlog.Buffer
	cfg := config(p, &log)
	cfg.Origins[0].Name = "Films"
	cfg.Version = "1.2.3"
	cfg.Trace = func(line string) { trace.Write([]byte(line + "\n")) }
	_, stop := start(t, cfg)
	r := p.Next(t)
	if r.Name != "films" || !strings.HasSuffix(r.Instance, ".0") {
		t.Errorf("registered as %q, instance %q; want films and the slot 0", r.Name, r.Instance)
	}
	if status, body := proxytest.Get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q, want 200 and the file", status, body)
	}
	stop()
	for _, want := range []string{"c starts", "version=1.2.3", "msg=connected", "msg=disconnected", "c has stopped"} {
		if log.Count(want) != 1 {
			t.Errorf("the log\n%s\nwants %q once", &log, want)
		}
	}
	for _, want := range []string{"spdy 0: recv SYN_STREAM", "spdy 0: send SYN_REPLY", "GOAWAY"} {
		if !strings.Contains(trace.String(), want) {
			t.Errorf("the trace\n%s\nwants %q", &trace, want)
		}
	}
}

// Files with secrets that others may read are said, each once.
func TestSecretsOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has no such modes")
	}
	p := proxytest.Start(t)
	certFile, keyFile := controltest.Write(t, controltest.NewCA(t).Issue(t, "c"), p.Dir, "c")
	for _, file := range []string{p.TokenFile, keyFile} {
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	var log testlog.Buffer
	cfg := config(p, &log)
	cfg.TLS.CertFile, cfg.TLS.KeyFile = certFile, keyFile
	_, stop := start(t, cfg)
	p.Next(t)
	stop()
	if log.Count("level=WARN") != 2 || log.Count("chmod 600 "+p.TokenFile) != 1 || log.Count("chmod 600 "+keyFile) != 1 {
		t.Errorf("the log\n%s\nwants a warning for the token file and one for the key", &log)
	}

	var quiet testlog.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&quiet, nil))
	cfg.Tokens.Value = proxytest.Token
	_, stop = start(t, cfg)
	p.Next(t)
	stop()
	if strings.Contains(quiet.String(), "token file") {
		t.Errorf("with a token of its own, the log\n%s\nspeaks of a file", &quiet)
	}
}

// What cannot be read at a reload stays as it was.
func TestReload(t *testing.T) {
	p := proxytest.Start(t)
	var log testlog.Buffer
	s, stop := start(t, config(p, &log))
	p.Next(t)
	s.Reload()
	if err := os.Remove(p.TokenFile); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	stop()
	if log.Count("token and certificates were read again") != 1 || log.Count("reload failed") != 1 || log.Count(p.TokenFile) != 1 {
		t.Errorf("the log\n%s\nwants a reload, and a failure that names the file", &log)
	}
}

// What a service's certificate is verified against is read again, and does not keep a
// token from being.
func TestReloadReadsTheServicesCA(t *testing.T) {
	p := proxytest.Start(t)
	var log testlog.Buffer
	cfg := config(p, &log)
	ca := controltest.NewCA(t).WriteCA(t, t.TempDir(), "service.pem")
	cfg.Origins[0].Serve = serve.Config{To: "https://localhost:1", ToCA: ca, UploadMax: 1}
	s, stop := start(t, cfg)
	<-p.Registrations
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	stop()
	if log.Count("reload failed, what was read before stays in use") != 1 || log.Count(ca) != 1 || log.Count("were read again") != 0 {
		t.Errorf("the log\n%s\nwants a failure that names the service's CA", &log)
	}
}

// The access log comes last: its disk may hold up who reads a new token.
func TestReloadOpensTheAccessLogLast(t *testing.T) {
	p := proxytest.Start(t)
	var log testlog.Buffer
	cfg := config(p, &log)
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.AccessLog = filepath.Join(folder, "access.log")
	s, stop := start(t, cfg)
	p.Next(t)
	if err := os.Rename(folder, folder+".gone"); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	stop()
	_, after, _ := strings.Cut(log.String(), "token and certificates were read again")
	if !strings.Contains(after, "reload failed") || !strings.Contains(after, cfg.AccessLog) {
		t.Errorf("the log\n%s\nwants a failure of the access log after the token was read", &log)
	}
}

func TestBadConfig(t *testing.T) {
	p := proxytest.Start(t)
	none := filepath.Join(p.Dir, "none")
	for _, test := range []struct {
		what   string
		change func(*Config)
		says   string
	}{
		{"keepalive", func(c *Config) { c.KeepAlive = -1 }, "--keepalive"},
		{"drain", func(c *Config) { c.Drain = -1 }, "--drain"},
		{"connections", func(c *Config) { c.Connections = 0 }, "--connections"},
		{"spread", func(c *Config) { c.Spread = -1 }, "--spread"},
		{"largest upload", func(c *Config) { c.Origins[0].Serve.UploadMax = 0 }, "--upload-max"},
		{"root", func(c *Config) { c.Origins[0].Serve.Root = none }, none},
		{"token", func(c *Config) { c.Tokens.File = none }, none},
		{"CA", func(c *Config) { c.TLS.CAFile = none }, none},
		{"proxy", func(c *Config) { c.Proxies = []string{"localhost"} }, "--proxy"},
		{"no origin", func(c *Config) { c.Origins = nil }, "--root"},
		{"a name twice", func(c *Config) { c.Origins = append(c.Origins, Origin{Name: "@", Serve: c.Origins[0].Serve}) }, `"@"`},
		{"one of several", func(c *Config) {
			c.Origins = append(c.Origins, Origin{Name: "films", Serve: serve.Config{Root: none, UploadMax: 1}})
		}, `origin "films": --root`},
		{"name", func(c *Config) { c.Origins[0].Name = "a_b" }, "--name"},
	} {
		var log testlog.Buffer
		cfg := config(p, &log)
		test.change(&cfg)
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", test.what, err, test.says)
		}
	}
}

// --access-log: a line a request, with what P says of who asked; a file that was moved
// away is begun anew by Reload.
func TestAccessLog(t *testing.T) {
	p := proxytest.Start(t)
	var log testlog.Buffer
	cfg := config(p, &log)
	cfg.AccessLog, cfg.Origins[0].Name = filepath.Join(p.Dir, "access"), "films"
	s, stop := start(t, cfg)
	r := p.Next(t)
	session := (&spdy.Config{}).NewClientSession(r.Conn)
	served := make(chan struct{})
	// Ends with the session, below.
	go func() { session.Serve(); close(served) }()
	ask := func(path string, body io.Reader) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://films.example"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{
			"X-Forwarded-For": {"192.0.2.7, 10.0.0.1"}, "X-Request-Id": {"id1"}, "X-Forwarded-User": {"anna"},
			"User-Agent": {"curl/8"}, "Authorization": {"Bearer secret"},
		}
		resp, err := session.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ask("/hello.txt?q=1", strings.NewReader("12345"))
	ask("/none", nil)
	waitLines(t, cfg.AccessLog, 2)
	if err := os.Rename(cfg.AccessLog, cfg.AccessLog+".old"); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	ask("/after", nil)
	waitLines(t, cfg.AccessLog, 1)
	session.Close()
	<-served
	stop()
	for file, want := range map[string]string{
		cfg.AccessLog + ".old": `^192\.0\.2\.7 - anna \[.*\] "POST /hello\.txt\?q=1 HTTP/1\.1" 200 6 "-" "curl/8" films\.example films [0-9.]+ id1
192\.0\.2\.7 - anna \[.*\] "POST /none HTTP/1\.1" 404 [0-9]+ "-" "curl/8" films\.example films [0-9.]+ id1
$`,
		cfg.AccessLog: `^192\.0\.2\.7 - anna \[.*\] "POST /after HTTP/1\.1" 404 .*\n$`,
	} {
		if b, err := os.ReadFile(file); err != nil || !regexp.MustCompile(want).Match(b) {
			t.Errorf("%s: %v\n%s\nwant\n%s", file, err, b, want)
		}
	}
}

// A WebSocket works with all that looks on, is a line when it ends, and is kept as what
// passed.
func TestLookingAtAWebSocket(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(conn, rw)
	}))
	defer service.Close()
	p := proxytest.Start(t)
	cfg := config(p, new(testlog.Buffer))
	cfg.AccessLog, cfg.Inspect = filepath.Join(p.Dir, "access"), "127.0.0.1:0"
	cfg.Origins[0].Serve = serve.Config{To: service.URL, UploadMax: 1}
	s, _ := start(t, cfg)
	session := (&spdy.Config{}).NewClientSession(p.Next(t).Conn)
	served := make(chan struct{})
	// Ends with the session, below.
	go func() { session.Serve(); close(served) }()
	defer func() { session.Close(); <-served }()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://p/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	resp, err := session.RoundTrip(req)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	conn := resp.Body.(io.ReadWriteCloser)
	io.WriteString(conn, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("the echo is %q, %v", got, err)
	}
	conn.(interface{ CloseWrite() error }).CloseWrite()
	io.Copy(io.Discard, conn)
	conn.Close()
	waitLines(t, cfg.AccessLog, 1)
	if b, err := os.ReadFile(cfg.AccessLog); err != nil || !strings.Contains(string(b), `"GET /socket HTTP/1.1" 101 5 `) {
		t.Errorf("%s, %v", b, err)
	}
	one, err := http.Get("http://" + s.inspectLn.Addr().String() + "/api/requests/1")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Body.Close()
	text, err := io.ReadAll(one.Body)
	if err != nil || strings.Count(string(text), `"body":"hello"`) != 2 || !strings.Contains(string(text), `"status":101,"done":true`) {
		t.Errorf("the inspector has %s, %v", text, err)
	}
}

// waitLines waits until a file has n lines: that of a request is written when its
// handler has returned, and its answer is there before.
func waitLines(t *testing.T, file string, n int) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(time.Minute); ; {
		if b, _ := os.ReadFile(file); bytes.Count(b, []byte("\n")) >= n {
			return
		}
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("%s does not come to %d lines", file, n)
		}
	}
}

// Who asked is whom P names.
func TestVisitor(t *testing.T) {
	for list, want := range map[string]string{
		"":                               "invalid IP invalid IP",
		"192.0.2.7":                      "192.0.2.7 192.0.2.7",
		"unknown":                        "invalid IP invalid IP",
		"192.0.2.7, ::1":                 "192.0.2.7 ::1",
		"6.6.6.6, 192.0.2.7, 10.0.0.1":   "192.0.2.7 10.0.0.1",
		"x, ::ffff:192.0.2.9 , 10.0.0.1": "192.0.2.9 10.0.0.1",
		"192.0.2.7:4711, 10.0.0.1":       "192.0.2.7 10.0.0.1",
	} {
		client, peer := visitor(list)
		if got := fmt.Sprint(client, " ", peer); got != want {
			t.Errorf("%q: got %s, want %s", list, got, want)
		}
	}
}

// What cannot be opened is said at the start.
func TestAccessLogThatCannotBeOpened(t *testing.T) {
	p := proxytest.Start(t)
	cfg := config(p, new(testlog.Buffer))
	cfg.AccessLog = filepath.Join(p.Dir, "none", "access")
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "--access-log") {
		t.Errorf("got %v, want an error that names --access-log", err)
	}
}

// --inspect: a page on this machine with what passes.
func TestInspect(t *testing.T) {
	p := proxytest.Start(t)
	cfg := config(p, new(testlog.Buffer))
	cfg.Inspect = "127.0.0.1:0"
	s, stop := start(t, cfg)
	proxytest.Get(t, p.Next(t), "/hello.txt")
	ask := func(path string) string {
		resp, err := http.Get("http://" + s.inspectLn.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := ask("/api/requests/1"); !strings.Contains(got, `"target":"/hello.txt"`) || !strings.Contains(got, `"body":"hello\n"`) || !strings.Contains(got, "secret-cookie") {
		t.Errorf("got %s", got)
	}
	stop()
	if conn, err := net.Dial("tcp", s.inspectLn.Addr().String()); err == nil {
		conn.Close()
		t.Error("the port is open after the end")
	}
	cfg.Inspect = ""
	if s, _ := start(t, cfg); s.inspector != nil || s.inspectLn != nil {
		t.Error("there is an inspector that nobody asked for")
	}
}

// What others could reach is refused, as what cannot be bound.
func TestInspectIsForThisMachine(t *testing.T) {
	p := proxytest.Start(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "nonsense", "127.0.0.1", taken.Addr().String()} {
		cfg := config(p, new(testlog.Buffer))
		cfg.Inspect = addr
		want := fmt.Sprintf("--inspect %q: ", addr)
		if addr == taken.Addr().String() {
			want = "another program listens there"
		}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", addr, err, want)
		}
	}
}
