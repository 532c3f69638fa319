package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// The names of yardsticks, p and c among them.
const (
	pair = "pair"
	seen = "seen"
	h2   = "h2"
	hop  = "hop"
	ngx  = "nginx"
	ssh  = "ssh"
)

// A yardstick is one way to bring a file from an origin to a visitor.
type yardstick struct {
	name  string
	about string // for the table's notes
	post  string // the path that takes uploads

	// missing says which program this machine does not have, "" if it has all.
	missing func(b *bench) string

	// start runs it, with what it started in s even after an error. If far, the
	// way between its two sides leads through the relay.
	start func(b *bench, s *setup, far bool) error
}

func (y yardstick) named() string { return y.name }

func yardsticks() []yardstick {
	return []yardstick{
		{pair, "p and c as released, default settings", "/" + smallFile, pairMissing, startPair},
		{seen, "the pair with everything on: an access log on both sides, a status page that is open, the API asked once a second and the metrics every 15 s", "/" + smallFile, pairMissing, startSeen},
		{h2, "the same design on x/net/http2 and httputil.ReverseProxy", "/upload", nothingMissing, startH2},
		{hop, "httputil.ReverseProxy to a Go file server over HTTP/1.1 and TLS; no tunnel", "/upload", nothingMissing, startHop},
		{ngx, "nginx in front of nginx over HTTP/1.1 and TLS, connections kept, buffering by default; no tunnel. It cannot take an upload by itself: a small Go server behind it does", "/upload", missingOf("nginx"), startNginx},
		{ssh, "ssh -R: visitors reach a port of sshd, ssh leads to an nginx without TLS, and behind that the same Go server takes uploads", "/upload", missingOf("sshd", "ssh", "ssh-keygen", "nginx"), startSSH},
	}
}

// A setup is a yardstick that runs.
type setup struct {
	front          string // HOST:PORT for visitors
	public, origin []*process.Process
	other          []*process.Process // neither side's: the relay
	unwatch        func()             // ends what looks at it, nil if nothing does
}

func (s *setup) stop() {
	if s.unwatch != nil {
		s.unwatch()
	}
	for _, side := range [][]*process.Process{s.origin, s.public, s.other} {
		for _, p := range side {
			p.Stop()
		}
	}
}

func (s *setup) all() []*process.Process {
	return append(append(append([]*process.Process(nil), s.public...), s.origin...), s.other...)
}

// The files of the folder that is served.
const (
	smallFile = "small.bin"
	bigFile   = "big.bin"
	halfFile  = "half.bin"
)

// run starts a program on one side.
func (b *bench) run(side *[]*process.Process, name, path string, args ...string) error {
	p, err := process.Command{Dir: b.dir, Name: name, Path: path, Args: args}.Start()
	if err != nil {
		return err
	}
	*side = append(*side, p)
	return nil
}

// way returns where one side dials to reach the other, which listens at addr.
func (b *bench) way(s *setup, far bool, addr string) (string, error) {
	if !far {
		return addr, nil
	}
	relayed, err := process.FreeAddr()
	if err != nil {
		return "", err
	}
	return relayed, b.run(&s.other, "relay", b.self, "relay", "--listen", relayed, "--to", addr, "--delay", delay.String())
}

// delay is the relay's, each way.
const delay = 25 * time.Millisecond

// up starts a yardstick and returns when a visitor gets the small file from it,
// right.
func (b *bench) up(ctx context.Context, y yardstick, far bool) (*setup, error) {
	s := new(setup)
	err := y.start(b, s, far)
	if err == nil {
		err = process.Poll(ctx, func() error {
			for _, p := range s.all() {
				select {
				case <-p.Done():
					return fmt.Errorf("%s: %w", p.Name, process.ErrEnded)
				default:
				}
			}
			return b.probe(ctx, s.front)
		})
	}
	if err == nil {
		return s, nil
	}
	s.stop()
	for _, p := range s.all() {
		if text := p.Last(); text != "" {
			err = fmt.Errorf("%w; %s: %s", err, p.Name, text)
		}
	}
	return nil, err
}

// probe makes one small request.
func (b *bench) probe(ctx context.Context, front string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := dial(ctx, front, b.pattern, 0, smallBuffer)
	if err != nil {
		return err
	}
	defer c.close()
	return c.get(getRequest(front, "/"+smallFile), b.sizes.small, nil)
}

func nothingMissing(*bench) string { return "" }

func pairMissing(b *bench) string {
	for _, name := range []string{"p", "c"} {
		if _, err := os.Stat(filepath.Join(b.opts.bin, name)); err != nil {
			return filepath.Join(b.opts.bin, name) + " (run make)"
		}
	}
	return ""
}

func startPair(b *bench, s *setup, far bool) error {
	_, err := b.startBoth(s, far, nil, nil)
	return err
}

// startBoth starts p and c with more flags for each, and returns where p's admin
// port will listen.
func (b *bench) startBoth(s *setup, far bool, forP, forC []string) (admin string, err error) {
	var control string
	if err := process.FreeAddrs(&s.front, &control, &admin); err != nil {
		return "", err
	}
	err = b.run(&s.public, "p", filepath.Join(b.opts.bin, "p"), append([]string{"--front", s.front, "--control", control, "--admin", admin,
		"--cert", b.cert("p.pem"), "--key", b.cert("p.key"), "--token-file", b.cert("token")}, forP...)...)
	if err != nil {
		return "", err
	}
	to, err := b.way(s, far, control)
	if err != nil {
		return "", err
	}
	return admin, b.run(&s.origin, "c", filepath.Join(b.opts.bin, "c"),
		append([]string{"--proxy", to, "--ca", b.cert("ca.pem"), "--token-file", b.cert("token"), "--root", b.root}, forC...)...)
}

// openWay is way to a side that is about to listen; it waits until both do.
func (b *bench) openWay(s *setup, far bool, addr string) (string, error) {
	if err := process.Listening(b.ctx, addr); err != nil {
		return "", err
	}
	to, err := b.way(s, far, addr)
	if err != nil {
		return "", err
	}
	return to, process.Listening(b.ctx, to)
}

func startH2(b *bench, s *setup, far bool) error {
	var control string
	if err := process.FreeAddrs(&s.front, &control); err != nil {
		return err
	}
	if err := b.run(&s.public, "h2-p", b.self, "h2-p", "--front", s.front, "--control", control, "--certs", b.opts.certs); err != nil {
		return err
	}
	to, err := b.openWay(s, far, control)
	if err != nil {
		return err
	}
	return b.run(&s.origin, "h2-c", b.self, "h2-c", "--control", to, "--root", b.root, "--certs", b.opts.certs)
}

func startHop(b *bench, s *setup, far bool) error {
	var control string
	if err := process.FreeAddrs(&s.front, &control); err != nil {
		return err
	}
	if err := b.run(&s.origin, "hop-origin", b.self, "hop-origin", "--control", control, "--root", b.root, "--certs", b.opts.certs); err != nil {
		return err
	}
	to, err := b.way(s, far, control)
	if err != nil {
		return err
	}
	return b.run(&s.public, "hop-front", b.self, "hop-front", "--front", s.front, "--control", to, "--certs", b.opts.certs)
}
