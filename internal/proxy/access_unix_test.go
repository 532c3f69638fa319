//go:build unix

package proxy_test

import (
	"bufio"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A named pipe that nobody reads is said to be one: opening it would wait.
func TestAccessLogToANamedPipe(t *testing.T) {
	f := newFiles(t)
	pipe := f.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg proxy.Config
	x := startP(t, f, func(c *proxy.Config) { cfg = *c })
	cfg.AccessLog = pipe
	if _, err := proxy.New(cfg); err == nil || !strings.Contains(err.Error(), "a pipe that nobody reads") {
		t.Errorf("without a reader: got %v", err)
	}
	x.cancel()
	x.wait()

	r, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x = startP(t, f, func(c *proxy.Config) { c.AccessLog = pipe; noDefault(c) }) // nobody is waited for
	x.get("/line")
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || !strings.Contains(line, "/line") {
		t.Errorf("the reader got %q, %v", line, err)
	}
}
