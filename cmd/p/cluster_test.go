//go:build unix && !nocluster

package main

import (
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Two processes that are one, over their own bus: a visitor of the first reaches the C of
// the second. Neither is handed over. A third one with the id of the second ends that,
// with a line.
func TestCluster(t *testing.T) {
	dir, ca := t.TempDir(), controltest.NewCA(t)
	ca.WriteCA(t, dir, "ca.pem")
	for _, id := range []string{"p1", "p2"} {
		controltest.Write(t, ca.Issue(t, id), dir, id)
	}
	first := freePort(t)
	node := func(id, bus string) []string {
		return []string{
			"--cluster", bus, "--peer", freePort(t), "--cluster-join", first,
			"--cluster-ca", filepath.Join(dir, "ca.pem"), "--cluster-cert", filepath.Join(dir, id+".pem"), "--cluster-key", filepath.Join(dir, id+".key"),
		}
	}
	p1 := startWorld(t, nil, nil, node("p1", first)...)
	p2 := startWorld(t, &origin{}, nil, node("p2", freePort(t))...)
	c := &client{addr: p1.front}
	defer c.close()
	upgradetest.WaitFor(t, "an answer at the other node", func() bool { return c.get("/x", "hello /x") == nil })

	p1.Signal(p1.PID(), syscall.SIGUSR2)
	p1.wait("is not handed over", 1)
	if err := c.get("/y", "hello /y"); err != nil {
		t.Errorf("after the refusal: %v", err)
	}

	startWorld(t, nil, nil, node("p2", freePort(t))...)
	err := <-p2.Ended
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 1 {
		t.Errorf("the earlier of two with one id ended with %v, want status 1", err)
	}
	lines := strings.Split(strings.TrimSpace(p2.Log()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, `p: another node of the cluster is called "p2"`) {
		t.Errorf("its last line is %q", last)
	}
}
