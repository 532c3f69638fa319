package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A strike is what the attacker does until ctx ends. It counts what it saw.
type strike func(ctx context.Context, t *target)

// A target is what the attacker is told, on its standard input, whose end then
// asks it to end.
type target struct {
	Front, Control string // HOST:PORT
	TLS            bool   // on the front port
	CA             string // file
	Token          string
	Lasts          time.Duration
	Number         int64 // means what the attack wants it to

	all *all
}

// all is what the goroutines of an attacker share.
type all struct {
	ready chan struct{}
	once  sync.Once

	mu     sync.Mutex
	counts map[string]*atomic.Int64 // guarded by mu
	free   time.Time                // guarded by mu; when lineRate allows the next byte
}

// lineRate is what the attacker's line carries, in bytes a second: 100 Mbit/s.
// Who has more than p's whole machine needs no trick.
const lineRate = 100_000_000 / 8

// lined is a connection on the attacker's line.
type lined struct {
	*net.TCPConn
	all *all
}

func (c lined) Write(p []byte) (int, error) {
	c.all.mu.Lock()
	now := time.Now()
	if c.all.free.Before(now) {
		c.all.free = now
	}
	wait := c.all.free.Sub(now)
	c.all.free = c.all.free.Add(time.Duration(len(p)) * time.Second / lineRate)
	c.all.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
	return c.TCPConn.Write(p)
}

// counts is what an attacker counted, by name.
type counts map[string]int64

// A word is one line of the attacker's standard output.
type word struct {
	Ready  bool   `json:",omitempty"` // all is in place
	Counts counts `json:",omitempty"` // the last line
}

// ready says that all is in place.
func (t *target) ready() { t.all.once.Do(func() { close(t.all.ready) }) }

// count adds to one of the counts.
func (t *target) count(name string, n int64) { t.counter(name).Add(n) }

func (t *target) counter(name string) *atomic.Int64 {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if t.all.counts[name] == nil {
		t.all.counts[name] = new(atomic.Int64)
	}
	return t.all.counts[name]
}

func newTarget() *target {
	return &target{all: &all{ready: make(chan struct{}), counts: map[string]*atomic.Int64{}}}
}

// target is what the attacker is told, for what an attack does in this process.
func (s *site) target() *target {
	t := newTarget()
	t.Front, t.Control, t.TLS, t.CA, t.Number = s.front, s.control, s.tls, s.opts.cert("ca.pem"), s.number
	return t
}

// strikePart is the attacker's process.
func strikePart(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 || attackNamed(args[0]) == nil || attackNamed(args[0]).strike == nil {
		return fmt.Errorf("%q is no attack", args)
	}
	t := newTarget()
	in := json.NewDecoder(stdin)
	if err := in.Decode(t); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Lasts)
	defer cancel()
	// Ends with the input, which ends with the process that started this one.
	go func() {
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	out := json.NewEncoder(stdout)
	done := make(chan struct{})
	// Ends with ctx; awaited below.
	go func() {
		defer close(done)
		attackNamed(args[0]).strike(ctx, t)
	}()
	select {
	case <-t.all.ready:
		if err := out.Encode(word{Ready: true}); err != nil {
			return err
		}
	case <-done:
	}
	<-done
	n := counts{}
	for name, v := range t.all.counts {
		n[name] = v.Load()
	}
	return out.Encode(word{Counts: n})
}

// runStrike starts the attacker, and the attack's during once all is in place.
func (s *site) runStrike(ctx context.Context, a attack) (counts, error) {
	token, err := s.opts.token()
	if err != nil {
		return nil, err
	}
	// A stranger's computer is another one: what p, c and the innocent visitor need
	// of this one, they get first.
	attacker, input, output, err := process.Command{Dir: s.logs, Name: "attacker", Path: "nice", Args: []string{"-n", "10", s.opts.self, "strike", a.name}}.StartPiped()
	if err != nil {
		return nil, err
	}
	defer output.Close()
	defer input.Close()
	defer attacker.Stop()
	// What is too late ends with it.
	defer context.AfterFunc(ctx, func() { output.Close() })()
	lasts := a.lasts
	if a.during != nil {
		lasts = time.Minute // during says when it is over
	}
	t := s.target()
	t.Token, t.Lasts = token, lasts
	if err := json.NewEncoder(input).Encode(t); err != nil {
		return nil, err
	}
	words := json.NewDecoder(output)
	placed := false
	for {
		var w word
		if err := words.Decode(&w); err != nil {
			return nil, fmt.Errorf("the attacker ended without a result (%v): %s", err, attacker.Last())
		}
		if w.Ready && a.during != nil {
			ctx, cancel := context.WithTimeout(ctx, a.lasts)
			a.during(ctx, s)
			cancel()
			input.Close()
		}
		placed = placed || w.Ready
		if !w.Ready {
			if a.during != nil && !placed {
				s.failf("the attacker did not get into place")
			}
			return w.Counts, nil
		}
	}
}

// dial connects to addr from one of the loopback's addresses. The end of ctx
// closes the connection, at once and without TIME_WAIT.
func (t *target) dial(ctx context.Context, addr, from string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	tcp.SetLinger(0)
	context.AfterFunc(ctx, func() { conn.Close() })
	return lined{tcp, t.all}, nil
}

// secure completes TLS, offering alpn. An attacker does not care whom it talks
// to.
func secure(ctx context.Context, conn net.Conn, alpn ...string) (net.Conn, error) {
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return tc, nil
}

// visit connects to the front port, with TLS where it has that.
func (t *target) visit(ctx context.Context, from string, alpn ...string) (net.Conn, error) {
	conn, err := t.dial(ctx, t.Front, from)
	if err != nil || !t.TLS {
		return conn, err
	}
	return secure(ctx, conn, alpn...)
}

// failurePause is how long an attacker waits after it was thrown out.
const failurePause = 50 * time.Millisecond

// crowd runs one function n times at once, each again and again until ctx ends,
// after a pause where it failed. It returns when all have ended.
func crowd(ctx context.Context, n int, one func(ctx context.Context, i int) error) {
	var members sync.WaitGroup
	for i := range n {
		// Ends with ctx, awaited below.
		members.Go(func() {
			pause := time.NewTicker(failurePause)
			defer pause.Stop()
			for ctx.Err() == nil {
				ctx, cancel := context.WithCancel(ctx)
				err := one(ctx, i)
				cancel() // closes what it has dialled
				if err == nil {
					continue
				}
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
			}
		})
	}
	members.Wait()
}

// attackerAddr is the address of the attacker's connection i, where each of its
// addresses makes so many.
func attackerAddr(i, each int) string {
	n := i / each
	if n > 0 {
		n++ // 127.0.0.3 is the innocent visitor's
	}
	return fmt.Sprintf("127.0.0.%d", 2+n)
}
