package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
	"github.com/amahi/spdy-proxy/integration-tests/relay"
)

// The files of the folder that is served.
const (
	smallFile = "small.bin"
	bigFile   = "big.bin"

	smallSize = 1 << 10
	bigSize   = 64 << 20
)

// A site is one attack's pair, and what is judged of it.
type site struct {
	// Set before it is up: by newSite and the attack's prepare.
	opts     *options
	dir      string // temporary, for all that is written
	logs     string // in it: what the programs printed
	root     string // in it: the folder that is served
	tls      bool   // p has -t
	p, c     process.Command
	origins  int         // sessions that p is to see, from beginning to end; 0: not judged
	line     *relay.Line // between c and p
	good     string      // path that the innocent visitor asks for, with the body below
	goodBody []byte
	goodHost string
	patience time.Duration // of the innocent visitor; 0: maxWait
	excuse   string        // how an innocent request may fail
	number   int64         // for the attacker: target.Number
	userinfo string        // of the innocent visitor, NAME:PASSWORD
	cleanups []func()      // called by close, the last first
	maxLines int           // of each log, where more than maxLines are due
	alone    bool          // no innocent visitor comes

	front, control, admin string // HOST:PORT
	pool                  *x509.CertPool

	// Owned by the goroutine of carryOut, once it is up.
	verdict
	running []*process.Process
}

func (o *options) newSite(ctx context.Context, a attack) (*site, error) {
	dir, err := os.MkdirTemp("", "spdy-proxy-attack-")
	if err != nil {
		return nil, err
	}
	s := &site{
		opts: o, dir: dir, logs: filepath.Join(dir, "logs"), root: filepath.Join(dir, "root"), tls: true, origins: 1,
		good: "/" + smallFile, goodBody: make([]byte, smallSize), pool: x509.NewCertPool(),
	}
	for i := range s.goodBody {
		s.goodBody[i] = byte(i)
	}
	if err := s.make(ctx, a); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// make writes the files and finds the ports.
func (s *site) make(ctx context.Context, a attack) error {
	for _, dir := range []string{s.logs, s.root} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(s.root, smallFile), s.goodBody, 0o600); err != nil {
		return err
	}
	// A file with a hole: the disk need not be read.
	big := filepath.Join(s.root, bigFile)
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(big, bigSize); err != nil {
		return err
	}
	// A write today is a body that may change while it is sent.
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{smallFile, bigFile} {
		if err := os.Chtimes(filepath.Join(s.root, name), past, past); err != nil {
			return err
		}
	}
	if err := process.FreeAddrs(&s.front, &s.control, &s.admin); err != nil {
		return err
	}
	ca, err := os.ReadFile(s.opts.cert("ca.pem"))
	if err != nil {
		return err
	}
	s.pool.AppendCertsFromPEM(ca)
	o := s.opts
	s.p = process.Command{Dir: s.logs, Name: "p", Path: o.p, Args: []string{"--front", s.front, "--control", s.control, "--admin", s.admin,
		"--cert", o.cert("p.pem"), "--key", o.cert("p.key"), "--token-file", o.cert("token")}}
	s.c = process.Command{Dir: s.logs, Name: "c", Path: o.c, Args: []string{"--ca", o.cert("ca.pem"), "--token-file", o.cert("token")}}
	if a.prepare != nil {
		if err := a.prepare(s); err != nil {
			return err
		}
	}
	if s.tls {
		s.p.Args = append(s.p.Args, "-t")
	}
	return s.connect()
}

// connect fills in where c dials p.
func (s *site) connect() error {
	to := s.control
	if s.line != nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.cleanups = append(s.cleanups, func() { ln.Close() })
		to = ln.Addr().String()
		// Ends with the listener, which close ends.
		go func() {
			for {
				in, err := ln.Accept()
				if err != nil {
					return
				}
				out, err := net.Dial("tcp", s.control)
				if err != nil {
					in.Close()
					continue
				}
				// What waits for the line is to wait in it, and in no socket.
				in.(*net.TCPConn).SetReadBuffer(64 << 10)
				// Ends with c or p, which close ends.
				go s.line.Pass(in, out)
			}
		}()
	}
	s.c.Args = append(s.c.Args, "--proxy", to)
	if !hasFlag(s.c.Args, "--to") {
		s.c.Args = append(s.c.Args, "--root", s.root)
	}
	return nil
}

func hasFlag(args []string, flag string) bool {
	for _, a := range args {
		if a == flag {
			return true
		}
	}
	return false
}

// knows reports whether a program has a flag.
func knows(ctx context.Context, path, flag string) bool {
	text, _ := exec.CommandContext(ctx, path, "--help").CombinedOutput()
	return regexp.MustCompile(`(?m)(^|\s)` + regexp.QuoteMeta(flag) + `[ \[=]`).Match(text)
}

func (s *site) close() {
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].Stop()
	}
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	os.RemoveAll(s.dir)
}

func (s *site) failf(format string, a ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, a...))
}

func (s *site) notef(format string, a ...any) { s.notes = append(s.notes, fmt.Sprintf(format, a...)) }

func (s *site) run(c process.Command) error {
	p, err := c.Start()
	if err == nil {
		s.running = append(s.running, p)
	}
	return err
}

// daemons are p and c, without what attacks them.
func (s *site) daemons() (all []*process.Process) {
	for _, p := range s.running {
		if p.Name == "p" || p.Name == "c" {
			all = append(all, p)
		}
	}
	return all
}

func (s *site) side(name string) (side []*process.Process) {
	for _, p := range s.running {
		if p.Name == name {
			side = append(side, p)
		}
	}
	return side
}

func (s *site) pSide() []*process.Process { return s.side("p") }
func (s *site) cSide() []*process.Process { return s.side("c") }

// ended reports whether one of a name has ended.
func (s *site) ended(name string) bool {
	for _, p := range s.side(name) {
		select {
		case <-p.Done():
			return true
		default:
		}
	}
	return false
}

// up starts the pair and returns when the innocent visitor gets its answer.
func (s *site) up(ctx context.Context) error {
	if err := s.run(s.p); err != nil {
		return err
	}
	if err := process.Listening(ctx, s.control); err != nil {
		return s.because(err)
	}
	if s.c.Path == "" {
		return nil
	}
	if err := s.run(s.c); err != nil {
		return err
	}
	client := s.client("127.0.0.1")
	defer client.CloseIdleConnections()
	return s.because(process.Poll(ctx, func() error {
		for _, name := range []string{"p", "c"} {
			if s.ended(name) {
				return fmt.Errorf("%s: %w", name, process.ErrEnded)
			}
		}
		return s.ask(ctx, client)
	}))
}

// because adds to an error what p and c have to say.
func (s *site) because(err error) error {
	if err == nil {
		return nil
	}
	for _, p := range s.daemons() {
		if text := p.Last(); text != "" {
			err = fmt.Errorf("%w; %s: %s", err, p.Name, text)
		}
	}
	return err
}

// watch keeps the most memory that p and c had, until ctx ends.
func (s *site) watch(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := process.Peak(s.pSide()); err == nil && n > s.peak {
			s.peak = n
		}
		if n, err := process.Peak(s.cSide()); err == nil && n > s.peakC {
			s.peakC = n
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// client returns a client for the front port that comes from an address and
// makes a connection for each request.
func (s *site) client(from string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{
		Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.pool}},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// url is that of a path at the front port.
func (s *site) url(path string) string {
	if s.tls {
		return "https://" + s.front + path
	}
	return "http://" + s.front + path
}

// ask makes the innocent visitor's request once.
func (s *site) ask(ctx context.Context, client *http.Client) error {
	r, err := http.NewRequestWithContext(ctx, "GET", s.url(s.good), nil)
	if err != nil {
		return err
	}
	r.Host = s.goodHost
	if name, word, ok := strings.Cut(s.userinfo, ":"); ok {
		r.SetBasicAuth(name, word)
	}
	resp, err := client.Do(r)
	if err != nil {
		return reason(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(s.goodBody))+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("an answer of %d", resp.StatusCode)
	case err != nil:
		return reason(err)
	case string(body) != string(s.goodBody):
		return errors.New("a wrong body")
	}
	return nil
}

// reason is err without addresses, so that equal ones can be counted.
func reason(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// metrics is what the admin port says in numbers.
type metrics map[string]float64 // by name with labels

func (s *site) metrics(ctx context.Context) (metrics, error) {
	text, err := s.adminText(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(text), nil
}

func parseMetrics(text string) metrics {
	m := metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m
}

// sum adds up a metric over its labels.
func (m metrics) sum(name string) (total float64) {
	for k, v := range m {
		if base, _, _ := strings.Cut(k, "{"); base == name {
			total += v
		}
	}
	return total
}

func (s *site) adminText(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", reason(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered by %d", path, resp.StatusCode)
	}
	return string(text), err
}

// serving is how many requests p has open.
func (s *site) serving(ctx context.Context) (int, error) {
	text, err := s.adminText(ctx, "/debug")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, "serving: ")
	return strconv.Atoi(strings.TrimSpace(rest))
}

// idle waits until p has no request open.
func (s *site) idle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	open, failed := 0, errors.New("not asked")
	for {
		n, err := s.serving(ctx)
		if ctx.Err() == nil {
			open, failed = n, err
		}
		if failed == nil && open == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if failed != nil {
				return fmt.Errorf("the admin port: %w", failed)
			}
			return fmt.Errorf("%d requests are still open %v after the attacker has gone", open, limit)
		}
	}
}
