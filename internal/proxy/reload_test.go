package proxy_test

import (
	"bufio"
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
	x.log.wait("its token is gone", 1)
	gone.log.wait("answered 403 ", 1)
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
	if gone, lost := x.log.count("its token is gone"), x.log.count("origin disconnected"); gone != 1 || lost != 0 {
		t.Errorf("%d sessions ended for their credential and %d else, want one and none", gone, lost)
	}
	// A token that is gone altogether.
	f.write("token", "another-token *\n")
	x.Reload()
	x.log.wait("its token is gone", 2)
	stays.log.wait("answered 401 ", 1)
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
	x.log.wait("its token is gone", 1)
	if _, err := io.Copy(io.Discard, r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want the connection closed", err)
	}
	if status, _ := x.adminGet("/readyz?origin=@"); status != 503 {
		t.Errorf("/readyz?origin=@: got %d, want 503", status)
	}
}
