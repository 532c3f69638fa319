package http1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/amahi/spdy/spdytest"
)

// seen is what a server takes of a message. end says whether its body was whole.
type seen struct {
	method, target, host, header, body, trailer string
	whole                                       bool
}

func (s seen) String() string {
	return fmt.Sprintf("%s %q of %q, %s, body %q whole %v, trailers %s", s.method, s.target, s.host, s.header, s.body, s.whole, s.trailer)
}

func see(r *http.Request) seen {
	body, err := io.ReadAll(r.Body)
	h := r.Header.Clone()
	// These are the connection's, and net/http adds a Cache-Control of its own to
	// Pragma.
	for _, name := range []string{"Connection", "Content-Length", "Trailer", "Pragma", "Cache-Control", "Expect"} {
		delete(h, name)
	}
	trailer := r.Trailer.Clone()
	for _, name := range []string{"Host", "Trailer"} {
		delete(trailer, name) // they must not be there (RFC 9110, 6.5.1)
	}
	return seen{r.Method, r.RequestURI, r.Host, lines(h), string(body), lines(trailer), err == nil}
}

// lines leaves out what is announced and did not come.
func lines(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s=%q ", name, v)
		}
	}
	return b.String()
}

// recorder keeps what it gets, and answers nothing in particular.
type recorder struct {
	mu  sync.Mutex
	got []seen
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := see(r)
	rec.mu.Lock()
	rec.got = append(rec.got, s)
	rec.mu.Unlock()
	if !s.whole {
		panic(http.ErrAbortHandler)
	}
}

// peer is a server of either kind that is asked by bytes.
type peer struct {
	recorder
	ln *listener
}

func newPeer(f testing.TB, wrap func(*http.Server) server) *peer {
	p := &peer{ln: newListener()}
	s := wrap(&http.Server{Handler: &p.recorder, DisableGeneralOptionsHandler: true})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(p.ln) }() // ends with Close, and is waited for
	f.Cleanup(func() {
		s.Close()
		<-ended
	})
	return p
}

// ask sends bytes and their end, and returns what was taken, up to the first that
// was not whole.
func (p *peer) ask(sent []byte) []seen {
	ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
	p.ln.conns <- theirs
	ours.Write(sent)
	ours.CloseWrite()
	io.Copy(io.Discard, ours)
	ours.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// lenient says why a difference is one in which ours is right, "" if none is known.
// Each is said here and nowhere else.
func lenient(sent []byte) string {
	switch {
	case bytes.HasPrefix(sent, []byte("\r\n")), bytes.Contains(sent, []byte("\r\n\r\n\r\n")):
		return "empty lines before a request are ignored (RFC 9112, 2.2)"
	case containsFold(sent, "content-length") && bytes.IndexByte(sent, ',') >= 0:
		return "a list of equal lengths is a length (9112, 6.3)"
	case spacedExtension.Match(sent):
		return "spaces around what an extension is made of are removed (9112, 7.1.1; 9110, 5.6.3)"
	case bytes.Contains(sent, []byte("HTTP/1.")) && !onlyVersions(sent):
		return "a higher minor version is HTTP/1.1 (9110, 2.5)"
	case spacedClose.Match(sent):
		return "a word of what has spaces in it is no connection option (9110, 7.6.1)"
	}
	return ""
}

var spacedExtension = regexp.MustCompile(`(?m)^[0-9a-fA-F]+[ \t]+;`)

var spacedClose = regexp.MustCompile(`(?mi)^connection:.*([^ \t,:][ \t]+close|close[ \t]+[^ \t,\r])`)

func containsFold(b []byte, s string) bool { return bytes.Contains(bytes.ToLower(b), []byte(s)) }

// nodeMethods are all but CONNECT that Node's server takes.
var nodeMethods = strings.Fields("ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS PATCH POST " +
	"PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE")

func onlyVersions(b []byte) bool {
	for _, after := range bytes.Split(b, []byte("HTTP/1."))[1:] {
		if len(after) > 0 && after[0] > '1' && after[0] <= '9' {
			return false
		}
	}
	return true
}

// FuzzDiffer: what is taken here, net/http takes, and sees the same in it. It may
// take more.
func FuzzDiffer(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.sent))
		f.Add([]byte(c.sent + next))
	}
	f.Add([]byte(post + "Content-Length: 2\r\n\r\n00\r\n" + next + next))
	f.Add([]byte(post + "Content-Length: 2\r\n\r\n00\r\n" + post + "Content-Length: 1\r\n\r\n0\r\n" + next))
	ours := newPeer(f, func(hs *http.Server) server { return New(hs) })
	theirs := newPeer(f, func(hs *http.Server) server { return hs })
	f.Fuzz(func(t *testing.T, sent []byte) {
		if why := lenient(sent); why != "" {
			t.Skip(why)
		}
		a, b := ours.ask(sent), theirs.ask(sent)
		for i, s := range a {
			if !s.whole {
				// Where a body is not whole, each has its own idea how much there was.
				break
			}
			for i >= len(b) {
				// An empty line behind a body is ignored, too: without it both see the same.
				less := withoutLineBefore(sent, s)
				if less == nil || !slices.Equal(ours.ask(less), a) {
					break
				}
				sent, b = less, theirs.ask(less)
			}
			if i >= len(b) || b[i] != s {
				t.Fatalf("request %d of %q:\nours   %v\ntheirs %v", i, sent, s, b[min(i, len(b)):])
			}
		}
	})
}

// withoutLineBefore returns sent without an empty line before the last request like
// s that has one behind something else than a line's end; nil if none has.
func withoutLineBefore(sent []byte, s seen) []byte {
	line := []byte("\r\n" + s.method + " " + s.target + " HTTP/1.")
	for end := len(sent); ; {
		at := bytes.LastIndex(sent[:end], line)
		if at <= 0 {
			return nil
		}
		if sent[at-1] != '\n' {
			return slices.Concat(sent[:at], sent[at+2:])
		}
		end = at + len(line) - 1
	}
}

// llhttp is Node's server, in a process of its own.
type llhttp struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func newLlhttp(f testing.TB) *llhttp {
	node, err := exec.LookPath("node")
	if err != nil {
		f.Skip("there is no Node here")
	}
	// go test runs again what looked at a file that has changed; what Node opens it does not see.
	if _, err := os.Stat("testdata/llhttp.mjs"); err != nil {
		f.Fatal(err)
	}
	cmd := exec.Command(node, "testdata/llhttp.mjs")
	in, err := cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &llhttp{in, bufio.NewReader(out)}
}

// ask is peer.ask.
func (l *llhttp) ask(t testing.TB, sent []byte) (all []seen) {
	l.in.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(sent))), sent...))
	line, err := l.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		Method, Target, Body string
		Headers, Trailers    []string
		Whole                bool
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	for _, g := range got {
		header := fromPairs(g.Headers)
		host := header.Get("Host")
		delete(header, "Host")
		delete(header, "Transfer-Encoding")
		r := &http.Request{
			Method: g.Method, RequestURI: g.Target, Host: host, Header: header,
			Trailer: fromPairs(g.Trailers), Body: io.NopCloser(strings.NewReader(latin1(g.Body))),
		}
		s := see(r)
		s.whole = g.Whole
		all = append(all, s)
	}
	return all
}

func fromPairs(pairs []string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], latin1(pairs[i+1]))
	}
	return h
}

// latin1 returns the bytes that s has a character for each.
func latin1(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
	}
	return b.String()
}

// stricter says why llhttp may take less than is taken here, or see something else
// in it, "" if for no reason that is known.
func stricter(s seen, sent []byte) string {
	switch {
	case !slices.Contains(nodeMethods, s.method):
		return "llhttp knows its own methods alone"
	case strings.Contains(s.target, "://") || s.method == http.MethodConnect:
		return "the host is the target's, and Node leaves that to who asks (RFC 9112, 3.2.2)"
	case bytes.Count(bytes.ToLower(sent), []byte("content-length")) > 1 || containsFold(sent, "content-length") && bytes.IndexByte(sent, ',') >= 0:
		return "equal lengths are one (9112, 6.3)"
	case !onlyVersions(sent):
		return "a higher minor version is HTTP/1.1 (9110, 2.5)"
	case strings.ContainsFunc(s.target, func(r rune) bool { return r > '~' }):
		return "clients send targets above ASCII as they are, and origins understand them"
	case containsFold(sent, "upgrade"), containsFold(sent, "expect"), containsFold(sent, "proxy-connection"):
		return "what Node makes of these is its server's, not the parser's"
	case spacedExtension.Match(sent), bytes.Contains(sent, []byte(";")):
		return "llhttp has chunk extensions of its own (9112, 7.1.1)"
	}
	return ""
}

// FuzzLlhttp: what is taken here, llhttp takes, and sees the same in it.
func FuzzLlhttp(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.sent + next))
	}
	theirs := newLlhttp(f)
	ours := newPeer(f, func(hs *http.Server) server { return New(hs) })
	f.Fuzz(func(t *testing.T, sent []byte) {
		a, b := ours.ask(sent), theirs.ask(t, sent)
		for i, s := range a {
			if !s.whole || stricter(s, sent) != "" {
				break
			}
			if i >= len(b) || b[i] != s {
				t.Fatalf("request %d of %q:\nours   %v\ntheirs %v", i, sent, s, b[min(i, len(b)):])
			}
		}
	})
}

// FuzzParse: any bytes, cut anywhere, are the same head, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.sent), 3)
	}
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		s := New(&http.Server{})
		whole := parsed(s, sent, len(sent))
		if parts := parsed(s, sent, max(1, cut%64)); parts != whole {
			t.Errorf("%q:\nin parts of %d: %s\nas a whole: %s", sent, cut%64, parts, whole)
		}
	})
}

// parsed returns what a head is, as text, when it comes in parts of n bytes.
func parsed(s *Server, sent []byte, n int) string {
	ours, _ := net.Pipe()
	c := s.newConn(ours, context.Background(), nil)
	c.ctx = context.Background()
	sent = bytes.Clone(sent)
	for i := min(n, len(sent)); ; i = min(i+n, len(sent)) {
		done, why := c.parser.parse(sent[:i], limits{1000, 20})
		var x *exchange
		if done {
			x, why = c.newExchange(string(sent[:c.parser.pos]))
		}
		switch {
		case why != nil:
			return "refused" // which fault is seen first is another question
		case done:
			r := x.req
			return fmt.Sprintf("%s %s %s %s %v %v %d %v %v %v", r.Method, r.URL, r.Host, r.Proto, r.Header, r.Close, r.ContentLength, r.TransferEncoding, r.Trailer, c.parser.pos)
		case i == len(sent):
			return "more"
		}
	}
}
