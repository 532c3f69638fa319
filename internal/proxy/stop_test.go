package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// blocking answers "/open" only when it is let go, and "/stream" with a first
// part before that.
func blocking() (h http.Handler, arrived chan struct{}, release chan struct{}) {
	arrived, release = make(chan struct{}, 16), make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.Write([]byte("first "))
			http.NewResponseController(w).Flush()
			fallthrough
		case "/open":
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		hello("c").ServeHTTP(w, r)
	}), arrived, release
}

// SIGTERM: /readyz 503 first, no new connections, open requests finish within
// --drain, GOAWAY to the origins, and the admin port is the last.
func TestStop(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, release := blocking()
		startC(t, x, h, nil)
		want(t, "before", fetch(deadline(t), rt, "GET", x.url("/"), nil, nil), 200, "c GET /")
		if status, _ := x.adminGet("/readyz"); status != 200 {
			t.Errorf("/readyz before: got %d, want 200", status)
		}
		open := async(deadline(t), rt, "GET", x.url("/open"), nil)
		stream := async(deadline(t), rt, "GET", x.url("/stream"), nil)
		<-arrived
		<-arrived

		x.cancel()
		waitFor(t, "/readyz 503", func() bool { s, _ := x.adminGet("/readyz"); return s == 503 })
		if s, _ := x.adminGet("/healthz"); s != 200 {
			t.Errorf("/healthz while stopping: got %d, want 200", s)
		}
		waitFor(t, "the front port refuses connections", func() bool {
			conn, err := net.Dial("tcp", x.FrontAddr().String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		// 503 at the control port: P is stopping.
		_, err := dialer(t, x, "", "other.0", "good-token").Dial(deadline(t))
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("a C that registers while P stops: got %v, want 503", err)
		}
		if x.log.count("origin disconnected") != 0 {
			t.Error("C's session ended before its requests did")
		}
		close(release)
		want(t, "an open request", <-open, 200, "c GET /open")
		want(t, "an open response", <-stream, 200, "first c GET /stream")
		x.wait()
		if x.err != nil {
			t.Errorf("Run: got %v, want nil", x.err)
		}
		if strings.Count(x.log.String(), "origin disconnected") != 1 || strings.Contains(x.log.String(), "reason=") {
			t.Error("C's session did not end in good order")
		}
		if _, err := net.Dial("tcp", x.AdminAddr().String()); err == nil {
			t.Error("the admin port still answers")
		}
	})
}

// 503, Retry-After: P is stopping, for who asks on a connection that is open,
// and for who waits for an origin.
func TestStopping503(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	startC(t, x, hello("gone"), nil).stop()
	rt := clients[2].make(t, x) // h2: one connection for all
	heldGet := async(deadline(t), rt, "GET", x.url("/held"), nil)
	waitFor(t, "a held request", held(x, 1))
	x.cancel()
	a := <-heldGet
	want(t, "a held request", a, 503, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	x.wait()
}

// What has not finished within --drain is cut off, and looks it.
func TestDrainEnds(t *testing.T) {
	everyClientInBubble(t, func(c *proxy.Config) { c.Drain = 300 * time.Millisecond }, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, _ := blocking()
		startC(t, x, h, func(c *agent.Config) { c.Drain = 0 })
		stream := async(deadline(t), rt, "GET", x.url("/stream"), nil)
		<-arrived
		start := time.Now()
		x.cancel()
		if a := <-stream; a.err == nil {
			t.Errorf("got %v, want a broken answer", a)
		}
		x.wait()
		if d := time.Since(start); d < 300*time.Millisecond || d > 5*time.Second {
			t.Errorf("P took %v to stop, want its drain of 300ms, and some", d)
		}
	})
}

// A second signal stops at once.
func TestSecondSignal(t *testing.T) {
	everyClient(t, func(c *proxy.Config) { c.Drain = time.Hour }, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, _ := blocking()
		startC(t, x, h, nil)
		open := async(deadline(t), rt, "POST", x.url("/open"), strings.NewReader("body"))
		<-arrived
		x.cancel()
		x.log.wait("p is stopping, open requests finish", 1)
		start := time.Now()
		x.cancelNow()
		if a := <-open; a.err == nil && a.status < 500 {
			t.Errorf("got %v, want a failure", a)
		}
		x.wait()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("P took %v after the second signal", d)
		}
	})
}

// A port that fails ends P, with an error.
func TestPortFails(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	x.log.wait("p listens", 1)
	x.CloseFront()
	x.wait()
	if x.err == nil || !strings.Contains(x.err.Error(), "front port failed") {
		t.Errorf("Run: got %v, want the front port's failure", x.err)
	}
}

// shownSerial is the serial number of the certificate that the front port shows;
// the control port must show the same.
func shownSerial(t *testing.T, x *p) string {
	t.Helper()
	serials := map[string]bool{}
	last := ""
	for _, addr := range []net.Addr{x.FrontAddr(), x.ControlAddr()} {
		conn, err := tls.Dial("tcp", addr.String(), &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		last = conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
		serials[last] = true
		conn.Close()
	}
	if len(serials) != 1 {
		t.Error("the ports show different certificates")
	}
	return last
}

// SIGHUP: certificates, tokens and htpasswd are read again, without dropping a
// connection, except those whose credential is gone.
func TestReload(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token *\nfilm-token film\n")
	f.write("users", "ann:"+hash(t, "old")+"\n")
	x := startP(t, f, func(c *proxy.Config) { c.TLS, c.Htpasswd = true, f.path("users") })
	h, arrived, release := blocking()
	stays := startC(t, x, h, nil)
	identity := func(token string) func(*agent.Config) {
		return func(c *agent.Config) {
			c.Name = "film"
			c.Load = func() (agent.Identity, error) {
				conf, err := control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost"}.Load()
				return agent.Identity{Token: token, TLS: conf}, err
			}
		}
	}
	gone := startC(t, x, hello("film"), identity("film-token"))
	rt := clients[1].make(t, x)
	login := func(password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("ann", password) }
	}
	open := make(chan answer, 1)
	go func() { // ends with the answer
		open <- fetch(deadline(t), rt, "GET", x.url("/open"), nil, login("old"))
	}()
	<-arrived
	serial := func() string { return shownSerial(t, x) }
	before := serial()

	f.leaf("p", f.ca, "localhost")
	f.write("token", "good-token *\nfilm-token other-name\n")
	f.write("users", "ann:"+hash(t, "new")+"\n")
	x.Reload()
	x.log.wait("read again", 1)

	if after := serial(); after == before {
		t.Error("the old certificate is still shown")
	}
	x.log.wait("its credential is gone", 1)
	gone.log.wait("403", 1)
	want(t, "the old password", fetch(deadline(t), rt, "GET", x.url("/"), nil, login("old")), 401, "")
	want(t, "the new password", fetch(deadline(t), rt, "GET", x.url("/"), nil, login("new")), 200, "c GET /")
	close(release)
	want(t, "a request that was open", <-open, 200, "c GET /open")
	if n := stays.wire.dials(); n != 1 {
		t.Errorf("the C whose token stays dialled %d times, want once", n)
	}

	// A broken file keeps the old, with one clear line.
	for _, name := range []string{"p.pem", "p.key", "token", "users"} {
		good, err := os.ReadFile(f.path(name))
		if err != nil {
			t.Fatal(err)
		}
		lines := x.log.count("reload failed")
		f.write(name, "broken\n")
		x.Reload()
		if n := x.log.count("reload failed") - lines; n != 1 {
			t.Errorf("%s: %d lines, want one", name, n)
		}
		if !strings.Contains(x.log.String(), f.path(name)) {
			t.Errorf("%s: the line does not name the file", name)
		}
		want(t, "with a broken "+name, fetch(deadline(t), rt, "GET", x.url("/"), nil, login("new")), 200, "c GET /")
		serial()
		f.write(name, string(good))
	}
	x.Reload()
	x.log.wait("read again", 2)
	if gone, lost := x.log.count("its credential is gone"), x.log.count("origin disconnected"); gone != 1 || lost != 0 {
		t.Errorf("%d sessions ended for their credential and %d else, want one and none", gone, lost)
	}
	// A token that is gone altogether.
	f.write("token", "another-token *\n")
	x.Reload()
	x.log.wait("its credential is gone", 2)
	stays.log.wait("401", 1)
}

// Files with secrets that others may read are said, each once, at the start and
// when they are read again.
func TestSecretsOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has no such modes")
	}
	f := newFiles(t)
	f.write("users", "ann:"+hash(t, "x")+"\n")
	open := func(c *proxy.Config) { c.Htpasswd = f.path("users") }
	if x := startP(t, f, open); x.log.count("open to others") != 0 {
		t.Error("a warning of files of mode 0600")
	}
	for _, name := range []string{"token", "p.key", "p.pem", "users"} {
		if err := os.Chmod(f.path(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := startP(t, f, open)
	for times := 1; times < 3; times++ {
		if n := x.log.count("level=WARN"); n != 3*times {
			t.Errorf("%d warnings, want %d", n, 3*times)
		}
		for _, name := range []string{"token", "p.key", "users"} {
			if n := x.log.count("chmod 600 " + f.path(name)); n != times {
				t.Errorf("%s was said %d times, want %d", name, n, times)
			}
		}
		x.Reload()
	}
	if x := startP(t, f, func(c *proxy.Config) { c.NoAuth = true }); x.log.count("open to others") != 1 {
		t.Error("with --no-auth: want a warning of the key alone")
	}
}

// A reload in the middle of a C's handshake, after its token was looked at, must
// not leave a session whose credential is gone.
func TestReloadDuringHandshake(t *testing.T) {
	f := newFiles(t)
	x := startP(t, f, nil)
	conn, err := tls.Dial("tcp", x.ControlAddr().String(), &tls.Config{RootCAs: f.roots(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	status := func(want string) {
		t.Helper()
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Fatalf("got %q, %v, want %s", line, err, want)
		}
	}
	io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer good-token\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	// The token was good.
	status("100")
	r.ReadString('\n')

	f.write("token", "another-token *\n")
	x.Reload()
	x.log.wait("read again", 1)
	io.WriteString(conn, "Hello")
	status("200")
	x.log.wait("its credential is gone", 1)
	if _, err := io.Copy(io.Discard, r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want the connection closed", err)
	}
	if status, _ := x.adminGet("/readyz?origin=@"); status != 503 {
		t.Errorf("/readyz?origin=@: got %d, want 503", status)
	}
}

// The status page shows what goes on.
func TestAdminPort(t *testing.T) {
	f := newFiles(t)
	x := startP(t, f, nil)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "No origin is connected"}, {"/readyz", 200, "ready"}, {"/readyz?origin=@", 503, "not connected"}, {"/readyz?origin=film", 503, "film"},
		{"/readyz?origin=-bad-", 503, "bad"}, {"/debug", 200, "incoming: 0\nserving: 0\n"}, {"/debug/pprof/", 404, ""}, {"/debug/pprof/cmdline", 404, ""},
		{"/healthz", 200, "ok"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s with no origin: got %d %.200q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	h, arrived, release := blocking()
	startC(t, x, h, nil)
	startC(t, x, h, func(c *agent.Config) { c.Name = "Film" })
	rt := transport(t, nil, false)
	open := async(deadline(t), rt, "GET", x.url("/open"), nil)
	<-arrived
	want(t, "POST", fetch(deadline(t), rt, "POST", x.url("/"), bytes.NewReader(pattern(5000)), nil), 200, "5000")
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "Default origin (@)"}, {"/", 200, "Origin film"}, {"/readyz?origin=@", 200, "ready"}, {"/readyz?origin=FILM", 200, "ready"},
		{"/debug", 200, "incoming: 1\nserving: 1\n"},
		{"/metrics", 200, "spdy_proxy_origins 2\n"}, {"/metrics", 200, `spdy_proxy_requests_total{class="2xx",origin="@"} 1` + "\n"},
		{"/metrics", 200, `spdy_proxy_body_bytes_total{direction="to_origin"} 5000` + "\n"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %.2000q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	close(release)
	<-open
	// No DNS rebinding.
	a := fetch(deadline(t), rt, "GET", "http://"+x.AdminAddr().String()+"/", nil, asked("evil.example:1445"))
	want(t, "another name", a, 403, "")
}

// With --admin= there is no admin port; with --pprof there are profiles.
func TestAdminOptions(t *testing.T) {
	f := newFiles(t)
	if x := startP(t, f, func(c *proxy.Config) { c.Admin = "" }); x.AdminAddr() != nil {
		t.Errorf("AdminAddr: got %v, want none", x.AdminAddr())
	}
	x := startP(t, f, func(c *proxy.Config) { c.PProf = true })
	if status, text := x.adminGet("/debug/pprof/"); status != 200 || !strings.Contains(text, "goroutine") {
		t.Errorf("/debug/pprof/: got %d %q, want the profiles", status, text)
	}
	if status, _ := x.adminGet("/debug/pprof/cmdline"); status != 404 {
		t.Errorf("/debug/pprof/cmdline: got %d, want 404", status)
	}
}

// A bad flag, file or address is said in one line that says what would mend it.
func TestConfigErrors(t *testing.T) {
	f := newFiles(t)
	f.write("bad-token", "token-without-a-name\n")
	f.write("bad.pem", "no certificate\n")
	good := proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFile: f.path("p.pem"), KeyFile: f.path("p.key"),
		Tokens: control.TokenSource{File: f.path("token")},
	}
	for _, c := range []struct {
		name string
		edit func(*proxy.Config)
		want string
	}{
		{"front without a port", func(c *proxy.Config) { c.Front = "localhost" }, `--front "localhost"`},
		{"front with a bad port", func(c *proxy.Config) { c.Front = "localhost:99999" }, `--front "localhost:99999"`},
		{"no control", func(c *proxy.Config) { c.Control = "" }, `--control ""`},
		{"bad admin", func(c *proxy.Config) { c.Admin = "::1:80" }, `--admin "::1:80"`},
		{"negative hold", func(c *proxy.Config) { c.Hold = -1 }, "--hold"},
		{"negative drain", func(c *proxy.Config) { c.Drain = -1 }, "--drain"},
		{"no header bytes", func(c *proxy.Config) { c.MaxHeaderBytes = 10 }, "--max-header-bytes 10"},
		{"more header bytes than a C takes", func(c *proxy.Config) { c.MaxHeaderBytes = 1<<20 + 1 }, "--max-header-bytes 1048577"},
		{"an ALPN that is not spoken", func(c *proxy.Config) { c.ALPN = []string{"h3"} }, `--alpn: "h3"`},
		{"an ALPN twice", func(c *proxy.Config) { c.ALPN = []string{"h2", "h2"} }, "--alpn"},
		{"an empty ALPN", func(c *proxy.Config) { c.ALPN = []string{} }, "--alpn"},
		{"--no-auth on every address", func(c *proxy.Config) { c.NoAuth, c.Control = true, ":1444" }, "--no-auth"},
		{"--no-auth on a name", func(c *proxy.Config) { c.NoAuth, c.Control = true, "example.org:1444" }, "--no-auth"},
		{"a missing certificate", func(c *proxy.Config) { c.CertFile = f.path("missing.pem") }, "make"},
		{"a bad certificate", func(c *proxy.Config) { c.CertFile = f.path("bad.pem") }, f.path("bad.pem")},
		{"a bad client CA", func(c *proxy.Config) { c.ClientCAFile = f.path("bad.pem") }, f.path("bad.pem")},
		{"a missing token file", func(c *proxy.Config) { c.Tokens.File = f.path("missing") }, "make"},
		{"a token without a name", func(c *proxy.Config) { c.Tokens.File = f.path("bad-token") }, "line 1"},
		{"a missing htpasswd", func(c *proxy.Config) { c.Htpasswd = f.path("missing") }, f.path("missing")},
		{"a bad domain", func(c *proxy.Config) { c.Domain = "a b" }, "domain"},
		{"a bad network", func(c *proxy.Config) { c.TrustedProxies = []string{"10.0.0.0/33"} }, "--trusted-proxy"},
		{"an access log in no folder", func(c *proxy.Config) { c.AccessLog = f.path("missing/log") }, "--access-log"},
	} {
		cfg := good
		c.edit(&cfg)
		_, err := proxy.New(cfg)
		if _, ok := err.(*proxy.ConfigError); !ok || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a *ConfigError of one line with %q", c.name, err, c.want)
		} else if strings.Contains(err.Error(), "token-without-a-name") {
			t.Errorf("%s: the token is in the error: %v", c.name, err)
		}
	}
	if _, err := proxy.New(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	cfg := good
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg.Front = ln.Addr().String()
	x, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Listen(); err == nil || !strings.Contains(err.Error(), "another program listens there") {
		t.Errorf("a port in use: got %v", err)
	}
}
