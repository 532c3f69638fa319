package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// script is an origin whose C is no engine: the test says what it answers, also
// what an engine would never send. P's end is the engine's.
//
// Bodies are small: it minds no windows.
type script struct {
	t      testing.TB
	answer func(*http.Request) (*http.Response, error)
	table  *origin.Table // where it comes back after a cut; nil: it does not

	mu    sync.Mutex
	link  *link // of now; guarded by mu
	ended bool  // it does not come back any more; guarded by mu
}

// What answer, or the body of its response, returns for the ends that C can
// give a request.
var (
	errCut      = errors.New("the connection ends")
	errUnsent   = errors.New("GOAWAY says that C never saw the request, and the connection ends")
	errRefused  = errors.New("the stream is refused")
	errResetByC = errors.New("the stream is reset")
)

// newScript returns a script that is connected, and does not come back.
func newScript(t testing.TB, answer func(*http.Request) (*http.Response, error)) *script {
	s := &script{t: t, answer: answer}
	s.connect()
	return s
}

// enroll makes answer the default origin, which comes back when its connection
// was cut.
func (s *stage) enroll(t *testing.T, answer func(*http.Request) (*http.Response, error)) *script {
	t.Helper()
	f := newScript(t, answer)
	f.table = s.table
	register(t, s.table, f)
	return f
}

// register makes f the default origin.
func register(t testing.TB, table *origin.Table, f *script) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := table.Register(origin.Registration{Session: f.link.session}); err != nil {
		t.Error(err)
	}
}

// connect makes a connection, and the session at P's end.
func (s *script) connect() {
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	l := &link{
		script: s, wire: b, peer: spdytest.NewPeer(s.t, b), streams: make(map[uint32]*call),
		session: (&spdy.Config{}).NewClientSession(a),
	}
	l.peer.NoSecond = true
	// Both end with the connection.
	l.running.Go(func() { l.session.Serve() })
	l.running.Go(l.read)
	s.t.Cleanup(func() {
		l.session.Close()
		l.running.Wait()
	})
	s.mu.Lock()
	s.link = l
	s.mu.Unlock()
}

// end ends the connection, for good.
func (s *script) end() {
	s.mu.Lock()
	s.ended = true
	l := s.link
	s.mu.Unlock()
	l.cut()
	<-l.session.Done()
}

// comeBack connects anew in the place of l, if it is s's way.
func (s *script) comeBack(l *link) {
	s.mu.Lock()
	back := s.table != nil && !s.ended && s.link == l
	s.mu.Unlock()
	if !back {
		return
	}
	<-l.session.Done()
	s.connect()
	register(s.t, s.table, s)
}

// link is one connection of a script.
type link struct {
	// Fixed.
	script  *script
	session *spdy.Session // at P's end
	wire    *spdytest.Conn

	peer    *spdytest.Peer // what reads is owned by read, what sends guarded by mu
	running sync.WaitGroup // waited for at the test's end

	mu      sync.Mutex
	streams map[uint32]*call // guarded by mu
}

// cut ends the connection; what was sent arrives.
func (l *link) cut() { l.wire.CloseWrite() }

func (l *link) send(f ...spdytest.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peer.TrySend(f...)
}

func (l *link) read() {
	defer l.wire.Close()
	defer l.each(func(c *call) { c.leave() })
	for {
		f, err := l.peer.TryNext(time.Hour)
		if err == spdytest.ErrTimeout {
			continue
		}
		if err != nil {
			return
		}
		l.mu.Lock()
		c := l.streams[f.ID]
		l.mu.Unlock()
		switch f.Type {
		case spdytest.TypePing:
			if f.ID%2 == 1 {
				l.send(f)
			}
		case spdytest.TypeSynStream:
			c = newCall(l, f)
			l.mu.Lock()
			l.streams[f.ID] = c
			l.mu.Unlock()
			// Ends with the answer, or soon after its connection.
			l.running.Go(c.answer)
		case spdytest.TypeRstStream:
			if c != nil {
				c.leave()
			}
		case spdytest.TypeData, spdytest.TypeHeaders:
			if c != nil {
				c.take(f)
			}
		}
	}
}

func (l *link) each(f func(*call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.streams {
		f(c)
	}
}

// call is one request to a script. It is also the request's body.
type call struct {
	*link
	id     uint32
	req    *http.Request
	cancel context.CancelFunc

	body     sync.Mutex
	more     *sync.Cond
	got      bytes.Buffer // guarded by body
	finished error        // after got; guarded by body
}

func newCall(l *link, f spdytest.Frame) *call {
	c := &call{link: l, id: f.ID}
	c.more = sync.NewCond(&c.body)
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	get := func(name string) string { v, _ := f.Get(name); return v }
	path := get(":path")
	var err error
	if c.req, err = http.NewRequestWithContext(ctx, get(":method"), "http://c"+path, c); err != nil {
		l.script.t.Errorf("%v: %v", f, err)
		c.req = (&http.Request{Method: get(":method"), Body: c}).WithContext(ctx)
	}
	c.req.RequestURI, c.req.Host, c.req.Header = path, get(":host"), make(http.Header)
	for _, p := range f.Pairs {
		if p.Name[0] != ':' {
			c.req.Header[http.CanonicalHeaderKey(p.Name)] = strings.Split(p.Value, "\x00")
		}
	}
	c.take(f)
	return c
}

// take notes what comes of the body, and its end.
func (c *call) take(f spdytest.Frame) {
	c.body.Lock()
	defer c.body.Unlock()
	c.got.Write(f.Data)
	if f.Flags&spdytest.Fin != 0 && c.finished == nil {
		c.finished = io.EOF
	}
	c.more.Broadcast()
}

// leave is for a visitor that has left, or a connection that has ended.
func (c *call) leave() {
	c.cancel()
	c.body.Lock()
	defer c.body.Unlock()
	if c.finished == nil {
		c.finished = context.Canceled
	}
	c.more.Broadcast()
}

// Read reads the request's body.
func (c *call) Read(p []byte) (int, error) {
	c.body.Lock()
	defer c.body.Unlock()
	for c.got.Len() == 0 {
		if c.finished != nil {
			return 0, c.finished
		}
		c.more.Wait()
	}
	return c.got.Read(p)
}

// Close does nothing.
func (c *call) Close() error { return nil }

// answer sends what the script says.
func (c *call) answer() {
	resp, err := c.script.answer(c.req)
	if err == nil {
		c.send(synReply(c.id, resp))
		if resp.Body == nil {
			return
		}
		buf := make([]byte, 16<<10)
		for err == nil {
			var n int
			if n, err = resp.Body.Read(buf); n > 0 {
				c.send(spdytest.Data(c.id, string(buf[:n]), 0))
			}
		}
		resp.Body.Close()
	}
	switch err {
	case io.EOF:
		var trailer []spdytest.Pair
		for name, values := range resp.Trailer {
			if values != nil {
				trailer = append(trailer, spdytest.Pair{Name: strings.ToLower(name), Value: strings.Join(values, "\x00")})
			}
		}
		if trailer != nil {
			c.send(spdytest.Headers(c.id, spdytest.Fin, trailer...))
		} else {
			c.send(spdytest.Data(c.id, "", spdytest.Fin))
		}
	case errRefused:
		c.send(spdytest.Rst(c.id, uint32(spdy.RefusedStream)))
	case errResetByC:
		c.send(spdytest.Rst(c.id, uint32(spdy.InternalError)))
	case errUnsent:
		c.send(spdytest.GoAway(max(c.id, 2)-2, 0))
		fallthrough
	case errCut:
		c.cut()
		c.script.comeBack(c.link)
	default:
		c.script.t.Errorf("a script cannot say %v", err)
	}
}

// synReply is that of resp, without a body that follows if it has none. A
// name or value that must not be is sent as it is.
func synReply(id uint32, resp *http.Response) spdytest.Frame {
	status := strconv.Itoa(resp.StatusCode)
	if strings.HasPrefix(resp.Status, status) {
		status = resp.Status
	}
	pairs := spdytest.Response(status)
	if len(resp.Trailer) > 0 {
		pairs = append(pairs, spdytest.Pair{Name: "trailer", Value: strings.Join(sorted(resp.Trailer), ", ")})
	}
	for name, values := range resp.Header {
		pairs = append(pairs, spdytest.Pair{Name: strings.ToLower(name), Value: strings.Join(values, "\x00")})
	}
	flags := uint8(0)
	if resp.Body == nil {
		flags = spdytest.Fin
	}
	return spdytest.SynReply(id, flags, pairs...)
}

// answerOf makes a response with a length.
func answerOf(_ *http.Request, status int, header map[string]string, body string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}
	for k, v := range header {
		resp.Header.Set(k, v)
	}
	resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return resp
}
