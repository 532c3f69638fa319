//go:build unix

package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// realProxy is a proxy of Debian's that runs.
type realProxy struct {
	t       *testing.T
	process *os.Process
	ended   chan struct{} // closed when it has
	log     *journal
}

// startReal starts program with what config returns for a port, and returns when it
// listens. It skips the test where the program is not.
func startReal(t *testing.T, program, pkg string, config func(port int) []string) (*realProxy, string) {
	t.Helper()
	for _, name := range []string{program, "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not on this machine: install Debian's package %s", name, pkg)
		}
	}
	// A port that is free: neither says which one the system has chosen.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	args := config(ln.Addr().(*net.TCPAddr).Port)
	cmd := exec.Command(args[0], args[1:]...)
	// Those that it starts end with it, and stand still with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r := &realProxy{t: t, ended: make(chan struct{}), log: newJournal(t, program)}
	cmd.Stdout, cmd.Stderr = r.log, r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.process = cmd.Process
	// Ends with the process, whose end the cleanup sees to and waits for.
	go func() { cmd.Wait(); close(r.ended) }()
	t.Cleanup(func() {
		r.signal(syscall.SIGKILL)
		<-r.ended
	})
	waitFor(t, program+" listens", func() bool {
		select {
		case <-r.ended:
			if text := r.log.String(); strings.Contains(text, "not permitted") || strings.Contains(text, "denied") {
				t.Skipf("%s does not run here: %s", program, text)
			}
			t.Fatalf("%s has ended", program)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return r, addr
}

func (r *realProxy) signal(s syscall.Signal) { syscall.Kill(-r.process.Pid, s) }

// tinyproxy takes CONNECT.
func tinyproxy(t *testing.T, allow int, auth string) (*realProxy, string) {
	return startReal(t, "tinyproxy", "tinyproxy-bin", func(port int) []string {
		text := fmt.Sprintf("Port %d\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 600\nMaxClients 20\nConnectPort %d\n", port, allow)
		if auth != "" {
			text += "BasicAuth " + auth + "\n"
		}
		return []string{"tinyproxy", "-d", "-c", newFiles(t).write("tinyproxy.conf", text)}
	})
}

// squid takes CONNECT. Where it is started by root it becomes another user, who has to
// be able to ask who a visitor is.
func squid(t *testing.T, password bool) (*realProxy, string) {
	return startReal(t, "squid", "squid-openssl", func(port int) []string {
		listen, may := fmt.Sprintf("http_port 127.0.0.1:%d", port), "localhost"
		if password {
			may = "known"
			dir, err := os.MkdirTemp("", "squid")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			ask := filepath.Join(dir, "ask")
			if err := errors.Join(os.Chmod(dir, 0o755),
				os.WriteFile(ask, []byte("#!/bin/sh\nwhile read -r line; do [ \"$line\" = 'visitor password' ] && echo OK || echo ERR; done\n"), 0o755)); err != nil {
				t.Fatal(err)
			}
			listen += "\nauth_param basic program " + ask + "\nauth_param basic children 1\nacl known proxy_auth REQUIRED"
		}
		return []string{"squid", "-N", "-d", "1", "-f", newFiles(t).write("squid.conf", listen+"\nhttp_access allow "+may+`
http_access deny all
access_log none
cache_log /dev/null
cache deny all
pid_filename none
netdb_filename none
coredump_dir /
workers 1
`)}
	})
}

// danted is Dante's SOCKS server. Names and passwords are the system's, so that with
// one it runs where the files of those are others.
func danted(t *testing.T, password bool) (*realProxy, string) {
	if password && os.Getuid() != 0 {
		t.Skip("a SOCKS server with passwords needs root")
	}
	return startReal(t, "danted", "dante-server", func(port int) []string {
		f := newFiles(t)
		method := "none"
		if password {
			method = "username"
		}
		conf := f.write("danted.conf", fmt.Sprintf(`logoutput: stderr
internal: 127.0.0.1 port = %d
external: lo
socksmethod: %s
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {
	from: 127.0.0.0/8 to: 0.0.0.0/0
}
socks pass {
	from: 127.0.0.0/8 to: 127.0.0.0/8
	protocol: tcp
	command: connect
}
`, port, method))
		if !password {
			return []string{"danted", "-f", conf}
		}
		hash, err := exec.Command("openssl", "passwd", "-6", "-salt", "x", "password").Output()
		if err != nil {
			t.Skipf("openssl makes no password: %v", err)
		}
		passwd := f.write("passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nvisitor:x:65533:65533::/:/bin/false\n")
		shadow := f.write("shadow", "root:*:1::::::\nnobody:*:1::::::\nvisitor:"+strings.TrimSpace(string(hash))+":19000::::::\n")
		return []string{"unshare", "-m", "sh", "-c", fmt.Sprintf("mount --bind %s /etc/passwd && mount --bind %s /etc/shadow && exec danted -f %s", passwd, shadow, conf)}
	})
}

// C reaches P by way of real proxies, to its front port; loses the way, says which
// proxy was to blame, and comes back.
func TestRealProxies(t *testing.T) {
	port := func(x *p) int { return x.FrontAddr().(*net.TCPAddr).Port }
	for _, test := range []struct {
		name        string
		scheme      string
		user, wrong string
		start       func(t *testing.T, x *p) (*realProxy, string)
		refused     string // with the wrong name or password, or without
	}{
		{"tinyproxy", "http", "", "", func(t *testing.T, x *p) (*realProxy, string) { return tinyproxy(t, port(x), "") }, ""},
		{"tinyproxy with a password", "http", "visitor:password@", "visitor:wrong@",
			func(t *testing.T, x *p) (*realProxy, string) { return tinyproxy(t, port(x), "visitor password") }, "name and password (401)"},
		{"squid", "http", "", "", func(t *testing.T, x *p) (*realProxy, string) { return squid(t, false) }, ""},
		{"squid with a password", "http", "visitor:password@", "visitor:wrong@",
			func(t *testing.T, x *p) (*realProxy, string) { return squid(t, true) }, "name and password (407)"},
		{"dante", "socks5", "", "", func(t *testing.T, x *p) (*realProxy, string) { return danted(t, false) }, ""},
		{"dante with a password", "socks5", "visitor:password@", "visitor:wrong@",
			func(t *testing.T, x *p) (*realProxy, string) { return danted(t, true) }, "authentication"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.KeepAlive = true, 200*time.Millisecond })
			r, addr := test.start(t, x)
			via := func(user string) func(c *agent.Config) {
				u, err := url.Parse(test.scheme + "://" + user + addr)
				if err != nil {
					t.Fatal(err)
				}
				return func(c *agent.Config) {
					byFront(x)(c)
					c.Via = func(string) (*url.URL, error) { return u, nil }
					c.Session.KeepAlive = 200 * time.Millisecond
				}
			}
			if test.wrong != "" {
				y := launchC(t, x, hello("c"), via(test.wrong))
				y.log.wait("not connected, trying on", 1)
				if log := y.log.String(); !strings.Contains(log, test.refused) || !strings.Contains(log, test.scheme+"://"+addr) || strings.Contains(log, "wrong") {
					t.Errorf("C says %s\nwant that %s refuses, and no password", log, addr)
				}
				y.stop()
			}
			y := startC(t, x, hello("c"), via(test.user))
			ask := func() answer {
				return fetch(deadline(t), clients[2].make(t, x), "POST", x.url("/a"), bytes.NewReader(pattern(500_000)), nil)
			}
			want(t, "through it", ask(), 200, "c POST /a 500000")
			if !strings.Contains(y.log.String(), "via="+test.scheme+"://"+addr) {
				t.Errorf("C does not say by which way it is connected")
			}
			// It stands still: both ends notice.
			r.signal(syscall.SIGSTOP)
			y.log.wait("connection lost", 1)
			x.log.wait("origin disconnected", 1)
			r.signal(syscall.SIGCONT)
			y.log.wait("msg=connected", 2)
			want(t, "after that", ask(), 200, "c POST /a 500000")
			// It is gone.
			r.signal(syscall.SIGKILL)
			<-r.ended
			y.log.wait("through "+test.scheme+"://"+addr+": dial tcp "+addr, 1)
		})
	}
}

// What a proxy does not allow is said with what may help.
func TestRealProxyForbids(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	_, addr := tinyproxy(t, 443, "")
	y := launchC(t, x, hello("c"), func(c *agent.Config) {
		c.Via = func(string) (*url.URL, error) { return &url.URL{Scheme: "http", Host: addr}, nil }
	})
	y.log.wait("403 Forbidden to CONNECT: it may allow that to port 443 alone", 1)
}
