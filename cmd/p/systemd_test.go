//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// manager is systemd's end of its protocol.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

// next returns what it is told next, the watchdog's food aside.
func (m *manager) next() string {
	m.t.Helper()
	for {
		if text := m.any(upgradetest.Patience); text != "WATCHDOG=1" {
			return text
		}
	}
}

// any returns what it is told next, "" if that is nothing for d.
func (m *manager) any(d time.Duration) string {
	buf := make([]byte, 4096)
	m.conn.SetReadDeadline(time.Now().Add(d))
	n, err := m.conn.Read(buf)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(buf[:n]))
}

func (m *manager) want(text string) {
	m.t.Helper()
	if got := m.next(); got != text {
		m.t.Fatalf("systemd was told %q, want %q", got, text)
	}
}

// wantReloading is a want with the time, of which systemd needs to know that it is
// later than its own request.
func (m *manager) wantReloading(since time.Duration) {
	m.t.Helper()
	got := m.next()
	us, ok := strings.CutPrefix(got, "RELOADING=1\nMONOTONIC_USEC=")
	n, err := strconv.ParseInt(us, 10, 64)
	if !ok || err != nil || time.Duration(n)*time.Microsecond < since || time.Duration(n)*time.Microsecond > monotonic(m.t) {
		m.t.Fatalf("systemd was told %q, want RELOADING=1 with a time after %v", got, since)
	}
}

func monotonic(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano()).Truncate(time.Microsecond)
}

// What systemd is told from the start to the end, with a reload, a hand-over that
// fails, one that does not, and what the watchdog gets meanwhile.
func TestSystemdIsTold(t *testing.T) {
	m := newManager(t)
	w := startWorld(t, nil, func(w *world, args []string) *exec.Cmd {
		w.env = []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=600000"}
		return exec.Command("/bin/sh", append([]string{"-c", `WATCHDOG_PID=$$ exec "$0" "$@"`, w.program}, args...)...)
	})
	m.want("READY=1")
	food := func() {
		t.Helper()
		upgradetest.WaitFor(t, "the watchdog's food", func() bool { return m.any(upgradetest.Patience) == "WATCHDOG=1" })
	}
	food()

	before := monotonic(t)
	w.Signal(w.PID(), syscall.SIGHUP)
	m.wantReloading(before)
	m.want("READY=1")

	w.Write("token", "broken\n")
	before = monotonic(t)
	w.Signal(w.PID(), syscall.SIGUSR2)
	m.wantReloading(before)
	m.want("READY=1")

	w.Write("token", "sesame *\n")
	before = monotonic(t)
	old := w.PID()
	w.Signal(old, syscall.SIGUSR2)
	m.wantReloading(before)
	text := m.next()
	upgradetest.WaitFor(t, "the new process", func() bool { return w.PID() != old })
	if want := fmt.Sprintf("MAINPID=%d\nREADY=1", w.PID()); text != want {
		t.Fatalf("systemd was told %q, want %q", text, want)
	}
	if err := <-w.Ended; err != nil {
		t.Errorf("the old process ended with %v", err)
	}
	food() // the new one's

	w.Signal(w.PID(), syscall.SIGTERM)
	m.want("STOPPING=1")
	if text := m.any(time.Second); text != "" && text != "WATCHDOG=1" {
		t.Errorf("after the end systemd was told %q", text)
	}
}

// The ports are systemd's, by their names, and the flags' addresses do not count;
// also for a successor.
func TestSocketActivation(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("there is no systemd-socket-activate")
	}
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	front, control := free(), free()
	poked := make(chan struct{})
	w := startWorld(t, &origin{}, func(w *world, args []string) *exec.Cmd {
		// It starts the program at the first connection.
		go func() { // ends when somebody listens
			defer close(poked)
			for range 1000 {
				if conn, err := net.Dial("tcp", control); err == nil {
					conn.Close()
					return
				}
				<-time.After(10 * time.Millisecond)
			}
		}()
		return exec.Command(activate, append([]string{"-l", front, "-l", control, "--fdname=front:control", "-E", "TEST_IS_P=" + w.Alive(), w.program}, args...)...)
	})
	<-poked
	if w.front != front || w.control != control {
		t.Fatalf("p listens on %s and %s, want %s and %s", w.front, w.control, front, control)
	}
	c := &client{addr: front}
	defer c.close()
	for n := 1; n <= 2; n++ {
		if err := c.get("/x", "hello /x"); err != nil {
			t.Error(err)
		}
		w.handOver(n)
	}
	if err := c.get("/x", "hello /x"); err != nil {
		t.Error(err)
	}
}

// socket is one that systemd would have: of a port that listens until the test ends.
func socket(t *testing.T) *os.File {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Who restarts a P whose ports systemd has, one that has taken over, too, sees nobody
// refused: who comes while it stops is the next one's, visitors and Cs alike.
func TestRestartBehindSockets(t *testing.T) {
	var sockets []*os.File // systemd's
	for range 2 {
		sockets = append(sockets, socket(t))
	}
	start := func(w *world, args []string) *exec.Cmd {
		w.env = []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=front:control"}
		cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, w.program}, args...)...)
		cmd.ExtraFiles = sockets
		return cmd
	}
	o := &origin{end: make(chan struct{})}
	var args []string
	w := startWorld(t, o, func(w *world, a []string) *exec.Cmd { args = a; return start(w, a) })
	asked, leave := w.visit()
	w.handOver(1)
	if err := <-w.Ended; err != nil {
		t.Errorf("the first process ended with %v", err)
	}
	download := make(chan error, 1)
	// Ends with the stream; waited for below.
	go func() { download <- (&client{addr: w.front}).get("/stream", "begin end") }()
	upgradetest.WaitFor(t, "a download", func() bool { return o.streams.Load() == 1 })
	w.Signal(w.PID(), syscall.SIGTERM)
	w.wait("p is stopping", 2)
	w.connect(o) // comes while it stops
	close(o.end)
	if err := <-download; err != nil {
		t.Error(err)
	}
	upgradetest.WaitFor(t, "the end of the pid file", func() bool { return w.InFile() == 0 })

	next := start(w, args)
	next.Env = append(append(os.Environ(), "TEST_IS_P="+w.Alive()), w.env...)
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	defer next.Wait()
	defer next.Process.Kill()
	before := asked.Load()
	upgradetest.WaitFor(t, "requests", func() bool { return asked.Load() > before+50 })
	leave()
	if n := w.origins.Count("answered 503 "); n != 0 {
		t.Errorf("Cs were refused %d times:\n%s", n, &w.origins)
	}
}

// A socket of a name that there is not, or twice, is said in one line.
func TestBadSockets(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, alive := socket(t), upgradetest.New(t).Alive()
	for names, want := range map[string]string{
		"p.socket:front": `systemd hands over a socket named "p.socket": give it one of the names front, control, admin`,
		"front:front":    `systemd hands over two sockets named "front"`,
		"front":          `systemd hands over a socket named ""`,
	} {
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, exe)
		cmd.Env = append(os.Environ(), "TEST_IS_P="+alive, "LISTEN_FDS=2", "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = []*os.File{f, f}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q; want status 2 and one line with %q", names, err, out, want)
		}
	}
	// What is another process's is nobody's business.
	cmd := exec.Command(exe, "--cert", "/nowhere")
	cmd.Env = append(os.Environ(), "TEST_IS_P="+alive, "LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=other")
	if out, _ := cmd.CombinedOutput(); !regexp.MustCompile(`^p: .*/nowhere`).Match(out) {
		t.Errorf("with another process's sockets p says %q", out)
	}
}
