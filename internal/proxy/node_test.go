package proxy_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy/interop"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// nodeRequest is what testdata/visitor.js is told, nodeAnswer what it tells.
type nodeRequest struct {
	ID     int    `json:"id"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Size   int    `json:"size"` // of the body of a POST: pattern(Size)
}

type nodeAnswer struct {
	ALPN    string         `json:"alpn"`
	ID      int            `json:"id"`
	Status  int            `json:"status"`
	Headers map[string]any `json:"headers"`
	Bytes   int            `json:"bytes"`
	SHA256  string         `json:"sha256"`
	Error   string         `json:"error"`
}

// nodeVisitor is a process that runs testdata/visitor.js.
type nodeVisitor struct {
	t       *testing.T
	stdin   io.WriteCloser
	answers chan nodeAnswer // closed at the process's end
}

func startNode(t *testing.T, x *p) *nodeVisitor {
	t.Helper()
	modules := interop.NodeModules(t, "../spdy/interop")
	cmd := exec.Command("node", interop.Script(t, filepath.Join("testdata", "visitor.js")), fmt.Sprint(x.FrontAddr().(*net.TCPAddr).Port), x.files.path("ca.pem"))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &nodeVisitor{t: t, stdin: stdin, answers: make(chan nodeAnswer, 100)}
	// Ends with the process, whose end the cleanup waits for.
	go func() {
		defer close(n.answers)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var a nodeAnswer
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				a.Error = "unreadable: " + lines.Text()
			}
			n.answers <- a
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		// It ends by itself; this is for a hang.
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		for range n.answers {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return n
}

// send has the visitor send requests, all before it reads an answer.
func (n *nodeVisitor) send(requests ...nodeRequest) {
	n.t.Helper()
	var lines []byte
	for _, r := range requests {
		b, err := json.Marshal(r)
		if err != nil {
			n.t.Fatal(err)
		}
		lines = append(append(lines, b...), '\n')
	}
	if _, err := n.stdin.Write(lines); err != nil {
		n.t.Fatal(err)
	}
}

// next waits for what the visitor tells next.
func (n *nodeVisitor) next() nodeAnswer {
	n.t.Helper()
	select {
	case a, ok := <-n.answers:
		if !ok {
			n.t.Fatal("node ended")
		}
		return a
	case <-time.After(patience):
		n.t.Fatal("no answer")
	}
	panic("not reached")
}

// want checks an answer: 200 with this body.
func (n *nodeVisitor) want(what string, a nodeAnswer, body []byte) {
	n.t.Helper()
	if sum := sha256.Sum256(body); a.Status != 200 || a.Error != "" || a.Bytes != len(body) || a.SHA256 != hex.EncodeToString(sum[:]) {
		n.t.Errorf("%s: got %+v, want 200 with %d bytes of the digest %x", what, a, len(body), sum)
	}
}

// spdy/3.1 on the front port by ALPN, with a client that is not ours.
func TestNodeVisitor(t *testing.T) {
	t.Parallel()
	const together = 20
	film := pattern(3 << 20)
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	files := folder(t, film)
	var arrived atomic.Int32
	all := make(chan struct{}) // closed when all have arrived
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/together" {
			files.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		// Nobody is answered before all have asked.
		if arrived.Add(1) == together {
			close(all)
		}
		select {
		case <-all:
			w.Write(body)
		case <-r.Context().Done():
		}
	}), nil)
	n := startNode(t, x)
	if a := n.next(); a.ALPN != "spdy/3.1" {
		t.Fatalf("got %+v, want spdy/3.1 by ALPN", a)
	}

	n.send(nodeRequest{ID: 1, Method: "GET", Path: "/film.mp4"})
	n.want("GET", n.next(), film)

	sent := pattern(1_000_000)
	n.send(nodeRequest{ID: 2, Method: "POST", Path: "/film.mp4", Size: len(sent)})
	a := n.next()
	n.want("POST", a, film)
	sum := sha256.Sum256(sent)
	for name, want := range map[string]string{
		"x-received-length": fmt.Sprint(len(sent)), "x-received-digest": "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":",
	} {
		if got := a.Headers[name]; got != want {
			t.Errorf("POST: %s is %v, want %s", name, got, want)
		}
	}

	var requests []nodeRequest
	for i := range together {
		requests = append(requests, nodeRequest{ID: 100 + i, Method: "POST", Path: "/together", Size: 10_000*i + 1})
	}
	n.send(requests...)
	seen := map[int]bool{}
	for range together {
		a := n.next()
		if a.ID < 100 || a.ID >= 100+together || seen[a.ID] {
			t.Fatalf("got %+v, want one answer to each request", a)
		}
		seen[a.ID] = true
		n.want(fmt.Sprintf("%d streams at once, %d", together, a.ID), a, pattern(10_000*(a.ID-100)+1))
	}
}
