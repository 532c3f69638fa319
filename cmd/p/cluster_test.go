//go:build unix && !nocluster

package main

import (
	"bytes"
	"errors"
	"net"
	"os"
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

// What others are told of a node, or are to be found by, is looked at before it starts.
func TestClusterAddresses(t *testing.T) {
	dir, ca := t.TempDir(), controltest.NewCA(t)
	caFile := ca.WriteCA(t, dir, "ca.pem")
	cert, key := controltest.Write(t, ca.Issue(t, "p1"), dir, "p1")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("sesame *\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, says string // says "": it is taken
	}{
		{"--public-control p1.example:1444 --peer-advertise p1.example:1447 --cluster-join 10.0.0.2:1446,[2001:db8::2]:1446,dns:p_nodes:1446 --site eu-1", ""},
		{"--cluster :1446 --peer-advertise [2001:db8::1]:1447", ""},
		{"--peer :1447", "--peer-advertise HOST:PORT"},
		{"--peer 127.0.0.1", `--peer "127.0.0.1": missing port`},
		{"--peer-advertise :1447", "it names no host"},
		{"--peer-advertise 0.0.0.0:1447", "it names no host"},
		{"--peer-advertise p1.example:0", "nobody is reached at port 0"},
		{"--public-control p1.example", `--public-control "p1.example": missing port`},
		{"--public-control https://p1.example:1444", "--public-control"},
		{"--public-control :1444", "it names no host"},
		{"--public-control p1.example:99999", `"99999" is not a port`},
		{"--public-control p1;x:1444", "none of ; = ,"},
		{"--cluster 127.0.0.1:99999", `--cluster "127.0.0.1:99999": give HOST:PORT`},
		{"--cluster-join p2.example:0", `--cluster-join "p2.example:0": "0" is not a port`},
		{"--cluster-join a/b:1446", `"a/b" is not a name`},
		{"--cluster-join dns:münchen.example:1446", "is not a name"},
		{"--site a;b", `the site "a;b"`},
	} {
		args := []string{
			"check", "--cert", cert, "--key", key, "--token-file", token, "--cluster", "127.0.0.1:1446", "--peer", "127.0.0.1:1447",
			"--cluster-ca", caFile, "--cluster-cert", cert, "--cluster-key", key,
		}
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(args, strings.Fields(tt.args)...), &stdout, &stderr)
		if tt.says == "" {
			if status != 0 {
				t.Errorf("%s: status %d, %q", tt.args, status, &stderr)
			}
		} else if status != 2 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), tt.says) {
			t.Errorf("%s: status %d, %q; want %q", tt.args, status, &stderr, tt.says)
		}
	}
}
