package serve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/interop"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/serve"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// particular serves cfg's service, and returns a session to it and what C logs.
func particular(t *testing.T, cfg serve.Config) (*spdy.Session, *testlog.Buffer) {
	t.Helper()
	log := new(testlog.Buffer)
	cfg.Logger = log.Logger(slog.LevelInfo)
	return visit(t, open(t, cfg)), log
}

// ask gets a path under the visitors' host.
func ask(t *testing.T, s *spdy.Session, host, path string) (*http.Response, string) {
	t.Helper()
	return askBehind(t, s, host, host, path)
}

// askBehind is ask where a proxy is between that gives P another host.
func askBehind(t *testing.T, s *spdy.Session, inner, host, path string) (*http.Response, string) {
	t.Helper()
	r := request(t.Context(), "GET", path, nil)
	r.Host = inner
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", host)
	resp, body, err := do(t, s, r)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestToHost(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", strings.ReplaceAll(to, "HOST", r.Host))
			w.WriteHeader(http.StatusFound)
			return
		}
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X-Forwarded-Host"))
	}))
	t.Cleanup(srv.Close)
	own := strings.TrimPrefix(srv.URL, "http://")
	for given, want := range map[string]string{"": "photos.example.org", "-": own, "wiki.home:8080": "wiki.home:8080", "[::1]:80": "[::1]:80"} {
		s, _ := particular(t, serve.Config{To: srv.URL, ToHost: given})
		if _, body := ask(t, s, "photos.example.org", "/"); body != want+" photos.example.org" {
			t.Errorf("--to-host %q: the service gets %q, want the host %q", given, body, want)
		}
		// A redirect that it makes of its host leads to that of the visitor.
		mended := "https://photos.example.org"
		if given == "" {
			mended = "http://photos.example.org"
		}
		for to, location := range map[string]string{
			"http://HOST/login?x=1": mended + "/login?x=1", "http://HOST": mended, "/login": "/login",
			"http://other.example/HOST": "http://other.example/" + want, "http://HOST.example/": "http://" + want + ".example/",
		} {
			if resp, _ := ask(t, s, "photos.example.org", "/?to="+to); resp.Header.Get("Location") != location {
				t.Errorf("--to-host %q: Location %q became %q, want %q", given, to, resp.Header.Get("Location"), location)
			}
			if given == "" {
				continue
			}
			for _, inner := range []string{"p.inner", want} {
				if resp, _ := askBehind(t, s, inner, "photos.example.org", "/?to="+to); resp.Header.Get("Location") != location {
					t.Errorf("--to-host %q, behind a proxy that says %q: Location %q became %q, want %q", given, inner, to, resp.Header.Get("Location"), location)
				}
			}
		}
	}
}

// C says when a service refuses the visitors' host, and not of any other refusal.
func TestHostRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusForbidden
		fmt.Sscan(r.URL.Query().Get("status"), &status)
		http.Error(w, r.URL.Query().Get("text"), status)
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct {
		what, query, toHost string
		hint                bool
	}{
		{"Vite's", `status=403&text=Blocked%20request.%20This%20host%20("photos.example.org")%20is%20not%20allowed.`, "", true},
		{"webpack's", "status=403&text=Invalid%20Host%20header", "", true},
		{"Django's", "status=400&text=Invalid%20HTTP_HOST%20header:%20'photos.example.org'.", "", true},
		{"421", "status=421&text=", "", true},
		{"a 421 where it has a host of its own", "status=421&text=", "-", false},
		{"a folder that is forbidden", "status=403&text=You%20may%20not%20see%20this.%20Apache%20Server%20at%20photos.example.org%20Port%2080", "", false},
		{"a bad request", "status=400&text=no", "", false},
		{"a page about hosts", "status=200&text=This%20host%20photos.example.org%20is%20mine", "", false},
		{"far below", "status=403&text=" + strings.Repeat("x", 4000) + "Invalid%20Host%20header", "", false},
	} {
		s, log := particular(t, serve.Config{To: srv.URL, ToHost: tt.toHost})
		for range 3 {
			if resp, body := ask(t, s, "photos.example.org", "/?"+tt.query); !strings.Contains(tt.query, fmt.Sprint("status=", resp.StatusCode)) || len(body) > 5000 {
				t.Errorf("%s: answered %d %.100q", tt.what, resp.StatusCode, body)
			}
		}
		lines := log.Count("--to-host -")
		if tt.hint && (lines != 1 || log.Count("host=photos.example.org") != 1) || !tt.hint && lines != 0 {
			t.Errorf("%s: logged %q, want a hint once: %v", tt.what, log, tt.hint)
		}
	}
}

// What TLS to a service needs beside the system's roots, and what C says where that
// is missing.
func TestToCA(t *testing.T) {
	dir := t.TempDir()
	ca, other := controltest.NewCA(t), controltest.NewCA(t)
	caFile, otherFile := ca.WriteCA(t, dir, "ca.pem"), other.WriteCA(t, dir, "other.pem")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName, " ", r.Host) }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "wiki.home")}}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	self := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "self ", r.Host) }))
	self.Config.ErrorLog = srv.Config.ErrorLog
	t.Cleanup(self.Close)
	selfFile := filepath.Join(dir, "self.pem")
	if err := os.WriteFile(selfFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: self.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		cfg  serve.Config
		body string // "": refused
		hint string
	}{
		{"nothing", serve.Config{To: srv.URL}, "", "for wiki.home: give --to-host"},
		{"the host alone", serve.Config{To: srv.URL, ToHost: "wiki.home"}, "", "--to-ca"},
		{"the CA alone", serve.Config{To: srv.URL, ToCA: caFile}, "", `for wiki.home: give --to-host`},
		{"another CA", serve.Config{To: srv.URL, ToHost: "wiki.home", ToCA: otherFile}, "", "not of the CA in --to-ca"},
		{"both", serve.Config{To: srv.URL, ToHost: "wiki.home:443", ToCA: caFile}, "wiki.home wiki.home:443", ""},
		{"a certificate that signs itself", serve.Config{To: self.URL, ToCA: selfFile}, "self photos.example.org", ""},
	} {
		s, log := particular(t, tt.cfg)
		resp, body := ask(t, s, "photos.example.org", "/")
		switch {
		case tt.body != "" && (resp.StatusCode != 200 || body != tt.body):
			t.Errorf("%s: %d %q, want %q; logged %q", tt.what, resp.StatusCode, body, tt.body, log)
		case tt.body == "" && (resp.StatusCode != 502 || !strings.Contains(body, "not trusted") || log.Count(tt.hint) != 1):
			t.Errorf("%s: %d %q, logged %q; want 502, and one line with %q", tt.what, resp.StatusCode, body, log, tt.hint)
		}
	}
	for what, cfg := range map[string]serve.Config{
		"--to-host": {To: srv.URL, ToHost: "a/b"}, `--to-host ":80"`: {To: srv.URL, ToHost: ":80"}, `--to-host "a b"`: {To: srv.URL, ToHost: "a b"},
		"--to-ca goes with": {To: "http://localhost:1", ToCA: caFile}, "cannot be read": {To: srv.URL, ToCA: filepath.Join(dir, "none")},
		"no certificate": {To: srv.URL, ToCA: "particular_test.go"}, "go with --to": {Root: dir, ToHost: "-"}, "--to-host and --to-ca go": {Root: dir, ToCA: caFile},
	} {
		if _, err := serve.New(cfg); err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want one line with %q", cfg, err, what)
		}
	}
}

// A service that has got another certificate is served after a Reload, and a file that
// is none leaves things as they are.
func TestToCAIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	ca, other := controltest.NewCA(t), controltest.NewCA(t)
	file := other.WriteCA(t, dir, "ca.pem")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "served") }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "wiki.home")}}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	h := open(t, serve.Config{To: srv.URL, ToHost: "wiki.home", ToCA: file, Logger: slog.New(slog.DiscardHandler)})
	s := visit(t, h)
	if resp, body := ask(t, s, "photos.example.org", "/"); resp.StatusCode != 502 {
		t.Fatalf("with another CA: %d %q, want 502", resp.StatusCode, body)
	}
	ca.WriteCA(t, dir, "ca.pem")
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file without a certificate: %v, want an error that names it", err)
	}
	if resp, body := ask(t, s, "photos.example.org", "/"); resp.StatusCode != 200 || body != "served" {
		t.Errorf("after a Reload: %d %q, want what the service says", resp.StatusCode, body)
	}
	if err := h.Probe(t.Context()); err != nil {
		t.Errorf("Probe: %v", err)
	}
}

// Vite's development server refuses a host that it does not know; with --to-host it
// serves, and its WebSocket says that it is connected.
func TestVite(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	interop.NodeModules(t, "testdata/vite")
	root := t.TempDir()
	for name, text := range map[string]string{
		"index.html": `<!doctype html><script type="module" src="/main.js"></script><p>in development`,
		"main.js":    `console.log("here");`,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ln.Close() // Vite takes no 0
	cmd := exec.Command("node", interop.Script(t, "testdata/vite/server.mjs"), root, port)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		// It ends by itself; this is for a hang.
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		io.Copy(io.Discard, stdout)
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("Vite says %q, %v", line, err)
	}

	s, log := particular(t, serve.Config{To: "http://" + addr})
	if resp, _ := ask(t, s, "photos.example.org", "/"); resp.StatusCode != 403 || log.Count("--to-host -") != 1 {
		t.Errorf("without --to-host: %d, logged %q; want 403, and what would mend it", resp.StatusCode, log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, host := range []string{"-", "localhost:" + port} {
		s, log := particular(t, serve.Config{To: "http://" + addr, ToHost: host})
		if resp, body := ask(t, s, "photos.example.org", "/"); resp.StatusCode != 200 || !strings.Contains(body, "in development") {
			t.Errorf("--to-host %s: %d %.200q, want the page", host, resp.StatusCode, body)
		}
		_, client := ask(t, s, "photos.example.org", "/@vite/client")
		token := regexp.MustCompile(`wsToken = "([^"]+)"`).FindStringSubmatch(client)
		if token == nil {
			t.Fatalf("--to-host %s: no token in %.300q", host, client)
		}
		c, _, err := dialWebSocket(ctx, s, "/?token="+token[1], &websocket.DialOptions{
			Subprotocols: []string{"vite-hmr"}, Host: "photos.example.org", HTTPHeader: http.Header{"Origin": {"https://photos.example.org"}},
		})
		if err != nil {
			t.Errorf("--to-host %s: its WebSocket: %v", host, err)
			continue
		}
		if _, msg, err := c.Read(ctx); err != nil || !strings.Contains(string(msg), `"connected"`) {
			t.Errorf("--to-host %s: its WebSocket says %q, %v", host, msg, err)
		}
		// What is changed is told to the page. Nobody says when Vite has begun to
		// watch the folder.
		told := make(chan struct{})
		var changing sync.WaitGroup
		// Ends when told is closed; waited for below.
		changing.Go(func() {
			for n := 0; ; n++ {
				os.WriteFile(filepath.Join(root, "index.html"), fmt.Appendf(nil, "<!doctype html><p>in development, %d", n), 0o600)
				select {
				case <-told:
					return
				case <-time.After(time.Second):
				}
			}
		})
		_, msg, err := c.Read(ctx)
		close(told)
		changing.Wait()
		if err != nil || !strings.Contains(string(msg), "full-reload") {
			t.Errorf("--to-host %s: after a change its WebSocket says %q, %v", host, msg, err)
		}
		c.CloseNow()
		if log.Count("--to-host") != 0 {
			t.Errorf("--to-host %s: logged %q", host, log)
		}
	}
}
