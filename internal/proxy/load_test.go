package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The tests below run the two programs and measure them. They take minutes, so
// that they are asked for:
//
//	SPDY_PROXY_LOAD=1 go test ./internal/proxy -run Load -v

// programs are p and c as they are built, in a folder of their own.
type programs struct {
	t     *testing.T
	files *files
	dir   string
	env   []string

	front, control, admin string // addresses
}

func newPrograms(t *testing.T) *programs {
	t.Helper()
	if os.Getenv("SPDY_PROXY_LOAD") == "" {
		t.Skip("a measurement: set SPDY_PROXY_LOAD=1")
	}
	g := &programs{t: t, files: newFiles(t), dir: t.TempDir(), env: append(os.Environ(), "SPDY_PROXY_TOKEN=good-token *")}
	for _, name := range []string{"p", "c"} {
		build := exec.Command("go", "build", "-o", filepath.Join(g.dir, name), "github.com/amahi/spdy-proxy/cmd/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return g
}

// start runs a program; its standard error goes to the journal.
func (g *programs) start(log *journal, name string, args ...string) *exec.Cmd {
	g.t.Helper()
	cmd := exec.Command(filepath.Join(g.dir, name), args...)
	cmd.Env, cmd.Stderr = g.env, log
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

// startP runs p on ports that the system chooses, which its first line says.
func (g *programs) startP(args ...string) *exec.Cmd {
	g.t.Helper()
	log := newJournal(g.t, "p")
	cmd := g.start(log, "p", append([]string{"--front", "127.0.0.1:0", "--control", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--cert", g.files.path("p.pem"), "--key", g.files.path("p.key"), "--log-format", "json"}, args...)...)
	log.wait("p listens", 1)
	var line struct{ Front, Control, Admin string }
	if err := json.NewDecoder(strings.NewReader(log.String())).Decode(&line); err != nil {
		g.t.Fatal(err)
	}
	g.front, g.control, g.admin = line.Front, line.Control, line.Admin
	return cmd
}

// startC runs c and returns when it is connected.
func (g *programs) startC(args ...string) *exec.Cmd {
	g.t.Helper()
	log := newJournal(g.t, "c")
	cmd := g.start(log, "c", append([]string{"--proxy", g.control, "--ca", g.files.path("ca.pem"), "--server-name", "localhost"}, args...)...)
	log.wait("msg=connected", 1)
	return cmd
}

func (g *programs) metric(name string) string {
	g.t.Helper()
	res, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return v
		}
	}
	return ""
}

// status reads a line of /proc/PID/status.
func status(t *testing.T, cmd *exec.Cmd, key string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Skip("this system does not tell: ", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.Atoi(strings.Fields(v)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s", key)
	return 0
}

// 200 GETs a second while c is restarted ten times: by SIGTERM and by kill -9
// no request fails, and no body is wrong.
func TestLoadRestarts(t *testing.T) {
	for _, c := range []struct {
		name string
		sig  syscall.Signal
		size int
	}{
		{"SIGTERM small bodies", syscall.SIGTERM, 10_000}, {"SIGTERM 1 MB bodies", syscall.SIGTERM, 1_000_000},
		{"kill -9 small bodies", syscall.SIGKILL, 10_000}, {"kill -9 1 MB bodies", syscall.SIGKILL, 1_000_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newPrograms(t)
			g.startP()
			root := t.TempDir()
			content := pattern(c.size)
			if err := os.WriteFile(filepath.Join(root, "f.bin"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			origin := g.startC("--root", root)
			rt := transport(t, nil, false).(*http.Transport)
			rt.MaxIdleConnsPerHost = 1000
			var sent, fine, wrong, status5, broken atomic.Int32
			var worst atomic.Int64
			stop := make(chan struct{})
			var running sync.WaitGroup
			one := func() {
				start := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				a := fetch(ctx, rt, "GET", "http://"+g.front+"/f.bin", nil, nil)
				if d := int64(time.Since(start)); d > worst.Load() {
					worst.Store(d)
				}
				switch {
				case a.err != nil:
					broken.Add(1)
					t.Logf("broken: %v", a)
				case a.status != 200:
					status5.Add(1)
					t.Logf("status: %v", a)
				case !bytes.Equal(a.body, content):
					wrong.Add(1)
				default:
					fine.Add(1)
				}
			}
			running.Go(func() { // ends at stop, and when its requests have; waited for below
				tick := time.NewTicker(5 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						sent.Add(1)
						running.Go(one) // ends with its answer, waited for below
					}
				}
			})
			pause := time.NewTicker(time.Second)
			defer pause.Stop()
			for range 10 {
				<-pause.C
				origin.Process.Signal(c.sig)
				if c.sig == syscall.SIGTERM {
					// A new process at once, as a service manager does it.
					old := origin
					origin = g.startC("--root", root)
					if err := old.Wait(); err != nil {
						t.Errorf("c: %v, want exit status 0", err)
					}
				} else {
					origin.Wait()
					origin = g.startC("--root", root)
				}
			}
			<-pause.C
			close(stop)
			running.Wait()
			t.Logf("%d GETs: %d fine, %d broken, %d refused, %d wrong bodies; %s replayed, %s resumed; the slowest took %v",
				sent.Load(), fine.Load(), broken.Load(), status5.Load(), wrong.Load(),
				g.metric(`spdy_proxy_replayed_total{origin="@"}`), g.metric(`spdy_proxy_resumed_total{origin="@"}`), time.Duration(worst.Load()).Round(time.Millisecond))
			if wrong.Load() > 0 || status5.Load() > 0 || broken.Load() > 0 {
				t.Error("want every answer whole and right")
			}
		})
	}
}

// 5 000 slow readers of one big file, through one session.
func TestLoadSlowReaders(t *testing.T) {
	g := newPrograms(t)
	proxy := g.startP()
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.WriteFile(filepath.Join(root, "small.bin"), pattern(1_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := g.startC("--root", root)
	idleP, idleC := status(t, proxy, "VmRSS"), status(t, origin, "VmRSS")

	const readers = 5000
	conns := make([]net.Conn, 0, readers)
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	for range readers {
		conn, err := net.Dial("tcp", g.front)
		if err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).SetReadBuffer(4096)
		conns = append(conns, conn)
		if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "all under way", func() bool {
		return g.metric(`spdy_proxy_streams_in_flight{origin="@"}`) == strconv.Itoa(readers)
	})
	// Each takes a little now and then, as a slow one does.
	buf := make([]byte, 2048)
	for range 5 {
		for _, c := range conns {
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	a := fetch(deadline(t), transport(t, nil, false), "GET", "http://"+g.front+"/small.bin", nil, nil)
	if a.err != nil || a.status != 200 || len(a.body) != 1_000_000 {
		t.Errorf("a fast download beside them: got %v", a)
	}
	t.Logf("1 MB beside them took %v", time.Since(start).Round(time.Millisecond))
	p, c := status(t, proxy, "VmRSS"), status(t, origin, "VmRSS")
	t.Logf("%d open slow requests: p %d MB (idle %d MB, %d KB each; peak %d MB), c %d MB (idle %d MB, %d KB each; peak %d MB); sessions: %s",
		readers, p>>10, idleP>>10, (p-idleP)/readers, status(t, proxy, "VmHWM")>>10,
		c>>10, idleC>>10, (c-idleC)/readers, status(t, origin, "VmHWM")>>10, g.metric(`spdy_proxy_sessions{origin="@"}`))
	// A window of 64 KiB, the server's buffers and two goroutines each.
	if limit := (idleP + readers*160); p > limit {
		t.Errorf("p holds %d KB, want at most %d KB", p, limit)
	}
}
