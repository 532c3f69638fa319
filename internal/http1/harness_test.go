package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// listener gives a server connections.
type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// bed is a server on connections in memory.
type bed struct {
	t   *testing.T
	s   *Server
	hs  *http.Server
	ln  *listener
	log bytes.Buffer
	end chan error
}

// newBed starts a server in a bubble, where its time is. Its end is the test's.
func newBed(t *testing.T, h http.HandlerFunc, change func(*bed)) *bed {
	b := &bed{t: t, hs: &http.Server{Handler: h, MaxHeaderBytes: 2000, MaxHeaderValueCount: 20}, ln: newListener(), end: make(chan error, 1)}
	b.hs.ErrorLog = log.New(&b.log, "", 0)
	b.s = New(b.hs)
	if change != nil {
		change(b)
	}
	go func() { b.end <- b.s.Serve(b.ln) }() // ends with close
	return b
}

func (b *bed) close() {
	b.t.Helper()
	b.s.Close()
	if err := <-b.end; !errors.Is(err, http.ErrServerClosed) {
		b.t.Errorf("Serve: got %v", err)
	}
	synctest.Wait()
	if n := len(b.s.conns); n > 0 {
		b.t.Errorf("%d connections are left", n)
	}
}

// client is a connection of a bed's, of which a goroutine reads all that comes.
type client struct {
	*spdytest.Conn
	b *bed

	mu sync.Mutex
	// Guarded by mu.
	got []byte
	err error // of Read, its last
}

func (b *bed) dial(c spdytest.PipeConfig) *client {
	ours, theirs := spdytest.Pipe(c)
	b.ln.conns <- theirs
	cl := &client{Conn: ours, b: b}
	go cl.read() // ends with the connection
	return cl
}

func (c *client) read() {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		c.mu.Lock()
		c.got = append(c.got, buf[:n]...)
		c.err = err
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send sends text and waits until nothing happens any more.
func (c *client) send(text string) {
	c.b.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.b.t.Fatal(err)
	}
	synctest.Wait()
}

// take returns what has come, and the error of the last Read.
func (c *client) take() (string, error) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := string(c.got)
	c.got = nil
	return got, c.err
}

// want takes what has come and compares it: the responses in short (see brief), and
// how the connection is.
func (c *client) want(what, want string) {
	c.b.t.Helper()
	text, err := c.take()
	if got := brief(text, err); got != want {
		c.b.t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

// brief writes responses as "STATUS BODY" each, and at last "open", "closed", or
// "reset".
func brief(text string, end error) string {
	var parts []string
	r := bufio.NewReader(strings.NewReader(text))
	for {
		if _, err := r.Peek(1); err != nil {
			break
		}
		// A response to HEAD would have no body: it says so.
		req := &http.Request{Method: "GET"}
		peek, _ := r.Peek(r.Buffered())
		if head, _, _ := bytes.Cut(peek, []byte("\r\n\r\n")); bytes.Contains(head, []byte("\r\nX-Head: ")) {
			req.Method = "HEAD"
		}
		res, err := http.ReadResponse(r, req)
		if err != nil {
			parts = append(parts, fmt.Sprintf("%q, which is no response: %v", peek, err))
			break
		}
		body, err := io.ReadAll(res.Body)
		short := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(body)), res.Status+":"))
		part := strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", short))
		for _, name := range slices.Sorted(maps.Keys(res.Trailer)) {
			part += fmt.Sprintf(" %s=%q", name, res.Trailer[name])
		}
		if err != nil {
			part += ", cut short"
		}
		parts = append(parts, part)
	}
	switch {
	case end == nil:
		parts = append(parts, "open")
	case end == io.EOF:
		parts = append(parts, "closed")
	default:
		parts = append(parts, "reset")
	}
	return strings.Join(parts, "; ")
}

// reuse has the next request made of what w's is made of.
func reuse(w http.ResponseWriter) { w.(interface{ Reuse() }).Reuse() }

// echo answers what it has seen of a request, in a line, and keeps nothing of it.
func echo(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", r.Method, r.Host, r.RequestURI)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.HasPrefix(name, "X-") {
			fmt.Fprintf(&b, " %s=%q", name, r.Header[name])
		}
	}
	if r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if fmt.Fprintf(&b, " %q", body); err != nil {
			b.WriteString(", and an error")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
		fmt.Fprintf(&b, " +%s=%q", name, r.Trailer[name])
	}
	if r.Method == http.MethodHead {
		w.Header().Set("X-Head", "1")
	}
	io.WriteString(w, b.String())
	reuse(w)
}

// bubble runs f in a synctest bubble of its own.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// tick is longer than one of a bed's clock.
const tick = maxTick + time.Millisecond

// watched is after when it is watched whether the client of a request leaves, if
// not very many are.
const watched = 3 * tick
