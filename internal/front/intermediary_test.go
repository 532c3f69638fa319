package front

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// What HTTP demands of an intermediary, by section. What a row cannot show is
// tested elsewhere: retries in TestReplay (RFC 9110, 9.2.2), loops in
// TestContractAnswers (7.6), targets in TestTargetAsSent (7.7), trusted proxies
// in TestTrustedProxy, heads that are too large in TestHeadFitsC (5.4).

// asked is what became of a request that was sent as bytes.
type asked struct {
	raw    string // all that came back
	status int    // of the final response
	header http.Header
	seen   seen // by C, if it got the request
	next   bool // the request behind it was answered, too
}

// ask sends text to the HTTP/1.1 port, and another request behind it.
func (s *stage) ask(t *testing.T, text string) (a asked) {
	t.Helper()
	a.raw = s.raw(t, text+"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n")
	r := bufio.NewReader(strings.NewReader(a.raw))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%q: the answer %q: %v", text, a.raw, err)
		}
		if resp.StatusCode < 200 {
			continue
		}
		a.status, a.header = resp.StatusCode, resp.Header
		body, _ := io.ReadAll(resp.Body)
		json.Unmarshal(body, &a.seen)
		break
	}
	a.next = strings.Contains(a.raw, `"URI":"/next"`)
	return a
}

// saw returns the lines of a header that C got, joined by "|".
func (a asked) saw(name string) string { return strings.Join(a.seen.Header[name], "|") }

func TestIntermediaryRequests(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
	refused := func(status int) func(asked) bool { return func(a asked) bool { return a.status == status } }
	refusedAndClosed := func(status int) func(asked) bool {
		return func(a asked) bool { return a.status == status && !a.next }
	}
	for _, row := range []struct {
		section, must string
		text          string
		holds         func(asked) bool
	}{
		{"RFC 9110, 4.2.1", "an empty host in the target is invalid", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", refused(400)},
		{"RFC 9110, 4.2.4", "so is user information", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", refused(400)},
		{"RFC 9110, 5.1", "fields that are not known are forwarded", get + "X-0!#$%&'*+.^_`|~: 1\r\n\r\n",
			func(a asked) bool { return a.saw("X-0!#$%&'*+.^_`|~") == "1" }},
		{"RFC 9110, 5.3", "the order of lines of one name is kept", get + "X-A: 1\r\nX-B: x\r\nX-A: 3\r\nx-a: 2\r\n\r\n",
			func(a asked) bool { return a.saw("X-A") == "1|3|2" }},
		{"RFC 9110, 5.5", "NUL in a value is refused or replaced", get + "X-A: 1\x002\r\n\r\n",
			func(a asked) bool { return a.status == 400 || a.saw("X-A") == "1 2" }},
		{"RFC 9110, 5.5", "the same of CR", get + "X-A: 1\r2\r\n\r\n", func(a asked) bool { return a.status == 400 || a.saw("X-A") == "1 2" }},
		{"RFC 9110, 5.5", "other bytes are opaque", get + "X-A: \xff\xfe\r\n\r\n", func(a asked) bool { return a.saw("X-A") == "\ufffd\ufffd" }}, // in JSON
		{"RFC 9110, 7.4", "https over a connection that is not secure is refused", "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", refused(421)},
		{"RFC 9110, 7.6.1", "what Connection names goes, and Connection, in several lines and any case",
			get + "Connection: x-a, X-B\r\nConnection: ,\tx-c ,keep-alive\r\nX-A: 1\r\nX-B: 1\r\nx-C: 1\r\nX-D: 1\r\n\r\n",
			func(a asked) bool {
				return a.saw("X-A")+a.saw("X-B")+a.saw("X-C")+a.saw("Connection") == "" && a.saw("X-D") == "1"
			}},
		{"RFC 9110, 7.6.1", "trailers that it names too", post + "Connection: x-a\r\nTrailer: X-A, X-B\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nX-A: 1\r\nX-B: 1\r\n\r\n",
			func(a asked) bool { return len(a.seen.Trailer["X-A"]) == 0 && a.seen.Trailer.Get("X-B") == "1" }},
		{"RFC 9110, 7.6.1", "it takes nothing that the proxy itself says", get + "Connection: Host, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Via\r\n\r\n",
			func(a asked) bool {
				return a.seen.Host == "a" && a.saw("X-Forwarded-For") == "127.0.0.1" && a.saw("X-Forwarded-Proto") == "http" &&
					a.saw("X-Forwarded-Host") == "a" && a.saw("X-Request-Id") != "" && a.saw("Via") == via
			}},
		{"RFC 9110, 7.6.1", "nor the body's length", post + "Connection: Content-Length\r\nContent-Length: 4\r\n\r\nbody",
			func(a asked) bool { return a.seen.Body == "body" && a.saw("Content-Length") == "4" && a.next }},
		{"RFC 9110, 7.6.1", "nor its chunks", post + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			func(a asked) bool { return a.seen.Body == "body" }},
		{"RFC 9110, 7.6.1", "what is of one connection goes unnamed",
			get + "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-A\r\nUpgrade: h2c\r\nProxy-Authorization: Basic x\r\nProxy-Authenticate: x\r\n\r\n",
			func(a asked) bool {
				for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Upgrade", "Proxy-Authorization", "Proxy-Authenticate"} {
					if a.saw(name) != "" {
						return false
					}
				}
				return a.status == 200
			}},
		{"RFC 9110, 7.6.2", "Max-Forwards: 0 is not forwarded", "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
			func(a asked) bool {
				return a.status == 200 && a.seen.Method == "" && a.header.Get("Allow") != "" && a.next
			}},
		{"RFC 9110, 7.6.2", "else it is one less", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n",
			func(a asked) bool { return a.saw("Max-Forwards") == "9" && a.seen.URI == "/x" }},
		{"RFC 9110, 7.6.2", "or the largest that is understood", "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 99999999999999999999\r\n\r\n",
			func(a asked) bool { return a.saw("Max-Forwards") == "4294967294" }},
		{"RFC 9110, 7.6.2", "for OPTIONS alone", get + "Max-Forwards: 0\r\n\r\n", func(a asked) bool { return a.saw("Max-Forwards") == "0" }},
		{"RFC 9110, 7.6.2", "TRACE is not forwarded at all", "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", refused(405)},
		{"RFC 9110, 7.6.3", "Via is sent", get + "\r\n", func(a asked) bool { return a.saw("Via") == "1.1 spdy-proxy" }},
		{"RFC 9110, 7.6.3", "behind those that were there", get + "Via: 1.0 fred, HTTP/2 x\r\nVia: 1.1 y\r\n\r\n",
			func(a asked) bool { return a.saw("Via") == "1.0 fred, HTTP/2 x|1.1 y|1.1 spdy-proxy" }},
		{"RFC 9110, 7.7", "the host name is not changed", "GET / HTTP/1.1\r\nHost: Sub.Example.ORG:8080\r\n\r\n", func(a asked) bool { return a.seen.Host == "Sub.Example.ORG:8080" }},
		{"RFC 9110, 7.7", "nor path and query", "GET /a/../%7eb//?x=%zz&&+ HTTP/1.1\r\nHost: a\r\n\r\n", func(a asked) bool { return a.seen.URI == "/a/../%7eb//?x=%zz&&+" }},
		{"RFC 9110, 7.8", "Upgrade in HTTP/1.0 is ignored", "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			func(a asked) bool { return a.status == 200 && a.saw("Upgrade") == "" }},
		{"RFC 9110, 9.3.2", "HEAD has no content, and the next answer follows", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func(a asked) bool { return a.status == 200 && a.next }},
		{"RFC 9110, 10.1.1", "Expect is seen to by the proxy", post + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
			func(a asked) bool {
				return strings.HasPrefix(a.raw, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ") && a.saw("Expect") == "" && a.seen.Body == "body"
			}},
		{"RFC 9110, 10.1.1", "and ignored in HTTP/1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
			func(a asked) bool { return strings.HasPrefix(a.raw, "HTTP/1.0 200 ") && a.seen.Body == "body" }},
		{"RFC 9110, 11.6.2", "Authorization is not changed", get + "Authorization: Custom  a=\"b\",c\r\n\r\n", func(a asked) bool { return a.saw("Authorization") == `Custom  a="b",c` }},

		{"RFC 9112, 2.2", "CR without LF in the target is refused", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", refusedAndClosed(400)},
		{"RFC 9112, 2.2", "whitespace before the first field is refused or skipped", "GET / HTTP/1.1\r\n X-A: 1\r\nHost: a\r\n\r\n",
			func(a asked) bool { return a.status == 400 || a.saw("X-A") == "" }},
		{"RFC 9112, 2.3", "the version is the proxy's own", "GET / HTTP/1.0\r\n\r\n", func(a asked) bool { return a.seen.Proto == "HTTP/1.1" }},
		{"RFC 9112, 3.2", "no Host is refused", "GET / HTTP/1.1\r\n\r\n", refusedAndClosed(400)},
		{"RFC 9112, 3.2", "two are", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", refusedAndClosed(400)},
		{"RFC 9112, 3.2", "and one that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", refusedAndClosed(400)},
		{"RFC 9112, 3.2.2", "an absolute target's host counts", "GET http://real/x HTTP/1.1\r\nHost: fake\r\n\r\n",
			func(a asked) bool {
				return a.seen.Host == "real" && a.saw("X-Forwarded-Host") == "real" && a.seen.URI == "/x"
			}},
		{"RFC 9112, 3.2.4", "OPTIONS for a whole server is for *", "OPTIONS http://real HTTP/1.1\r\nHost: a\r\n\r\n", func(a asked) bool { return a.seen.URI == "*" && a.seen.Host == "real" }},
		{"RFC 9112, 5.1", "a space before the colon is refused", get + "X-A : 1\r\n\r\n", refusedAndClosed(400)},
		{"RFC 9112, 5.2", "a folded line is refused or joined", get + "X-A: 1\r\n\t2\r\n\r\n", func(a asked) bool { return a.status == 400 || a.saw("X-A") == "1 2" }},
		{"RFC 9112, 9.3", "after chunks that were all read the connection goes on", post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			func(a asked) bool { return a.status == 200 && a.next }},
		{"RFC 9112, 6.1", "after Transfer-Encoding in HTTP/1.0 too", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			func(a asked) bool { return !a.next }},
		{"RFC 9112, 6.1", "with a Content-Length as well", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			func(a asked) bool { return !a.next }},
		{"RFC 9112, 6.3", "chunked that is not the last coding is refused", post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
			func(a asked) bool { return (a.status == 400 || a.status == 501) && !a.next }}, // 501 is http.Server's
		{"RFC 9112, 6.3", "a Content-Length that is none", post + "Content-Length: 4x\r\n\r\nbody", refusedAndClosed(400)},
		{"RFC 9112, 6.3", "two of them that differ", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", refusedAndClosed(400)},
		{"RFC 9112, 7.1.1", "chunk extensions are ignored", post + "Transfer-Encoding: chunked\r\n\r\n4;a=b;c=\"d\"\r\nbody\r\n0\r\n\r\n", func(a asked) bool { return a.seen.Body == "body" }},
		{"RFC 9112, 9.3", "HTTP/1.0 is not kept alive by a proxy", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			func(a asked) bool { return a.status == 200 && !a.next && a.header.Get("Keep-Alive") == "" }},
		{"RFC 9112, 9.3.2", "pipelined requests are answered in order", get + "\r\n" + get + "X-A: 2\r\n\r\n",
			func(a asked) bool {
				second := strings.Index(a.raw, `"X-A":["2"]`)
				return a.next && second > 0 && strings.Index(a.raw, `"URI":"/next"`) > second
			}},
		{"RFC 9112, 9.6", "nothing is answered after close", get + "Connection: close\r\n\r\n", func(a asked) bool { return a.status == 200 && !a.next }},
	} {
		if a := s.ask(t, row.text); !row.holds(a) {
			t.Errorf("%s: %s.\nsent %q\ngot  %q", row.section, row.must, row.text, a.raw)
		}
	}
}

func TestIntermediaryAnswers(t *testing.T) {
	type header = http.Header
	lines := func(r reply, name string) string { return strings.Join(r.Header[name], "|") }
	for _, row := range []struct {
		section, must string
		method        string
		status        int
		header        header
		body          string
		trailer       header
		holds         func(reply) bool
	}{
		{"RFC 9110, 5.1", "fields that are not known are forwarded", "GET", 200, header{"X-0!#$%&'*+.^_`|~": {"1"}}, "body", nil,
			func(r reply) bool { return lines(r, "X-0!#$%&'*+.^_`|~") == "1" }},
		{"RFC 9110, 5.3", "the order of lines of one name is kept", "GET", 200, header{"X-A": {"1", "3", "2"}}, "body", nil,
			func(r reply) bool { return lines(r, "X-A") == "1|3|2" }},
		{"RFC 9110, 6.5.1", "a trailer that must not be one is not sent", "GET", 200, nil, "body",
			header{"Keep-Alive": {"1"}, "Upgrade": {"h2c"}, "Te": {"x"}, "Proxy-Authenticate": {"x"}, "Www-Authenticate": {"x"}, "X-A": {"1"}},
			func(r reply) bool { return len(r.Trailer) == 1 && r.Trailer.Get("X-A") == "1" && r.body == "body" }},
		{"RFC 9110, 6.6.1", "a Date is added", "GET", 200, nil, "body", nil, func(r reply) bool { _, err := http.ParseTime(lines(r, "Date")); return err == nil }},
		{"RFC 9110, 6.6.1", "and not changed", "GET", 200, header{"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}}, "body", nil,
			func(r reply) bool { return lines(r, "Date") == "Thu, 01 Jan 1970 00:00:00 GMT" }},
		{"RFC 9110, 7.6.1", "what is of one connection goes", "GET", 200,
			header{"Keep-Alive": {"1"}, "Proxy-Connection": {"x"}, "Te": {"x"}, "Upgrade": {"h2c"}, "Proxy-Authenticate": {"x"}, "Transfer-Encoding": {"chunked"}, "X-A": {"1"}}, "body", nil,
			func(r reply) bool {
				return !slices.ContainsFunc(sorted(r.Header), httpfield.HopByHop) && lines(r, "X-A") == "1" && r.body == "body"
			}},
		{"RFC 9110, 7.7", "content is not transformed", "GET", 200, header{"Content-Encoding": {"gzip"}, "Cache-Control": {"no-transform"}, "Content-Type": {"x/y"}}, "\x1f\x8bbody", nil,
			func(r reply) bool {
				return r.body == "\x1f\x8bbody" && lines(r, "Content-Encoding") == "gzip" && lines(r, "Content-Type") == "x/y"
			}},
		{"RFC 9110, 8.3", "a type that was not said is not guessed", "GET", 200, nil, "<html>", nil, func(r reply) bool { return len(r.Header["Content-Type"]) == 0 }},
		{"RFC 9110, 8.3", "not of an error", "GET", 500, nil, "<html>", nil, func(r reply) bool { return len(r.Header["Content-Type"]) == 0 && r.body == "<html>" }},
		{"RFC 9110, 8.3", "not for HEAD", "HEAD", 200, nil, "", nil, func(r reply) bool { return len(r.Header["Content-Type"]) == 0 }},
		{"RFC 9110, 8.3", "not of nothing", "GET", 200, header{"Content-Length": {"0"}}, "", nil, func(r reply) bool { return len(r.Header["Content-Type"]) == 0 }},
		{"RFC 9110, 8.6", "204 has no length", "GET", 204, header{"Content-Length": {"4"}}, "", nil,
			func(r reply) bool { return r.StatusCode == 204 && len(r.Header["Content-Length"]) == 0 && r.body == "" }},
		{"RFC 9110, 8.6", "304 may have one", "GET", 304, header{"Content-Length": {"4"}, "Etag": {`"x"`}}, "", nil,
			func(r reply) bool { return r.StatusCode == 304 && lines(r, "Etag") == `"x"` && r.body == "" }},
		{"RFC 9110, 8.6", "HEAD has that of GET", "HEAD", 200, header{"Content-Length": {"4000"}}, "", nil, func(r reply) bool { return lines(r, "Content-Length") == "4000" && r.body == "" }},
		{"RFC 9110, 8.6", "equal lengths are one", "GET", 200, header{"Content-Length": {"4", "4"}}, "body", nil,
			func(r reply) bool { return lines(r, "Content-Length") == "4" && r.body == "body" }},
		{"RFC 9110, 11.6.1", "WWW-Authenticate is not changed", "GET", 401, header{"Www-Authenticate": {`Basic realm="a"`, `Custom  b`}}, "", nil,
			func(r reply) bool { return lines(r, "Www-Authenticate") == `Basic realm="a"|Custom  b` }},
		{"RFC 9110, 15", "a status that is not registered passes", "GET", 599, nil, "body", nil, func(r reply) bool { return r.StatusCode == 599 && r.body == "body" }},
		{"RFC 9110, 15", "one that is none does not", "GET", 600, nil, "body", nil, func(r reply) bool { return r.StatusCode == 502 }},
		{"RFC 9110, 15.2", "an interim response has no form in SPDY", "GET", 103, nil, "", nil, func(r reply) bool { return r.StatusCode == 502 }},
		{"RFC 9112, 6.3", "a length that is none is 502", "GET", 200, header{"Content-Length": {"4x"}}, "body", nil, func(r reply) bool { return r.StatusCode == 502 }},
	} {
		t.Run(row.section+" "+row.must, func(t *testing.T) {
			s := newStage(t, nil)
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: row.status, Header: row.header, Trailer: row.trailer}
				if row.body != "" || row.trailer != nil {
					resp.Body = io.NopCloser(strings.NewReader(row.body))
				}
				return resp, nil
			})
			s.each(t, func(t *testing.T, v *visitor) {
				r := v.do(t, v.request(t, row.method, "/", nil))
				if row.status == 304 && v.proto == "h2" {
					r.err = nil // Go's client waits for as many bytes
				}
				if !row.holds(r) || r.err != nil {
					t.Errorf("got %d %v %q %v, %v", r.StatusCode, r.Header, r.body, r.Trailer, r.err)
				}
			})
		})
	}
}

// Answers as they are on an HTTP/1 connection.
func TestIntermediaryAnswersOnTheWire(t *testing.T) {
	upgrade := "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
	type header = http.Header
	for _, row := range []struct {
		section, must string
		request       string
		status        int
		header        header
		want, never   []string
	}{
		{"RFC 9110, 7.8", "101 says to what, and has no length and nothing of C's connection", upgrade + "\r\n", 101,
			header{"Upgrade": {"WebSocket"}, "Keep-Alive": {"1"}, "Content-Length": {"0"}, "Trailer": {"X"}, "X-A": {"1"}},
			[]string{"HTTP/1.1 101 Switching Protocols\r\n", "\r\nConnection: Upgrade\r\n", "\r\nUpgrade: websocket\r\n", "\r\nX-A: 1\r\n"},
			[]string{"Keep-Alive", "Content-Length", "Trailer", "Transfer-Encoding", "Content-Type"}},
		{"RFC 9110, 7.8", "first 100, then 101", upgrade + "Expect: 100-continue\r\n\r\n", 101, header{"Upgrade": {"websocket"}},
			[]string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 "}, nil},
		{"RFC 9110, 7.8", "426 says to what", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426, header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}},
			[]string{"HTTP/1.1 426 ", "\r\nConnection: Upgrade\r\n", "\r\nUpgrade: websocket\r\n", "\r\nSec-WebSocket-Version: 13\r\n"}, nil},
		{"RFC 6455, 4.2.2", "names are spelled as there", upgrade + "\r\n", 101,
			header{"Upgrade": {"websocket"}, "Sec-Websocket-Accept": {"v"}, "Sec-Websocket-Protocol": {"p"}, "Sec-Websocket-Extensions": {"e"}},
			[]string{"\r\nSec-WebSocket-Accept: v\r\n", "\r\nSec-WebSocket-Protocol: p\r\n", "\r\nSec-WebSocket-Extensions: e\r\n"}, []string{"Sec-Websocket"}},
		{"RFC 9110, 15.2.2", "a 101 that was not asked for is none", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 101, header{"Upgrade": {"websocket"}},
			[]string{"HTTP/1.1 502 "}, nil},
		{"RFC 9112, 4", "the reason is the proxy's, and a space stands before none", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 299, nil,
			[]string{"HTTP/1.1 299 "}, nil},
		{"RFC 9112, 6.1", "HTTP/1.0 gets no Transfer-Encoding", "GET / HTTP/1.0\r\n\r\n", 200, nil, []string{"HTTP/1.0 200 OK\r\n", "\r\n\r\nbody"}, []string{"Transfer-Encoding"}},
		{"RFC 9112, 6.1", "204 has none", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 204, nil, []string{"HTTP/1.1 204 "}, []string{"Transfer-Encoding", "Content-Length"}},
		{"RFC 9112, 6.2", "Transfer-Encoding and Content-Length are never both there", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200,
			header{"Transfer-Encoding": {"gzip"}, "Content-Length": {"4"}}, []string{"\r\nContent-Length: 4\r\n"}, []string{"Transfer-Encoding", "gzip"}},
		{"RFC 9112, 9.6", "close is said", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, header{"Content-Length": {"4"}}, []string{"\r\nConnection: close\r\n"}, nil},
	} {
		t.Run(row.section+" "+row.must, func(t *testing.T) {
			s := newStage(t, nil)
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: row.status, Header: row.header}
				if row.status == 200 {
					resp.Body = io.NopCloser(strings.NewReader("body"))
				}
				return resp, nil
			})
			text := row.request
			if row.status == 426 {
				text += "GET / HTTP/1.0\r\n\r\n"
			}
			got := s.raw(t, text)
			for _, w := range row.want {
				if !strings.Contains(got, w) {
					t.Errorf("got %q, want %q in it", got, w)
				}
			}
			for _, n := range row.never {
				if strings.Contains(got, n) {
					t.Errorf("got %q, want no %q in it", got, n)
				}
			}
		})
	}
}
