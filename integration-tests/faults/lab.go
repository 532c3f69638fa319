//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

const (
	smallFile = "small.bin"
	largeFile = "large.bin"

	serverName = "p.lab.test"   // in p's certificate
	appHost    = "app.lab.test" // of the origin that is a service

	drain = 5 * time.Second // p's and c's

	// hold is p's. It is longer than as delivered: a c that starts on a slow machine may take ten seconds.
	hold = 45 * time.Second

	// comeback is how long everything may take to be as before once a fault is
	// over. C's pauses between attempts are 10 s at most; the rest is for a slow machine.
	comeback = 2 * time.Minute

	// settling is how long goroutines, descriptors and memory may take to be as before.
	settling = 45 * time.Second
)

// commonFlags are what makes the programs notice sooner than as they are delivered.
var commonFlags = []string{"--keepalive", "5s", "--drain", drain.String()}

// A variant is how a run's programs are built, and what visitors speak.
type variant struct {
	name string
	race bool // built -race
	tls  bool // -t: TLS and h2 on the front port, else plain HTTP/1.1
}

// A lab is one run: p, a c that serves files, a c that serves a service, the wire
// between them, and visitors.
type lab struct {
	// Fixed before it is up: by newLab and the fault's prepare.
	options *options
	variant variant
	dir     string // temporary, for all that is written
	logs    string // in it: what the programs print
	root    string // in it: the folder that is served
	uploads string // in root: what is kept
	certs   string // in dir
	ca      *authority
	seed    uint64
	rand    *rand.Rand // owned by the goroutine of the run
	tally   *tally
	service *service
	wire    *wire
	packets *packetLine // in place of the wire; nil: it is not
	net     network     // for packets
	visits  *visitors
	admin   *http.Client
	p       *daemon
	c       *daemon // the files
	app     *daemon // the service
	mayDie  bool    // a program may end by a fatal error

	front, control, adminAddr string // HOST:PORT

	// Owned by the goroutine of the run.
	verdict
	cleanups []func() // called by close, the last first
}

// A daemon is p or a c, which may be started several times.
type daemon struct {
	lab  *lab
	name string
	wrap []string // what the program is started by; none: by itself
	path string
	args []string
	out  io.Writer // in place of the log; nil: the log

	// Owned by the goroutine of the run.
	all  []*process.Process // the last is the one that runs, or whose successor does
	heir int                // process id of that successor; 0: there is none
}

func (l *lab) newDaemon(name, path string, args ...string) *daemon {
	return &daemon{lab: l, name: name, path: path, args: slices.Concat(args, commonFlags)}
}

func (d *daemon) start() error {
	line := slices.Concat(d.wrap, []string{d.path}, d.args)
	p, err := process.Command{Dir: d.lab.logs, Name: d.name, Path: line[0], Args: line[1:], Stdout: d.out, Stderr: d.out}.Start()
	if err == nil {
		d.all, d.heir = append(d.all, p), 0
	}
	return err
}

func (d *daemon) now() *process.Process { return d.all[len(d.all)-1] }

// pid is the id of the process that runs.
func (d *daemon) pid() int {
	if d.heir != 0 {
		return d.heir
	}
	return d.now().PID()
}

func (d *daemon) signal(s syscall.Signal) error {
	if err := syscall.Kill(d.pid(), s); err != nil {
		return fmt.Errorf("%v to %s: %w", s, d.name, err)
	}
	return nil
}

// ended reports whether it runs no more. A successor is no child of this program's.
func (d *daemon) ended() bool {
	if d.heir != 0 {
		return !alive(d.heir)
	}
	select {
	case <-d.now().Done():
		return true
	default:
		return false
	}
}

// alive reports whether a process runs: one that waits to be reaped has no program.
func alive(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil
}

// end sends a signal and waits until the program has ended by it.
func (d *daemon) end(ctx context.Context, s syscall.Signal, limit time.Duration) error {
	if err := d.signal(s); err != nil {
		return err
	}
	return d.awaitEnd(ctx, limit)
}

func (d *daemon) awaitEnd(ctx context.Context, limit time.Duration) error {
	return until(ctx, limit, func() error {
		if !d.ended() {
			return fmt.Errorf("%s does not end", d.name)
		}
		return nil
	})
}

func (l *lab) daemons() []*daemon { return []*daemon{l.p, l.c, l.app} }
func (l *lab) cs() []*daemon      { return []*daemon{l.c, l.app} }

func (o *options) newLab(v variant, f fault, seed uint64) (*lab, error) {
	dir, err := os.MkdirTemp("", "spdy-proxy-faults-")
	if err != nil {
		return nil, err
	}
	l := &lab{
		options: o, variant: v, dir: dir, logs: filepath.Join(dir, "logs"), root: filepath.Join(dir, "root"), uploads: filepath.Join(dir, "root", "in"),
		certs: filepath.Join(dir, "certs"), ca: o.ca, seed: seed, rand: rand.New(rand.NewPCG(seed, 2)), tally: newTally(f.spared), mayDie: f.mayDie,
		admin: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	}
	l.visits = newVisitors(l)
	if err := l.make(f); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// make writes the files, finds the ports and puts the command lines together.
func (l *lab) make(f fault) error {
	for _, dir := range []string{l.logs, l.root, l.uploads, l.certs} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := errors.Join(smallBody.file(filepath.Join(l.root, smallFile)), largeBody.file(filepath.Join(l.root, largeFile)),
		l.ca.write(l.cert("ca.pem")), l.ca.issue(l.cert("p.pem"), l.cert("p.key"), 24*time.Hour),
		replace(l.cert("tokens"), []byte(tokenLines)), replace(l.cert("token"), []byte(labToken+" *\n"))); err != nil {
		return err
	}
	if err := process.FreeAddrs(&l.front, &l.control, &l.adminAddr); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.service = newService(l.tally, ln)
	if l.wire, err = newWire(l.control, l.seed); err != nil {
		return err
	}
	programs := l.options.programs(l.variant, f)
	l.p = l.newDaemon("p", programs.p, "--front", l.front, "--control", l.control, "--admin", l.adminAddr, "--domain", "lab.test",
		"--cert", l.cert("p.pem"), "--key", l.cert("p.key"), "--token-file", l.cert("tokens"), "--hold", hold.String(), "--response-timeout", "30s", "--stall", "30s")
	if l.variant.tls {
		l.p.args = append(l.p.args, "-t")
	}
	to := []string{"--proxy", l.wire.addr(), "--ca", l.cert("ca.pem"), "--token-file", l.cert("token")}
	l.c = l.newDaemon("c", programs.c, append(to, "--root", l.root, "--upload", l.uploads)...)
	l.app = l.newDaemon("app", programs.c, append(to, "--name", "app", "--to", "http://"+ln.Addr().String())...)
	if f.prepare != nil {
		return f.prepare(l)
	}
	return nil
}

const labToken = "of-the-lab"

// tokenLines is what p takes: the token of the lab's Cs, and another.
const tokenLines = labToken + " *\nof-somebody-else other\n"

func (l *lab) cert(name string) string { return filepath.Join(l.certs, name) }

func (l *lab) url(pathAndQuery string) string {
	if l.variant.tls {
		return "https://" + l.front + pathAndQuery
	}
	return "http://" + l.front + pathAndQuery
}

func (l *lab) failf(format string, a ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, a...))
}

func (l *lab) notef(format string, a ...any) { l.notes = append(l.notes, fmt.Sprintf(format, a...)) }

// up starts all and returns when both origins answer.
func (l *lab) up(ctx context.Context) error {
	for _, d := range l.daemons() {
		if err := d.start(); err != nil {
			return err
		}
	}
	return l.ready(ctx)
}

// until asks again and again until there is no error, or limit is over.
func until(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask()
		if err == nil || errors.Is(err, process.ErrEnded) {
			return err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("for %v: %w", limit, err)
		}
	}
}

// ready returns when each origin has answered as it should, within comeback.
func (l *lab) ready(ctx context.Context) error {
	probe := &visitors{lab: l, tally: newTally(nil), fresh: l.visits.fresh, seeds: l.visits.seeds}
	err := until(ctx, comeback, func() error {
		for _, d := range l.daemons() {
			if d.ended() {
				return fmt.Errorf("%s: %w", d.name, process.ErrEnded)
			}
		}
		if probe.get(ctx, get, probe.fresh, 0) != right {
			return errors.New("the files are not answered for")
		}
		probe.once(ctx, probe.fresh)
		if probe.tally.right(once) == 0 {
			return errors.New("the service is not answered for")
		}
		return nil
	})
	if err == nil {
		return nil
	}
	for _, d := range l.daemons() {
		if text := d.now().Last(); text != "" {
			err = fmt.Errorf("%w; %s: %s", err, d.name, text)
		}
	}
	return err
}

func (l *lab) close() {
	for _, d := range l.daemons() {
		if d == nil {
			continue
		}
		for _, p := range d.all {
			p.Stop()
		}
	}
	if l.wire != nil {
		l.wire.close()
	}
	if l.service != nil {
		l.service.close()
	}
	for _, f := range slices.Backward(l.cleanups) {
		f()
	}
	os.RemoveAll(l.dir)
}

// adminText is what p's admin port says.
func (l *lab) adminText(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.adminAddr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := l.admin.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered by %s", path, resp.Status)
	}
	return string(text), err
}

// fatal is what a program prints that ends by a fault of its own.
var fatal = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|runtime error: .*|WARNING: DATA RACE|SIGSEGV: .*)$`)

// maxLog is what a log may have, in bytes: a run is short.
const maxLog = 1 << 20

// judgeLogs looks for what no program must print.
func (l *lab) judgeLogs() {
	for _, d := range l.daemons() {
		for _, p := range d.all {
			text := p.Log()
			line := fatal.FindString(text)
			if line != "" && (!l.mayDie || strings.Contains(line, "DATA RACE")) {
				l.failf("%s says %q", d.name, line)
			}
			if len(text) > maxLog {
				l.failf("the log of %s has %d bytes", d.name, len(text))
			}
		}
	}
}

// judgeUploads looks at what lies in the upload folder when nobody sends anything:
// whole files alone.
func (l *lab) judgeUploads() {
	files, err := os.ReadDir(l.uploads)
	if err != nil {
		l.failf("%v", err)
		return
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			l.failf("%s was left in the upload folder", f.Name())
			continue
		}
		// Whoever sent it was not told that it was kept.
		if _, err := identifyFile(filepath.Join(l.uploads, f.Name())); err != nil {
			l.tally.wrongf(upload, "a file in the upload folder: %v", err)
		}
	}
}
