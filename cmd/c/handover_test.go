//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/testlog"
	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// This test's program is c if the environment says so, for the successors that it
// starts, too.
func TestMain(m *testing.M) {
	if alive := os.Getenv("TEST_IS_C"); alive != "" {
		upgradetest.EndWith(alive)
		main()
	}
	os.Exit(m.Run())
}

// world is a P in this process, and a c that runs beside it, with its successors.
type world struct {
	*upgradetest.Program
	t       *testing.T
	front   string
	control string // the address
	plog    testlog.Buffer
}

// startWorld has c serve the folder "root".
func startWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := newWorld(t)
	if err := os.Mkdir(w.Path("root"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.start(append([]string{"--root", w.Path("root")}, args...)...)
	upgradetest.WaitFor(t, "c", func() bool { return w.Logged("msg=connected") >= 1 })
	return w
}

// newWorld starts P, without a c.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Program: upgradetest.New(t), t: t}
	ca := controltest.NewCA(t)
	ca.WriteCA(t, w.Dir, "ca.pem")
	cert, key := controltest.Write(t, ca.Issue(t, "localhost", "127.0.0.1"), w.Dir, "p")
	w.Write("token", "sesame *\n")
	p, err := proxy.New(proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFiles: []string{cert}, KeyFiles: []string{key},
		Domains: []string{"example.test"}, Tokens: control.TokenSource{File: w.Path("token")}, Hold: upgradetest.Patience, Drain: upgradetest.Patience,
		Logger: slog.New(slog.NewTextHandler(&w.plog, nil)),
	})
	if err == nil {
		err = p.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.front, w.control = "http://"+p.FrontAddr().String(), p.ControlAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// Ends in the cleanup.
	go func() { p.Run(ctx, ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("p's log:\n%s", &w.plog)
		}
	})

	return w
}

// start starts c, which connects to P and has a file with its id.
func (w *world) start(args ...string) {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{
		"--proxy", w.control, "--ca", w.Path("ca.pem"), "--token-file", w.Path("token"), "--pid-file", w.Path("pid"), "--drain", "60s",
	}, args...)...)
	cmd.Env = append(os.Environ(), "TEST_IS_C="+w.Alive())
	w.Start(cmd)
}

// get asks for a path once, of the default origin.
func (w *world) get(path string) (*http.Response, error) { return w.getFrom("", path) }

// getFrom asks for a path of what host leads to.
func (w *world) getFrom(host, path string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), upgradetest.Patience)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", w.front+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
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
	small, large := []byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	w.Write("root/small", string(small))
	w.Write("root/large", string(large))
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
	upgradetest.WaitFor(t, "requests", func() bool { return asked.Load() > 20 })
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
		old := w.PID()
		w.Signal(old, syscall.SIGUSR2)
		upgradetest.WaitFor(t, "a hand-over", func() bool { return w.PID() != old && w.InFile() == w.PID() })
		upgradetest.WaitFor(t, "requests", func() bool { return asked.Load() > before+50 })
		// Of its size from the start: as a buffer grows, the race detector looks at each byte again.
		body := bytes.NewBuffer(make([]byte, 0, len(large)+bytes.MinRead))
		body.Write(begin)
		_, err = body.ReadFrom(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(body.Bytes(), large) {
			t.Errorf("the download of before: %d bytes, %v", body.Len(), err)
		}
	}
	close(stop)
	visitors.Wait()
	if err := <-w.Ended; err != nil {
		t.Errorf("the first process ended with %v, want status 0", err)
	}
	// Of the two of each hand-over, those that P has not dropped for their silence, as
	// it may on a machine that has much to do.
	if n := w.plog.Count("replaced by a newer connection") + w.plog.Count("does not answer"); n < 6 {
		t.Errorf("P replaced %d connections, want the two of each hand-over", n)
	}
	if n := w.Logged("level=ERROR"); n != 0 {
		t.Errorf("%d errors", n)
	}
	w.Signal(w.PID(), syscall.SIGTERM)
	upgradetest.WaitFor(t, "the end of the pid file", func() bool { return w.InFile() == 0 })
}

// A new process that cannot start leaves the old one as it was.
func TestHandOverFails(t *testing.T) {
	w := startWorld(t)
	w.Write("root/small", "hello")
	if err := os.Rename(w.Path("ca.pem"), w.Path("ca.away")); err != nil {
		t.Fatal(err)
	}
	w.Signal(w.PID(), syscall.SIGUSR2)
	upgradetest.WaitFor(t, "the failure", func() bool { return w.Logged("the hand-over failed, this process goes on") == 1 })
	if err := w.whole("/small", []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := os.Rename(w.Path("ca.away"), w.Path("ca.pem")); err != nil {
		t.Fatal(err)
	}
	old := w.PID()
	w.Signal(old, syscall.SIGUSR2)
	upgradetest.WaitFor(t, "a hand-over", func() bool { return w.PID() != old })
	if err := w.whole("/small", []byte("hello")); err != nil {
		t.Error(err)
	}
}

// One c serves several origins, each with connections of its own, and all of them
// are handed over, read their files again and stop as one does.
func TestSeveralOrigins(t *testing.T) {
	w := newWorld(t)
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "the service") }))
	defer service.Close()
	for _, dir := range []string{"a", "photos"} {
		if err := os.Mkdir(w.Path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		w.Write(dir+"/file", "of "+dir)
	}
	w.Write("c.toml", fmt.Sprintf("connections = 2\nno-listing = true\n[[origin]]\nroot = %q\nno-listing = false\n"+
		"[[origin]]\nname = 'Photos'\nroot = %q\n[[origin]]\nname = 'wiki'\nto = %q\nno-listing = false\n", w.Path("a"), w.Path("photos"), service.URL))
	w.start("--config", w.Path("c.toml"), "-s")
	upgradetest.WaitFor(t, "all connections", func() bool { return w.Logged("msg=connected") == 6 })
	for _, origin := range []string{"@", "Photos", "wiki"} {
		if n := w.Logged("msg=connected origin=" + origin + " "); n != 2 {
			t.Errorf("%d connections of %s, want 2", n, origin)
		}
	}
	served := func() {
		t.Helper()
		for _, c := range []struct {
			host, path string
			status     int
			body       string
		}{
			{"", "/file", 200, "of a"}, {"photos.example.test", "/file", 200, "of photos"}, {"wiki.example.test", "/file", 200, "the service"},
			{"", "/", 200, "file"}, {"photos.example.test", "/", 404, ""},
		} {
			resp, err := w.getFrom(c.host, c.path)
			if err != nil {
				t.Error(err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != c.status || !bytes.Contains(body, []byte(c.body)) {
				t.Errorf("%s%s: got %d %q, %v; want %d and %q", c.host, c.path, resp.StatusCode, body, err, c.status, c.body)
			}
		}
	}
	served()
	old := w.PID()
	w.Signal(old, syscall.SIGHUP)
	upgradetest.WaitFor(t, "a reload", func() bool { return w.Logged("token and certificates were read again") == 1 })
	w.Signal(old, syscall.SIGUSR2)
	upgradetest.WaitFor(t, "a hand-over", func() bool { return w.PID() != old && w.InFile() == w.PID() })
	served()
	if err := <-w.Ended; err != nil {
		t.Errorf("the first process ended with %v, want status 0", err)
	}
	served()
	if n := w.plog.Count("replaced by a newer connection") + w.plog.Count("does not answer"); n < 6 {
		t.Errorf("P replaced %d connections, want all six", n)
	}
	for _, want := range []string{"spdy @ 0: recv SYN_STREAM", "spdy Photos 1: "} {
		if w.Logged(want) == 0 {
			t.Errorf("no frame is shown as of %q", want)
		}
	}
	w.Signal(w.PID(), syscall.SIGTERM)
	upgradetest.WaitFor(t, "the end of the pid file", func() bool { return w.InFile() == 0 })
}
