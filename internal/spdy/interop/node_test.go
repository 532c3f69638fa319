package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy"
)

// event is what the peer tells.
type event struct {
	Event    string         `json:"event"`
	ID       int            `json:"id"`
	Status   int            `json:"status"`
	Headers  map[string]any `json:"headers"`
	Trailers map[string]any `json:"trailers"`
	Bytes    int            `json:"bytes"`
	SHA256   string         `json:"sha256"`
	How      string         `json:"how"`
	Error    string         `json:"error"`
	Last     uint32         `json:"last"`
	Code     string         `json:"code"`
}

// command is what the peer is told.
type command struct {
	Command  string            `json:"command"`
	ID       int               `json:"id,omitempty"`
	Method   string            `json:"method,omitempty"`
	Path     string            `json:"path,omitempty"`
	Headers  map[string]any    `json:"headers,omitempty"`
	Trailers map[string]string `json:"trailers,omitempty"`
	Size     int               `json:"size,omitempty"`
	Hold     bool              `json:"hold,omitempty"`
}

// nodePeer is a process that runs peer.js.
type nodePeer struct {
	*testing.T
	conn   net.Conn // our end of the connection
	stdin  io.WriteCloser
	events chan event // closed at the process's end

	early []event // events that came while another was waited for
}

// startNode runs peer.js in a role, connected to us.
func startNode(t *testing.T, role string) *nodePeer {
	t.Helper()
	NodeModules(t, ".")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cmd := exec.Command("node", Script(t, "peer.js"), role, fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
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
	p := &nodePeer{T: t, stdin: stdin, events: make(chan event, 1000)}
	// Ends with the process, whose end the cleanup waits for.
	go func() {
		defer close(p.events)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = event{Event: "unreadable", Error: lines.Text()}
			}
			p.events <- e
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		// It ends by itself; this is for a hang.
		kill := time.AfterFunc(limit, func() { cmd.Process.Kill() })
		defer kill.Stop()
		for range p.events {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	ln.(*net.TCPListener).SetDeadline(deadline())
	if p.conn, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *nodePeer) tell(c command) {
	p.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		p.Fatal(err)
	}
	if _, err := p.stdin.Write(append(b, '\n')); err != nil {
		p.Fatal(err)
	}
}

// want waits for an event, of a request if id is not 0.
func (p *nodePeer) want(name string, id int) event {
	p.Helper()
	for i, e := range p.early {
		if e.Event == name && e.ID == id {
			p.early = append(p.early[:i], p.early[i+1:]...)
			return e
		}
	}
	for {
		e := wait(p.T, fmt.Sprintf("the event %q of %d", name, id), p.events)
		switch {
		case e.Event == name && e.ID == id:
			return e
		case e.Event == "" || e.Event == "unreadable":
			p.Fatalf("the peer said %+v, want %q", e, name)
		default:
			p.early = append(p.early, e)
		}
	}
}

// request has the peer send a request and returns its answer.
func (p *nodePeer) request(c command) event {
	p.Helper()
	c.Command = "request"
	p.tell(c)
	return p.want("response", c.ID)
}

// Our client and spdy-transport as server.
func TestNodeServer(t *testing.T) {
	p := startNode(t, "server")
	s := (*spdy.Config)(nil).NewClientSession(p.conn)
	served := run(t, s)
	asClient(t, s, true)
	t.Run("POST 5 MB", func(t *testing.T) {
		sent := pattern(large)
		_, body, err := fetch(s, request(t, "POST", "/echo", strings.NewReader(string(sent))))
		if err != nil || sum(body) != sum(sent) {
			t.Errorf("%d bytes came back, %v, want %d that are equal", len(body), err, len(sent))
		}
	})
	t.Run("trailers", func(t *testing.T) {
		r := request(t, "POST", "/trailers", struct{ io.Reader }{strings.NewReader("body")})
		r.Trailer = http.Header{"X-Trailer": {"from the client"}}
		resp, body, err := fetch(s, r)
		if err != nil || string(body) != "from the client" {
			t.Errorf("the server saw the trailer %q, %v", body, err)
		}
		if resp != nil && resp.Trailer.Get("X-Trailer") != "from the server" {
			t.Errorf("the server's trailer is %v", resp.Trailer)
		}
	})
	t.Run("RST of ours", func(t *testing.T) {
		done := make(chan error, 1)
		r := request(t, "GET", "/wait", nil)
		ctx, cancel := withCancel(r)
		go func() { _, err := s.RoundTrip(ctx); done <- err }()
		p.want("waiting", 0)
		cancel()
		if err := wait(t, "RoundTrip", done); err == nil {
			t.Error("no error after the context's end")
		}
		p.want("closed", 0)
	})
	t.Run("RST of theirs", func(t *testing.T) {
		_, body, err := fetch(s, request(t, "GET", "/abort", nil))
		if err := isReset(err, spdy.InternalError, true); err != nil || len(body) > 1 {
			t.Errorf("body %q: %v", body, err)
		}
	})
	t.Run("PING of theirs", func(t *testing.T) {
		p.tell(command{Command: "ping"})
		p.want("pong", 0)
	})
	t.Run("flow control", func(t *testing.T) {
		// A body that nobody reads stops at the stream's window; others go on.
		held, err := s.RoundTrip(request(t, "GET", fmt.Sprint("/size/", large), nil))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, body, err := fetch(s, request(t, "GET", fmt.Sprint("/size/", large), nil)); err != nil || sum(body) != sum(pattern(large)) {
				t.Errorf("beside it: %d bytes, %v", len(body), err)
			}
		}
		if got := s.Stats().Buffered; got != 64<<10 {
			t.Errorf("%d bytes wait for their reader, want a window of 65536", got)
		}
		body, err := io.ReadAll(held.Body)
		if err != nil || sum(body) != sum(pattern(large)) {
			t.Errorf("after all: %d bytes, %v", len(body), err)
		}
		held.Body.Close()
	})
	t.Run("GOAWAY", func(t *testing.T) {
		p.tell(command{Command: "end"})
		wait(t, "GOAWAY", s.GoingAway())
		if _, err := s.RoundTrip(request(t, "GET", "/ok", nil)); !spdy.Retryable(err) {
			t.Errorf("after GOAWAY: %v, want an error that allows another try", err)
		}
		if err := wait(t, "the session's end", served); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// After its GOAWAY spdy-transport drops what it has not written of the streams
// that are open, the FIN first of all: that must not look like an end.
func TestNodeServerLeaves(t *testing.T) {
	p := startNode(t, "server")
	s := (*spdy.Config)(nil).NewClientSession(p.conn)
	served := run(t, s)
	held, err := s.RoundTrip(request(t, "GET", fmt.Sprint("/size/", large), nil))
	if err != nil {
		t.Fatal(err)
	}
	p.tell(command{Command: "end"})
	wait(t, "GOAWAY", s.GoingAway())
	if body, err := io.ReadAll(held.Body); err == nil {
		t.Errorf("%d of %d bytes look whole", len(body), large)
	}
	held.Body.Close()
	wait(t, "the session's end", served)
}

// spdy-transport as client and our server.
func TestNodeClient(t *testing.T) {
	p := startNode(t, "client")
	origin := newGoOrigin()
	s := (*spdy.Config)(nil).NewServerSession(p.conn, &http.Server{Handler: origin})
	served := run(t, s)
	t.Run("GET", func(t *testing.T) {
		e := p.request(command{ID: 1, Method: "GET", Path: "/ok"})
		if e.Status != 200 || e.Bytes != 2 || e.SHA256 != sum([]byte("ok")) || e.How != "end" || e.Error != "" {
			t.Errorf("got %+v, want 200 ok", e)
		}
		if got := fmt.Sprint(e.Headers["set-cookie"]); got != "[a=1 b=2]" {
			t.Errorf("set-cookie: %v, want both", got)
		}
	})
	t.Run("POST 5 MB", func(t *testing.T) {
		e := p.request(command{ID: 2, Method: "POST", Path: "/echo", Size: large})
		if e.Bytes != large || e.SHA256 != sum(pattern(large)) || e.How != "end" {
			t.Errorf("got %+v, want %d bytes back", e, large)
		}
	})
	t.Run("100 streams at once", func(t *testing.T) {
		for i := range 100 {
			p.tell(command{Command: "request", ID: 1000 + i, Method: "POST", Path: "/echo", Size: 100 * i})
		}
		for i := range 100 {
			if e := p.want("response", 1000+i); e.Bytes != 100*i || e.SHA256 != sum(pattern(100*i)) {
				t.Errorf("echo of %d bytes: %+v", 100*i, e)
			}
		}
	})
	t.Run("big headers", func(t *testing.T) {
		value := strings.Repeat("value ", big/6) + "."
		e := p.request(command{ID: 3, Method: "GET", Path: "/headers", Headers: map[string]any{"x-big": value, "x-many": []string{"1", "2", "3"}}})
		if e.Headers["x-big"] != value || strings.Join(strings.Fields(fmt.Sprint(e.Headers["x-many"])), " ") != "1, 2, 3" {
			t.Errorf("the headers did not come back: %d bytes, %v", len(fmt.Sprint(e.Headers["x-big"])), e.Headers["x-many"])
		}
	})
	t.Run("trailers", func(t *testing.T) {
		e := p.request(command{ID: 4, Method: "POST", Path: "/trailers", Size: 4, Headers: map[string]any{"trailer": "X-Trailer"},
			Trailers: map[string]string{"x-trailer": "from the client"}})
		if e.SHA256 != sum([]byte("from the client")) || e.Trailers["x-trailer"] != "from the server" || e.How != "end" {
			t.Errorf("got %+v, want the trailers both ways and the end", e)
		}
	})
	t.Run("RST of ours", func(t *testing.T) {
		p.tell(command{Command: "request", ID: 5, Method: "GET", Path: "/abort", Hold: true})
		p.want("held", 5)
		origin.failed <- nil
		if e := p.want("response", 5); e.How != "reset" || !strings.Contains(e.Error, "INTERNAL_ERROR") {
			t.Errorf("got %+v, want INTERNAL_ERROR", e)
		}
	})
	t.Run("RST of theirs", func(t *testing.T) {
		p.tell(command{Command: "request", ID: 6, Method: "GET", Path: "/wait"})
		wait(t, "the request", origin.waiting)
		p.tell(command{Command: "abort", ID: 6})
		if err := wait(t, "the end of its context", origin.closed); err == nil {
			t.Error("the context has no cause")
		}
		p.want("response", 6)
	})
	t.Run("PING", func(t *testing.T) {
		if !pinged(s) {
			t.Error("no echo")
		}
		p.tell(command{Command: "ping"})
		p.want("pong", 0)
	})
	t.Run("flow control", func(t *testing.T) {
		p.tell(command{Command: "request", ID: 7, Method: "GET", Path: fmt.Sprint("/size/", large), Hold: true})
		p.want("held", 7)
		before := s.Stats().BytesSent
		e := p.request(command{ID: 8, Method: "GET", Path: fmt.Sprint("/size/", large)})
		if e.Bytes != large || e.SHA256 != sum(pattern(large)) {
			t.Errorf("beside a stream that is not read: %+v", e)
		}
		// Its windows are of 1 MiB.
		if got := s.Stats().BytesSent - before; got > large+1<<20 {
			t.Errorf("%d bytes were sent to who does not read, want 1 MiB at most", got-large)
		}
		p.tell(command{Command: "read", ID: 7})
		if e := p.want("response", 7); e.Bytes != large || e.SHA256 != sum(pattern(large)) {
			t.Errorf("after all: %+v", e)
		}
	})
	t.Run("GOAWAY", func(t *testing.T) {
		p.tell(command{Command: "request", ID: 9, Method: "GET", Path: fmt.Sprint("/size/", large), Hold: true})
		p.want("held", 9)
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		if e := p.want("goaway", 0); e.Code != "OK" || e.Last == 0 {
			t.Errorf("got %+v, want OK with the last stream", e)
		}
		p.tell(command{Command: "read", ID: 9})
		if e := p.want("response", 9); e.Bytes != large {
			t.Errorf("the open stream: %+v", e)
		}
		if err := wait(t, "Shutdown", down); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := wait(t, "the session's end", served); err != nil {
			t.Errorf("Serve: %v", err)
		}
		p.want("end", 0)
	})
}

// A client of theirs that leaves first: its GOAWAY, then its end.
func TestNodeClientLeaves(t *testing.T) {
	p := startNode(t, "client")
	s := (*spdy.Config)(nil).NewServerSession(p.conn, &http.Server{Handler: newGoOrigin()})
	served := run(t, s)
	p.request(command{ID: 1, Method: "GET", Path: "/ok"})
	p.tell(command{Command: "end"})
	p.want("end", 0)
	if err := wait(t, "the session's end", served); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("Serve: %v", err)
	}
}
