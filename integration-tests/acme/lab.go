//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// patience is how long is waited for what takes a moment, on a machine that has other
// things to do.
const patience = 30 * time.Second

// lifetime is that of a certificate; it is renewed in the last third.
const lifetime = 30 * time.Second

// lab is what one test has.
type lab struct {
	// Fixed by run.
	ctx        context.Context
	out        io.Writer
	bin, certs string
	stepCA     string // the program, or its name

	// Fixed by begin.
	dir                        string
	running                    []*process.Process
	front, httpAddr, control   string // of p
	directory, manage          string // of pebble
	names, namesManage, nobody string // of the server of names; nobody: nobody listens there

	pebble *process.Process
	life   time.Duration // of the certificates that it gives
	ocsp   string        // URL of who says whether they are revoked; "": nobody does
}

// begin finds addresses and starts the server of names, which says 127.0.0.1 for all.
func (l *lab) begin() error {
	l.pebble, l.life, l.ocsp = nil, lifetime, ""
	for taken := map[string]bool{}; len(taken) < 8; {
		clear(taken)
		for _, addr := range []*string{&l.front, &l.httpAddr, &l.control, &l.directory, &l.manage, &l.names, &l.namesManage, &l.nobody} {
			if err := process.FreeAddrs(addr); err != nil {
				return err
			}
			taken[*addr] = true
		}
	}
	_, err := l.start("names", "pebble-challtestsrv", "-defaultIPv6", "", "-dns01", l.names, "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", l.namesManage)
	if err == nil {
		err = process.Listening(l.ctx, l.namesManage)
	}
	return err
}

func (l *lab) start(name, path string, args ...string) (*process.Process, error) {
	p, err := process.Command{Dir: l.dir, Name: name, Path: path, Args: args}.Start()
	if err == nil {
		l.running = append(l.running, p)
	}
	return p, err
}

// startPebble starts the CA. Its questions come to the ports that are given; sleep is
// how many seconds it thinks before.
func (l *lab) startPebble(tlsAddr, httpAddr string, sleep int, blocked ...string) error {
	port := func(addr string) int {
		_, p, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(p)
		return n
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": l.directory, "managementListenAddress": l.manage,
		"certificate": filepath.Join(l.certs, "p.pem"), "privateKey": filepath.Join(l.certs, "p.key"),
		"httpPort": port(httpAddr), "tlsPort": port(tlsAddr), "domainBlocklist": blocked,
		"certificateValidityPeriod": int(l.life.Seconds()), "ocspResponderURL": l.ocsp,
	}})
	if err != nil {
		return err
	}
	file, err := l.write("pebble.json", string(config))
	if err != nil {
		return err
	}
	thinking := "PEBBLE_VA_NOSLEEP=1"
	if sleep > 0 {
		thinking = fmt.Sprintf("PEBBLE_VA_SLEEPTIME=%d", sleep)
	}
	l.pebble, err = l.start("pebble", "env", thinking, "PEBBLE_WFE_NONCEREJECT=0", "pebble", "-config", file, "-dnsserver", l.names)
	if err != nil {
		return err
	}
	return process.Listening(l.ctx, l.directory)
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, text string) (string, error) {
	return l.path(name), os.WriteFile(l.path(name), []byte(text), 0o700)
}

// proxy is a p that runs, with its successors.
type proxy struct {
	*process.Process
	front, control string
	handedOver     bool // the first process may have ended
}

// startP starts p for example.test with a token file, and waits until it listens.
func (l *lab) startP(tokens string, more ...string) (*proxy, error) {
	x := &proxy{front: l.front, control: l.control}
	return x, l.startProxy(x, tokens, more...)
}

func (l *lab) startProxy(x *proxy, tokens string, more ...string) (err error) {
	file, err := l.write("token", tokens)
	if err == nil {
		err = os.Chmod(file, 0o600)
	}
	if err != nil {
		return err
	}
	args := []string{
		"--front", x.front, "-t", "--control", x.control, "--admin", "", "--token-file", file, "--state", l.path("state"),
		"--domain", "example.test", "--acme-email", "admin@example.test", "--acme-ca", "https://" + l.directory + "/dir",
		"--acme-ca-root", filepath.Join(l.certs, "ca.pem"), "--drain", "20s", "--pid-file", l.path("pid" + strings.ReplaceAll(x.front, ":", "-")),
	}
	if x.Process, err = l.start("p", filepath.Join(l.bin, "p"), append(args, more...)...); err != nil {
		return err
	}
	return x.logged("p listens", 1)
}

// await asks until ok is true.
func await(limit time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v in vain for: %s", limit, what)
		}
	}
	return nil
}

// logged waits until part was logged n times.
func (x *proxy) logged(part string, n int) error {
	ended := false
	err := await(patience, fmt.Sprintf("%d lines with %q in p's log", n, part), func() bool {
		select {
		case <-x.Done():
			ended = !x.handedOver
		default:
		}
		return ended || strings.Count(x.Log(), part) >= n
	})
	if ended && strings.Count(x.Log(), part) < n {
		err = errors.New("p has ended")
	}
	return err
}

// signal is for the process of now.
func (l *lab) signal(x *proxy, sig syscall.Signal) error {
	b, err := os.ReadFile(l.path("pid" + strings.ReplaceAll(x.front, ":", "-")))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

// shows returns what pebble shows its operator.
func (l *lab) shows(path string) ([]byte, error) {
	ca, err := os.ReadFile(filepath.Join(l.certs, "ca.pem"))
	if err != nil {
		return nil, err
	}
	own := x509.NewCertPool()
	own.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own}, DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("https://" + l.manage + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// roots are those of pebble's that runs.
func (l *lab) roots() (*x509.CertPool, error) {
	b, err := l.shows("/roots/0")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New("pebble shows no root")
	}
	return pool, nil
}

// shown does a handshake for a name, and returns the certificate that addr shows.
func shown(addr, name string) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// verifies waits until addr shows a certificate for name that is pebble's.
func (l *lab) verifies(addr, name string) error {
	roots, err := l.roots()
	if err != nil {
		return err
	}
	return verifiesBy(roots, addr, name)
}

// verifiesBy waits until addr shows a certificate for name that leads to roots.
func verifiesBy(roots *x509.CertPool, addr, name string) error {
	var last error
	if await(patience, "", func() bool {
		var conn *tls.Conn
		conn, last = tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: roots})
		if last == nil {
			conn.Close()
		}
		return last == nil
	}) != nil {
		return fmt.Errorf("%s shows no good certificate for %s: %w", addr, name, last)
	}
	return nil
}

// issued is how many certificates pebble has given.
func (l *lab) issued() int { return strings.Count(l.pebble.Log(), "Issued certificate serial") }

// tellNames changes what the server of names says.
func (l *lab) tellNames(what string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	res, err := http.Post("http://"+l.namesManage+"/"+what, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server of names says %s to %s", res.Status, what)
	}
	return nil
}

// private returns an error if anything in the state folder is open to others.
func (l *lab) private() error {
	return filepath.WalkDir(l.path("state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a lock
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return err
	})
}
