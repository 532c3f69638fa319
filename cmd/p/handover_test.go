//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// These tests run p as processes of its own: this test's program is p if the
// environment says so, for the successors that it starts, too.
func TestMain(m *testing.M) {
	if alive := os.Getenv("TEST_IS_P"); alive != "" {
		upgradetest.EndWith(alive)
		main()
	}
	os.Exit(m.Run())
}

// world is a p that runs, with all its successors, and a C in this process.
type world struct {
	*upgradetest.Program
	t       *testing.T
	program string // the file that it is started from
	env     []string
	front   string
	control string
	origins testlog.Buffer // what its Cs say
}

// startWorld starts p with args, and a C that serves h. wrap, if not nil, makes
// the command out of the program and its arguments.
func startWorld(t *testing.T, h http.Handler, wrap func(w *world, args []string) *exec.Cmd, args ...string) *world {
	t.Helper()
	w := &world{Program: upgradetest.New(t), t: t}
	ca := controltest.NewCA(t)
	ca.WriteCA(t, w.Dir, "ca.pem")
	controltest.Write(t, ca.Issue(t, "localhost", "127.0.0.1"), w.Dir, "p")
	w.Write("token", "sesame *\n")
	w.program = w.Path("p-program")
	w.install()
	args = append([]string{
		"--front", "127.0.0.1:0", "--control", "127.0.0.1:0", "--admin", "", "--cert", w.Path("p.pem"), "--key", w.Path("p.key"),
		"--token-file", w.Path("token"), "--pid-file", w.Path("pid"), "--drain", "60s",
	}, args...)
	cmd := exec.Command(w.program, args...)
	if wrap != nil {
		cmd = wrap(w, args)
	}
	cmd.Env = append(append(os.Environ(), "TEST_IS_P="+w.Alive()), w.env...)
	w.Start(cmd)
	w.wait("msg=\"p listens\"", 1)
	found := regexp.MustCompile(`front=(\S+) .*control=(\S+)`).FindStringSubmatch(w.Log())
	w.front, w.control = found[1], found[2]
	if h != nil {
		w.connect(h)
	}
	return w
}

// install puts a fresh copy of the program in the place of the one that was there. The
// system copies it: bytes that pass through this process are the race detector's, too.
func (w *world) install() {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	from, err := os.Open(exe)
	if err != nil {
		w.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(w.program+".new", os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Rename(to.Name(), w.program)); err != nil {
		w.t.Fatal(err)
	}
}

// wait returns when part was logged n times in all.
func (w *world) wait(part string, n int) {
	w.t.Helper()
	upgradetest.WaitFor(w.t, fmt.Sprintf("%q %d times in p's log", part, n), func() bool { return w.Logged(part) >= n })
}

// handOver has the next process take over, the n-th.
func (w *world) handOver(n int) {
	w.t.Helper()
	w.Signal(w.PID(), syscall.SIGUSR2)
	w.wait("another process has taken over", n)
	upgradetest.WaitFor(w.t, "the pid file", func() bool { return w.InFile() == w.PID() })
}

// connect runs a C.
func (w *world) connect(h http.Handler) {
	w.t.Helper()
	a, err := agent.New(agent.Config{
		Proxies: []string{w.control}, Handler: h, Drain: time.Second, Logger: slog.New(slog.NewTextHandler(&w.origins, nil)),
		Load: func() (agent.Identity, error) {
			conf, err := control.ClientTLS{CAFile: w.Path("ca.pem"), ServerName: "localhost"}.Load()
			return agent.Identity{Token: "sesame", TLS: conf}, err
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// Ends in the cleanup.
	go func() { a.Run(ctx, ctx); close(done) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// client is a visitor's connection, which is used for as long as it lasts. It sends
// nothing twice.
type client struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

// get asks for a path, and returns what is wrong.
func (c *client) get(path, want string) error {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	c.conn.SetDeadline(time.Now().Add(upgradetest.Patience))
	if _, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 || string(body) != want {
		return fmt.Errorf("got %d %.100q, %v; want %q", resp.StatusCode, body, err, want)
	}
	if resp.Close {
		c.close()
	}
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// origin answers with the path, and streams of which the test says when they end.
type origin struct {
	end     chan struct{} // closed to end the streams
	streams atomic.Int32
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/stream" {
		io.WriteString(w, "hello "+r.URL.Path)
		return
	}
	io.WriteString(w, "begin ")
	http.NewResponseController(w).Flush()
	o.streams.Add(1)
	select {
	case <-o.end:
		io.WriteString(w, "end")
	case <-r.Context().Done():
	}
}

// visit has four visitors come, two of whom stay on a connection for as long as it lasts,
// until leave is called, which waits for them. asked counts their requests; one that fails
// is an error of the test.
func (w *world) visit() (asked *atomic.Int64, leave func()) {
	t, stop := w.t, make(chan struct{})
	asked = new(atomic.Int64)
	var visitors sync.WaitGroup
	for i := range 4 {
		// Ends when stop is closed; waited for below.
		visitors.Go(func() {
			c := &client{addr: w.front}
			defer c.close()
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pause.C:
				}
				if err := c.get("/x", "hello /x"); err != nil {
					t.Errorf("visitor %d: %v", i, err)
					return
				}
				asked.Add(1)
				if i%2 == 1 {
					c.close()
				}
			}
		})
	}
	return asked, func() { close(stop); visitors.Wait() }
}

// Nobody sees that P was replaced, by a file that lies in the place of its own by
// now, again and again: not who asks on a connection that stays, nor by one for
// each request, nor who is in the middle of a download.
func TestHandOver(t *testing.T) {
	o := &origin{end: make(chan struct{})}
	w := startWorld(t, o, nil)
	asked, leave := w.visit()
	upgradetest.WaitFor(t, "requests", func() bool { return asked.Load() > 20 })
	if w.InFile() != w.PID() {
		t.Errorf("the pid file has %d, want %d", w.InFile(), w.PID())
	}
	downloads := make(chan error, 3)
	for n := 1; n <= 3; n++ {
		// Ends with the stream; waited for below.
		go func() { downloads <- (&client{addr: w.front}).get("/stream", "begin end") }()
		upgradetest.WaitFor(t, "a download", func() bool { return o.streams.Load() == int32(n) })
		w.install()
		before := asked.Load()
		w.handOver(n)
		upgradetest.WaitFor(t, "requests", func() bool { return asked.Load() > before+50 })
	}
	if pids := w.PIDs(); len(pids) != 4 {
		t.Errorf("the processes were %v, want 4", pids)
	} else if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", w.PID())); err == nil && exe != w.program {
		t.Errorf("the last one runs %s, want the file that lies there now", exe)
	}
	// The first ones are still there for the downloads.
	close(o.end)
	for range 3 {
		if err := <-downloads; err != nil {
			t.Errorf("a download: %v", err)
		}
	}
	leave()
	if err := <-w.Ended; err != nil {
		t.Errorf("the first process ended with %v, want status 0", err)
	}
	if w.InFile() != w.PID() {
		t.Errorf("the pid file has %d, want %d", w.InFile(), w.PID())
	}
	w.Signal(w.PID(), syscall.SIGTERM)
	upgradetest.WaitFor(t, "the end of the pid file", func() bool { return w.InFile() == 0 })
	if n := w.Logged("level=ERROR") + w.Logged("level=WARN"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// A new process that cannot start leaves the old one as it was, and there is
// another try.
func TestHandOverFails(t *testing.T) {
	w := startWorld(t, &origin{}, nil)
	c := &client{addr: w.front}
	defer c.close()
	ask := func() {
		t.Helper()
		if err := c.get("/x", "hello /x"); err != nil {
			t.Error(err)
		}
	}
	ask()
	w.Write("token", "broken\n")
	w.Signal(w.PID(), syscall.SIGUSR2)
	w.wait("the hand-over failed, this process goes on", 1)
	if w.Logged("exit status 2") != 1 || w.Logged("line 1: a token without a name") != 1 {
		t.Error("it is not said why")
	}
	ask()
	w.Write("token", "sesame *\n")
	w.handOver(1)
	ask()
}

// A hand-over of one that has done so is refused; its successor hands over at once,
// whatever the first one still has to do.
func TestHandOverDuringDrain(t *testing.T) {
	o := &origin{end: make(chan struct{})}
	w := startWorld(t, o, nil)
	download := make(chan error, 1)
	// Ends with the stream; waited for below.
	go func() { download <- (&client{addr: w.front}).get("/stream", "begin end") }()
	upgradetest.WaitFor(t, "a download", func() bool { return o.streams.Load() == 1 })
	w.handOver(1)
	w.Signal(w.PIDs()[0], syscall.SIGUSR2)
	w.wait("no hand-over: another process has taken over already", 1)
	w.handOver(2)
	close(o.end)
	if err := <-download; err != nil {
		t.Error(err)
	}
}

// SIGTERM in the middle of a hand-over ends both processes. A second SIGUSR2 in the
// middle waits.
func TestStopDuringHandOver(t *testing.T) {
	w := startWorld(t, &origin{}, nil)
	// The new process reads its tokens until somebody has written some.
	if err := os.Remove(w.Path("token")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(w.Path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Signal(w.PID(), syscall.SIGUSR2)
	w.wait("a new process is started", 1)
	w.Signal(w.PID(), syscall.SIGUSR2)
	if err := (&client{addr: w.front}).get("/x", "hello /x"); err != nil {
		t.Error(err)
	}
	w.Signal(w.PID(), syscall.SIGTERM)
	if err := <-w.Ended; err != nil {
		t.Errorf("p ended with %v, want status 0, and no other process", err)
	}
	if n := w.Logged("this process goes on"); n != 1 {
		t.Errorf("%d hand-overs were begun, want one", n)
	}
	if w.InFile() != 0 {
		t.Error("the pid file is still there")
	}
	if conn, err := net.Dial("tcp", w.front); err == nil {
		conn.Close()
		t.Error("somebody still listens")
	}
}

// A program that leaves others behind when it is ended holds up neither a hand-over
// nor the end.
func TestHandOverToOneThatStartsOthers(t *testing.T) {
	w := startWorld(t, nil, nil)
	script := fmt.Sprintf("#!/bin/sh\nsleep 100 &\necho $! >%[1]s.new\nmv %[1]s.new %[1]s\nwait\n", w.Path("other"))
	if err := os.Remove(w.program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	w.Signal(w.PID(), syscall.SIGUSR2)
	upgradetest.WaitFor(t, "the other process", func() bool { _, err := os.Stat(w.Path("other")); return err == nil })
	b, err := os.ReadFile(w.Path("other"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(other, syscall.SIGKILL)
	w.Signal(w.PID(), syscall.SIGTERM)
	select {
	case err := <-w.Ended:
		if err != nil {
			t.Errorf("p ended with %v, want status 0", err)
		}
	case <-time.After(upgradetest.Patience):
		t.Error("p does not end")
	}
}

// What the configuration file says of origins is read again at SIGHUP, by a process that
// has taken over, too; a bad file changes nothing.
func TestReloadReadsTheConfiguration(t *testing.T) {
	w := startWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }), func(w *world, args []string) *exec.Cmd {
		w.Write("p.toml", "")
		return exec.Command(w.program, append(args, "--config", w.Path("p.toml"))...)
	})
	visitor := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(what string, status int) {
		t.Helper()
		resp, err := visitor.Get("http://" + w.front + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: got %d, want %d", what, resp.StatusCode, status)
		}
	}
	reload := func(text, line string, n int) {
		t.Helper()
		w.Write("p.toml", text)
		w.Signal(w.PID(), syscall.SIGHUP)
		w.wait(line, n)
	}
	const read, failed = "tokens and passwords were read again", "reload failed, what was read before stays in use"
	const denies = "[[origin]]\nname = '@'\ndeny = ['127.0.0.0/8']\n"
	ask("without a table", 200)
	reload(denies, read, 1)
	ask("with a table", 403)
	reload("[[origin]]\nname = '@'\ndney = []\n", failed, 1)
	ask("with a bad file", 403)
	reload("", read, 2)
	ask("without it again", 200)
	w.handOver(1)
	if err := <-w.Ended; err != nil { // both listen until then
		t.Errorf("the old process ended with %v", err)
	}
	reload(denies, read, 3)
	ask("of the next process", 403)
}

// Who asks the process that it knows to read its files again means the program: a
// token that is gone is gone for the successor that had read the file before, too,
// whether that has taken over already or not.
func TestReloadDuringHandOver(t *testing.T) {
	o := &origin{end: make(chan struct{})}
	w := startWorld(t, o, nil)
	download := make(chan error, 1)
	// Ends with the stream; waited for below.
	go func() { download <- (&client{addr: w.front}).get("/stream", "begin end") }()
	upgradetest.WaitFor(t, "a download", func() bool { return o.streams.Load() == 1 })

	// The new process reads its tokens until somebody has written some.
	if err := os.Remove(w.Path("token")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(w.Path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := w.PID()
	w.Signal(old, syscall.SIGUSR2)
	fifo, err := os.OpenFile(w.Path("token"), os.O_WRONLY, 0) // returns when it reads
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	w.Write("new", "sesame *\n")
	if err := os.Rename(w.Path("new"), w.Path("token")); err != nil {
		t.Fatal(err)
	}
	const read = "tokens and passwords were read again"
	w.Signal(old, syscall.SIGHUP)
	w.wait(read, 1)
	io.WriteString(fifo, "sesame *\nrevoked *\n")
	fifo.Close()
	w.wait("another process has taken over", 1)
	w.wait(read, 2)

	w.Signal(old, syscall.SIGHUP)
	w.wait(read, 4)
	close(o.end)
	if err := <-download; err != nil {
		t.Error(err)
	}
}
