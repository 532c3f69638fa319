//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// This test's program is c if the environment says so, for the successors that it
// starts, too.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_IS_C") != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// world is a P in this process, and a c that runs beside it, with its successors.
type world struct {
	t     *testing.T
	dir   string
	front string
	plog  testlog.Buffer
	cmd   *exec.Cmd
	ended chan error // of cmd
}

func startWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	ca := controltest.NewCA(t)
	caFile := ca.WriteCA(t, w.dir, "ca.pem")
	cert, key := controltest.Write(t, ca.Issue(t, "localhost", "127.0.0.1"), w.dir, "p")
	w.write("token", "sesame *\n")
	p, err := proxy.New(proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFile: cert, KeyFile: key,
		Tokens: control.TokenSource{File: w.path("token")}, Hold: patience, Drain: patience,
		Logger: slog.New(slog.NewTextHandler(&w.plog, nil)),
	})
	if err == nil {
		err = p.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.front = "http://" + p.FrontAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// Ends in the cleanup.
	go func() { p.Run(ctx, ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })

	if err := os.Mkdir(w.path("root"), 0o700); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.cmd = exec.Command(exe, append([]string{
		"--proxy", p.ControlAddr().String(), "--ca", caFile, "--token-file", w.path("token"), "--root", w.path("root"),
		"--pid-file", w.path("pid"), "--drain", "60s",
	}, args...)...)
	w.cmd.Env = append(os.Environ(), "TEST_IS_C=1")
	log, err := os.Create(w.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w.cmd.Stderr = log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Ends with the process, which the cleanup ends.
	go func() { w.ended <- w.cmd.Wait() }()
	t.Cleanup(func() {
		for _, pid := range w.pids() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("c's log:\n%s\np's log:\n%s", w.log(), &w.plog)
		}
	})
	waitFor(t, "c", func() bool { return w.logged("msg=connected") >= 1 })
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// log is what all processes have printed.
func (w *world) log() string {
	b, err := os.ReadFile(w.path("log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// logged returns how often part was printed.
func (w *world) logged(part string) int { return strings.Count(w.log(), part) }

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

var pidLine = regexp.MustCompile(`taken over, .* pid=(\d+)`)

// pids are those of the processes, in their order.
func (w *world) pids() []int {
	pids := []int{w.cmd.Process.Pid}
	for _, m := range pidLine.FindAllStringSubmatch(w.log(), -1) {
		pid, _ := strconv.Atoi(m[1])
		pids = append(pids, pid)
	}
	return pids
}

// pid is that of the process that is c now.
func (w *world) pid() int { pids := w.pids(); return pids[len(pids)-1] }

// inFile is what the pid file says, 0 if there is none.
func (w *world) inFile() int {
	b, _ := os.ReadFile(w.path("pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (w *world) signal(pid int, sig syscall.Signal) {
	w.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		w.t.Fatal(err)
	}
}

// get asks for a path once.
func (w *world) get(path string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", w.front+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(req)
}

// whole returns what is wrong with a file that is got.
func (w *world) whole(path string, want []byte) error {
	resp, err := w.get(path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, want) {
		return fmt.Errorf("got %d, %d bytes, %v; want 200 and %d bytes", resp.StatusCode, len(body), err, len(want))
	}
	return nil
}

// Nobody sees that c was replaced, again and again: neither who asks for something
// small, nor who is in the middle of a download, which the old process finishes.
func TestHandOver(t *testing.T) {
	w := startWorld(t, "--connections", "2")
	small, large := []byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	w.write("root/small", string(small))
	w.write("root/large", string(large))
	stop := make(chan struct{})
	var asked atomic.Int64
	var visitors sync.WaitGroup
	for range 3 {
		// Ends when stop is closed; waited for below.
		visitors.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pause.C:
				}
				if err := w.whole("/small", small); err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	waitFor(t, "requests", func() bool { return asked.Load() > 20 })
	for n := 1; n <= 3; n++ {
		resp, err := w.get("/large")
		if err != nil {
			t.Fatal(err)
		}
		begin := make([]byte, 64<<10)
		if _, err := io.ReadFull(resp.Body, begin); err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		old := w.pid()
		w.signal(old, syscall.SIGUSR2)
		waitFor(t, "a hand-over", func() bool { return w.pid() != old && w.inFile() == w.pid() })
		waitFor(t, "requests", func() bool { return asked.Load() > before+50 })
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(append(begin, rest...), large) {
			t.Errorf("the download of before: %d bytes, %v", len(begin)+len(rest), err)
		}
	}
	close(stop)
	visitors.Wait()
	if err := <-w.ended; err != nil {
		t.Errorf("the first process ended with %v, want status 0", err)
	}
	// Of the two of each hand-over, those that P has not dropped for their silence, as
	// it may on a machine that has much to do.
	if n := w.plog.Count("replaced by a newer connection") + w.plog.Count("does not answer"); n < 6 {
		t.Errorf("P replaced %d connections, want the two of each hand-over", n)
	}
	if n := w.logged("level=ERROR"); n != 0 {
		t.Errorf("%d errors", n)
	}
	w.signal(w.pid(), syscall.SIGTERM)
	waitFor(t, "the end of the pid file", func() bool { return w.inFile() == 0 })
}

// A new process that cannot start leaves the old one as it was.
func TestHandOverFails(t *testing.T) {
	w := startWorld(t)
	w.write("root/small", "hello")
	if err := os.Rename(w.path("ca.pem"), w.path("ca.away")); err != nil {
		t.Fatal(err)
	}
	w.signal(w.pid(), syscall.SIGUSR2)
	waitFor(t, "the failure", func() bool { return w.logged("the hand-over failed, this process goes on") == 1 })
	if err := w.whole("/small", []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := os.Rename(w.path("ca.away"), w.path("ca.pem")); err != nil {
		t.Fatal(err)
	}
	old := w.pid()
	w.signal(old, syscall.SIGUSR2)
	waitFor(t, "a hand-over", func() bool { return w.pid() != old })
	if err := w.whole("/small", []byte("hello")); err != nil {
		t.Error(err)
	}
}
