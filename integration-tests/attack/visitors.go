package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/amahi/spdy-proxy/integration-tests/process"
	"github.com/amahi/spdy-proxy/integration-tests/relay"
)

const lineDelay = 40 * time.Millisecond

// slowLine is a home's: 40 ms away, 10 Mbit/s up, and a second's worth of
// buffers in front of it.
func slowLine() *relay.Line {
	return &relay.Line{Delay: lineDelay, Up: 10_000_000 / 8, Queue: time.Second}
}

// stallSoon shortens how long p lets an answer wait that is not taken at all,
// where p can be told.
func (s *site) stallSoon() {
	if knows(context.Background(), s.p.Path, "--stall") {
		s.p.Args = append(s.p.Args, "--stall", "2s")
		s.number = 1
	} else {
		s.notef("this p has no --stall")
	}
}

// wantStalled judges whether answers that were not taken have been ended, with
// stallSoon. An address has at least a thousand of them.
func wantStalled(_ context.Context, s *site, n counts) {
	if s.number == 1 && n["resets"] < 1000 {
		s.failf("%d answers that were not taken have been reset, want 1000 at least", n["resets"])
	}
}

// visitors are how many half-close, or leave.
const visitors = 200

func visitorAttacks() []attack {
	return []attack{
		{name: "half-closed", about: "200 visitors close their sending side after the request, and are to get their answers", lasts: 20 * time.Second,
			prepare: func(s *site) error { return s.plainService(sleeper) }, during: halfClosed},
		{name: "gone", about: "200 visitors leave after a request that is not answered for a minute", lasts: 25 * time.Second,
			prepare: func(s *site) error { return s.plainService(sleeper) }, during: gone},
		{name: "gone-uploads", about: "200 visitors leave in the middle of an upload that is not read", lasts: 25 * time.Second,
			prepare: func(s *site) error { s.stallSoon(); return s.plainService(deaf) }, during: goneUploads},
		{name: "grown-windows", about: "100 downloads over a long line that are read fast, and then not at all, from one address", lasts: 20 * time.Second,
			prepare: func(s *site) error { s.line = &relay.Line{Delay: lineDelay}; return nil }, strike: growWindows, during: downloadOne},
		{name: "guesses", about: "names and passwords that are wrong, with --htpasswd", lasts: 5 * time.Second, prepare: withPasswords, strike: guesses},
		{name: "listings", about: "30 listings of a huge folder, abandoned at once", lasts: 25 * time.Second, prepare: hugeFolder, during: listings},
	}
}

// sleeper answers /slow?ms=N after so long, and everything else as the innocent
// visitor wants it.
func sleeper(s *site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ms, err := strconv.Atoi(r.FormValue("ms")); err == nil {
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		w.Write(s.goodBody)
	})
}

// plainService has c serve a service of ours.
func (s *site) plainService(handler func(*site) http.Handler) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(s), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	// Ends with the server, which close ends.
	go func() { defer close(served); server.Serve(ln) }()
	s.cleanups = append(s.cleanups, func() { server.Close(); <-served })
	s.c.Args = append(s.c.Args, "--to", "http://"+ln.Addr().String())
	return nil
}

// half is one visitor who asks, and closes its sending side. It calls asked once
// it has done both.
func (s *site) half(ctx context.Context, path string, asked func()) error {
	asked = sync.OnceFunc(asked)
	defer asked()
	t := s.target()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := t.dial(ctx, s.front, attackerAddr(0, 1))
	if err != nil {
		return err
	}
	defer conn.Close()
	tcp := conn.(lined).TCPConn
	if s.tls {
		if conn, err = secure(ctx, conn, "http/1.1"); err != nil {
			return err
		}
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && s.tls {
		half.CloseWrite() // close_notify
	}
	tcp.CloseWrite()
	asked()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reason(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || string(body) != string(s.goodBody)) {
		err = fmt.Errorf("an answer of %d", resp.StatusCode)
	}
	return err
}

func halfClosed(ctx context.Context, s *site) {
	for _, path := range []string{"/quick", "/slow?ms=1000"} {
		errs := make([]error, visitors)
		var all sync.WaitGroup
		dialling := make(chan struct{}, 10)
		for i := range errs {
			dialling <- struct{}{}
			// Ends within ten seconds, awaited below.
			all.Go(func() { errs[i] = s.half(ctx, path, func() { <-dialling }) })
		}
		all.Wait()
		failed, last := 0, error(nil)
		for _, err := range errs {
			if err != nil {
				failed, last = failed+1, err
			}
		}
		if failed > 0 {
			s.failf("%d of %d half-closed visitors got no answer to %s: %v", failed, visitors, path, last)
		}
	}
}

func gone(ctx context.Context, s *site) {
	const ask = "GET /slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
	// The second of two is never answered: it hides that nothing more comes.
	s.leave(ctx, []string{ask, ask + ask})
}

func goneUploads(ctx context.Context, s *site) {
	s.leave(ctx, []string{"POST /deaf HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" + strings.Repeat("x", 200_000)})
}

// leave has visitors send something and leave, with FIN or with RST, and waits
// until p has noticed.
func (s *site) leave(ctx context.Context, texts []string) {
	t := s.target()
	for i := range visitors {
		left, leave := context.WithCancel(ctx)
		conn, err := t.visit(left, attackerAddr(0, 1), "http/1.1")
		if err != nil {
			s.failf("%v", err)
			leave()
			return
		}
		if tc, ok := conn.(interface{ NetConn() net.Conn }); ok && i%2 == 0 {
			tc.NetConn().(lined).SetLinger(-1) // FIN, as most do
		}
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		io.WriteString(conn, texts[i/2%len(texts)])
		conn.Close()
		leave()
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, maxServing)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	open := 0
	for {
		// The innocent visitor is there all the time, with a request now and then.
		if n, err := s.serving(ctx); err == nil {
			if open = n; n <= 3 && time.Since(began) > time.Second {
				s.notef("all of their requests had ended after %.1f s", time.Since(began).Seconds())
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.failf("%d requests are still open %v after their visitors left", open, maxServing)
			return
		}
	}
}

// withPasswords has p ask for names and passwords.
func withPasswords(s *site) error {
	const name, word = "innocent", "correct horse"
	hash, err := bcrypt.GenerateFromPassword([]byte(word), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "htpasswd")
	if err := os.WriteFile(file, []byte(name+":"+string(hash)+"\n"), 0o600); err != nil {
		return err
	}
	s.p.Args = append(s.p.Args, "--htpasswd", file)
	s.userinfo = name + ":" + word
	return nil
}

func guesses(ctx context.Context, t *target) {
	crowd(ctx, 64, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(i, 16))
		defer client.CloseIdleConnections()
		for n := 0; ; n++ {
			r, err := http.NewRequestWithContext(ctx, "GET", t.url("/"+smallFile), nil)
			if err != nil {
				return err
			}
			r.SetBasicAuth([]string{"innocent", "guilty"}[n%2], fmt.Sprint(i, n))
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			t.count(fmt.Sprintf("answers of %d", resp.StatusCode), 1)
		}
	})
}

const hugeFolderSize = 30_000 // hard links to one file: file systems have a limit

// hugeFolder makes a folder with many names.
func hugeFolder(s *site) error {
	dir := filepath.Join(s.root, "huge")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for i := range hugeFolderSize {
		if err := os.Link(filepath.Join(s.root, smallFile), filepath.Join(dir, fmt.Sprintf("file-%05d.bin", i))); err != nil {
			return err
		}
	}
	return nil
}

func listings(ctx context.Context, s *site) {
	t := s.target()
	client := t.visitor(ctx, attackerAddr(0, 1))
	defer client.CloseIdleConnections()
	first, err := process.CPU(s.cSide())
	if err == nil {
		err = t.get(ctx, client, "/huge/", math.MaxInt64)
	}
	before, err2 := process.CPU(s.cSide())
	if err := errors.Join(err, err2); err != nil {
		s.failf("%v", err)
		return
	}
	one := before - first
	const listings = 30
	left, leave := context.WithCancel(ctx)
	defer leave()
	for range listings {
		conn, err := t.visit(left, attackerAddr(0, 1), "http/1.1")
		if err != nil {
			s.failf("%v", err)
			return
		}
		fmt.Fprintf(conn, "GET /huge/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	// They have begun when one might have ended.
	select {
	case <-time.After(one / 2):
	case <-ctx.Done():
	}
	leave()
	// Until c uses next to nothing, but for the innocent visitor's requests.
	quiet := errors.New("c is busy")
	last := before
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for quiet != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.failf("c is still busy with listings that nobody waits for")
			return
		}
		now, err := process.CPU(s.cSide())
		if err != nil {
			s.failf("%v", err)
			return
		}
		if now-last < 100*time.Millisecond {
			quiet = nil
		}
		last = now
	}
	used := last - before
	s.notef("a listing costs c %.2f s of CPU, %d that are abandoned %.2f s", one.Seconds(), listings, used.Seconds())
	if used > 10*one+time.Second {
		s.failf("they go on when nobody waits for them")
	}
}

// growWindows reads so fast at first that windows grow, and then stops.
func growWindows(ctx context.Context, t *target) {
	crowd(ctx, 100, func(ctx context.Context, i int) error {
		conn, err := t.visit(ctx, attackerAddr(0, 1), "http/1.1")
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "GET /"+bigFile+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		n, err := io.CopyN(io.Discard, conn, 8<<20)
		t.count("bytes", n)
		if err != nil {
			return err
		}
		t.count("held", 1)
		if t.counter("held").Load() == 100 {
			t.ready()
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// What an innocent visitor's large download may take, on a line of lineDelay.
const (
	downloadSize = 16 << 20
	downloadWait = 5 * time.Second
)

// downloadOne is an innocent visitor's large download.
func downloadOne(ctx context.Context, s *site) {
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url("/"+bigFile), nil)
	if err != nil {
		s.failf("%v", err)
		return
	}
	resp, err := s.client(innocentAddr).Do(r)
	if err != nil {
		s.failf("an innocent download: %v", reason(err))
		return
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, downloadSize); err != nil {
		s.failf("an innocent download gets %.1f MB in %.1f s: %v", float64(n)/1e6, time.Since(began).Seconds(), reason(err))
		return
	}
	took := time.Since(began)
	s.notef("an innocent download of %d MB took %.1f s", downloadSize/1_000_000, took.Seconds())
	if took > downloadWait {
		s.failf("that is more than %v", downloadWait)
	}
}
