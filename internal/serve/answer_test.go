package serve_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/serve"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// toRaw returns a session to a C in front of a service that answers each
// request with the bytes of answer, and what both log.
func toRaw(t *testing.T, answer string) (*spdy.Session, *testlog.Buffer) {
	t.Helper()
	log := new(testlog.Buffer)
	logger := slog.New(slog.NewTextHandler(log, nil))
	h := open(t, serve.Config{To: "http://" + rawService(t, answer), Logger: logger})
	return visitWith(t, &spdy.Config{Logger: logger}, h), log
}

// RFC 9110, 15 and 8.6; RFC 9112, 4, 5, 6.1 and 6.3: what is no answer is 502
// and one line in the log.
func TestAnswersThatHTTPForbids(t *testing.T) {
	for _, tc := range []struct{ name, answer, want string }{
		{"status 000", "HTTP/1.1 000 x\r\n\r\n", "its status is 000"},
		{"status 099", "HTTP/1.1 099 x\r\n\r\n", "its status is 099"},
		{"status with a sign", "HTTP/1.1 +05 x\r\n\r\n", "its status is 005"},
		{"status with a minus", "HTTP/1.1 -00 x\r\n\r\n", "its status is 000"},
		{"status 600", "HTTP/1.1 600 x\r\n\r\n", "its status is 600"},
		{"status 999", "HTTP/1.1 999 x\r\n\r\n", "its status is 999"},
		{"status of two digits", "HTTP/1.1 20 x\r\n\r\n", "no valid answer"},
		{"status of four digits", "HTTP/1.1 2000 x\r\n\r\n", "no valid answer"},
		{"status of letters", "HTTP/1.1 abc x\r\n\r\n", "no valid answer"},
		{"no status", "HTTP/1.1\r\n\r\n", "no valid answer"},
		{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "not asked for"},
		{"only an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", "closed the connection without an answer"},
		{"endless interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 300), "no valid answer"},
		{"HTTP/0.9", "<html>hello</html>\n", "no valid answer"},
		{"another protocol", "SSH-2.0-x\r\n\r\n", "no valid answer"},
		{"another protocol's status line", "ICY 200 OK\r\n\r\n", "no valid answer"},
		{"binary", "\x00\x01\x02\xff\r\n\r\n", "no valid answer"},
		{"empty lines", "\r\n\r\n\r\n", "no valid answer"},
		{"version 2", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/2.0"},
		{"version 0.9", "HTTP/0.9 200 OK\r\n\r\n", "HTTP/0.9"},
		{"a line without a colon", "HTTP/1.1 200 OK\r\nX-A: b\r\nnonsense\r\n\r\n", "no valid answer"},
		{"a first line that is folded", "HTTP/1.1 200 OK\r\n X-A: b\r\n\r\n", "no valid answer"},
		{"a header without a name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n", "no valid answer"},
		{"a name with a space in it", "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n", "a header has the name"},
		{"a name with a control character", "HTTP/1.1 200 OK\r\nX\x01A: b\r\n\r\n", "no valid answer"},
		{"NUL in a value", "HTTP/1.1 200 OK\r\nX-A: b\x00c\r\n\r\n", "no valid answer"},
		{"CR in a value", "HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n", "no valid answer"},
		{"a space after Content-Length", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", "white space"},
		{"a space after Transfer-Encoding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "white space"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "no valid answer"},
		{"two lengths in a line", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", "no valid answer"},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "no valid answer"},
		{"a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "no valid answer"},
		{"a length of letters", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", "no valid answer"},
		{"a length beyond all", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello", "no valid answer"},
		{"an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", "no valid answer"},
		{"chunked not last", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "no valid answer"},
		{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "no valid answer"},
		{"chunked twice in two lines", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "no valid answer"},
		{"a length announced as a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "no valid answer"},
		{"a head that is too large", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 122<<10) + "\r\n\r\n", "too large"},
		{"a head of too many lines", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 600) + "\r\n", "too large: 6000 bytes in 600 lines"},
		{"a head without an end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 300), "no valid answer"},
		{"a head cut short", "HTTP/1.1 200 OK\r\nX: x\r\n", "the service behind this address"},
		{"nothing", "", "closed the connection without an answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, log := toRaw(t, tc.answer)
			// With a body it is not sent again on another connection.
			resp, body, err := do(t, s, request(t.Context(), "POST", "/x", strings.NewReader("x")))
			if resp.StatusCode != 502 || err != nil || !strings.HasPrefix(body, "502: ") || !strings.Contains(body, tc.want) || strings.Count(body, "\n") != 1 {
				t.Errorf("%d %q %v, want 502 and one line with %q; logged\n%s", resp.StatusCode, body, err, tc.want, log.String())
			}
			if got := resp.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || strings.Contains(text, "goroutine") || len(text) > 1000 {
				t.Errorf("logged\n%.2000s\nwant one line", text)
			}
		})
	}
}

// What is odd and allowed passes, mended where an intermediary has to.
func TestAnswersThatAreOdd(t *testing.T) {
	for _, tc := range []struct {
		name, method, answer string
		status               int
		body                 string
		header, trailer      http.Header // all but Date
	}{
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", http.Header{"Content-Length": {"2"}}, nil},
		{"bare line feeds", "GET", "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi", 200, "hi", http.Header{"Content-Length": {"2"}, "X-A": {"b"}}, nil},
		{"RFC 9112, 5.1: white space after a name", "GET", "HTTP/1.1 200 OK\r\nX-A : b\r\nx-a: c\r\nContent-Length: 2\r\n\r\nhi", 200, "hi",
			http.Header{"Content-Length": {"2"}, "X-A": {"c", "b"}}, nil},
		{"RFC 9112, 5.2: a folded line", "GET", "HTTP/1.1 200 OK\r\nX-A: b\r\n\t c\r\nContent-Length: 2\r\n\r\nhi", 200, "hi",
			http.Header{"Content-Length": {"2"}, "X-A": {"b c"}}, nil},
		{"RFC 9110, 8.6: one length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi",
			http.Header{"Content-Length": {"2"}}, nil},
		{"RFC 9112, 6.1: a length beside chunks", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi",
			http.Header{}, nil},
		{"a body that ends with the connection", "GET", "HTTP/1.0 200 OK\r\n\r\n<html>hi", 200, "<html>hi", http.Header{}, nil},
		{"RFC 9112, 6.3: more than was announced", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\nanother", 200, "hi",
			http.Header{"Content-Length": {"2"}}, nil},
		{"RFC 9110, 15.2: interim answers", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Type: x/y\r\n\r\n" +
			"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 200, "<html>", http.Header{"Content-Length": {"6"}}, nil},
		{"RFC 9110, 8.6: a length on 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", http.Header{}, nil},
		{"a length on 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: \"x\"\r\n\r\n", 304, "", http.Header{"Content-Length": {"5"}, "Etag": {`"x"`}}, nil},
		{"a length on HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "", http.Header{"Content-Length": {"5"}}, nil},
		{"a body on HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "", http.Header{"Content-Length": {"5"}}, nil},
		{"RFC 9110, 7.6.1: hop-by-hop headers", "GET", "HTTP/1.1 200 OK\r\nConnection: x-a, keep-alive\r\nConnection: ,X-B ,\r\nX-A: a\r\nX-B: b\r\nX-C: c\r\nKeep-Alive: x\r\n" +
			"Proxy-Connection: x\r\nProxy-Authenticate: x\r\nTE: x\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi",
			http.Header{"X-C": {"c"}}, nil},
		{"RFC 9110, 7.6.1: hop-by-hop trailers", "GET", "HTTP/1.1 200 OK\r\nConnection: X-A\r\nTrailer: X-A, X-C\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" +
			"X-A: a\r\nX-C: c\r\nKeep-Alive: x\r\n\r\n", 200, "hi", http.Header{}, http.Header{"X-C": {"c"}}},
		{"trailers nobody announced", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-A: a\r\nX-A: b\r\n\r\n", 200, "hi",
			http.Header{}, http.Header{"X-A": {"a", "b"}}},
		{"every answer the service makes has its type, or none", "GET", "HTTP/1.1 404 Not Found\r\nContent-Type: x/y\r\nContent-Length: 2\r\n\r\nhi", 404, "hi",
			http.Header{"Content-Length": {"2"}, "Content-Type": {"x/y"}}, nil},
		{"no type", "GET", "HTTP/1.1 500 x\r\nContent-Length: 6\r\n\r\n<html>", 500, "<html>", http.Header{"Content-Length": {"6"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, log := toRaw(t, tc.answer)
			resp, body, err := do(t, s, request(t.Context(), tc.method, "/x", nil))
			if resp.StatusCode != tc.status || body != tc.body || err != nil {
				t.Errorf("%d %q %v, want %d %q", resp.StatusCode, body, err, tc.status, tc.body)
			}
			resp.Header.Del("Date")
			equal := func(a, b http.Header) bool { return maps.EqualFunc(a, b, slices.Equal) }
			if !equal(resp.Header, tc.header) || !equal(resp.Trailer, tc.trailer) {
				t.Errorf("headers %v, trailers %v, want %v, %v", resp.Header, resp.Trailer, tc.header, tc.trailer)
			}
			if text := log.String(); text != "" {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// The same name in headers and trailers: both arrive.
func TestTrailerThatIsAHeaderToo(t *testing.T) {
	s, _ := toRaw(t, "HTTP/1.1 200 OK\r\nX-A: head\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-A: tail\r\n\r\n")
	resp, err := s.RoundTrip(request(t.Context(), "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header["X-A"]; !slices.Equal(got, []string{"head"}) {
		t.Errorf("header X-A: %q, want head", got)
	}
}

// A service that breaks off its answer is one line, however often it does.
func TestAnswersBrokenOffAreOneLine(t *testing.T) {
	s, log := toRaw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	for range 20 {
		if resp, err := s.RoundTrip(request(t.Context(), "GET", "/film", nil)); err == nil {
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("a body that was cut looks whole")
			}
			resp.Body.Close()
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "broke off") || !strings.Contains(text, "/film") {
		t.Errorf("logged\n%s\nwant one line", text)
	}
}

// What the service gets, byte for byte: RFC 9110, 7.2, 7.6.1, 10.1.4; RFC 9112, 3.2, 6.1, 6.2.
func TestRequestAsTheServiceReadsIt(t *testing.T) {
	heads := make(chan []string, 1)
	addr := rawServer(t, func(c net.Conn) {
		var lines []string
		for r := bufio.NewScanner(c); r.Scan() && r.Text() != ""; {
			lines = append(lines, r.Text())
		}
		heads <- lines
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	h := open(t, serve.Config{To: "http://" + addr})
	s := visit(t, h)
	for _, tc := range []struct {
		name   string
		method string
		body   io.Reader
		length int64
		header http.Header
		want   []string // after the request line and Host, sorted
	}{
		{"nothing beside", "GET", nil, 0, nil, nil},
		{"no body where one may be", "POST", nil, 0, nil, []string{"Content-Length: 0"}},
		{"a length", "PUT", strings.NewReader("hello"), 5, nil, []string{"Content-Length: 5"}},
		{"no length", "PUT", strings.NewReader("hello"), -1, nil, []string{"Transfer-Encoding: chunked"}},
		{"TE is listed in Connection", "GET", nil, 0, http.Header{"Te": {"trailers"}}, []string{"Connection: TE", "TE: trailers"}},
		{"hop-by-hop headers", "GET", nil, 0, http.Header{"Keep-Alive": {"x"}, "Proxy-Authorization": {"x"}, "Proxy-Authenticate": {"x"},
			"Proxy-Connection": {"x"}, "Trailer": {"x"}, "Upgrade": {"h2c"}, "X-A": {"b"}}, []string{"X-A: b"}},
		{"spelling", "GET", nil, 0, http.Header{"Dnt": {"1"}, "Soapaction": {"x"}, "X-Csrf-Token": {"t"}, "Etag": {"e"}},
			[]string{"DNT: 1", "Etag: e", "SOAPAction: x", "X-Csrf-Token: t"}},
	} {
		r := request(t.Context(), tc.method, "/x?y", tc.body)
		r.ContentLength = tc.length
		maps.Copy(r.Header, tc.header)
		do(t, s, r)
		got := <-heads
		if len(got) < 2 || got[0] != tc.method+" /x?y HTTP/1.1" || got[1] != "Host: example.test" {
			t.Errorf("%s: %q, want the request line and Host first", tc.name, got)
			continue
		}
		rest := slices.Sorted(slices.Values(got[2:]))
		if !slices.Equal(rest, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, rest, tc.want)
		}
	}
}

// RFC 6455, 4.1: names as the standard writes them, since small services compare letters.
func TestWebSocketRequestAsTheServiceReadsIt(t *testing.T) {
	head := make(chan []string, 1)
	addr := rawServer(t, func(c net.Conn) {
		var lines []string
		for r := bufio.NewScanner(c); r.Scan() && r.Text() != ""; {
			lines = append(lines, r.Text())
		}
		head <- lines
		fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	s := visit(t, open(t, serve.Config{To: "http://" + addr}))
	r := upgradeRequest(t)
	r.Header["Sec-Websocket-Protocol"] = []string{"a, b", "c"}
	r.Header["Sec-Websocket-Extensions"] = []string{"permessage-deflate"}
	do(t, s, r)
	want := []string{"Connection: Upgrade", "GET /ws HTTP/1.1", "Host: example.test", "Sec-WebSocket-Extensions: permessage-deflate",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c", "Sec-WebSocket-Version: 13", "Upgrade: websocket"}
	if got := slices.Sorted(slices.Values(<-head)); !slices.Equal(got, want) {
		t.Errorf("the service read %q, want %q", got, want)
	}
}

// RFC 6455, 4.1: a 101 without these is none.
func TestWebSocketSwitchedInAnotherWay(t *testing.T) {
	for _, head := range []string{"", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n", "Connection: keep-alive\r\nUpgrade: websocket\r\n"} {
		s, log := toRaw(t, "HTTP/1.1 101 Switching Protocols\r\n"+head+"\r\n")
		resp, body, _ := do(t, s, upgradeRequest(t))
		if resp.StatusCode != 502 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%q: %d %q, logged %q, want 502 and one line", head, resp.StatusCode, body, log.String())
		}
	}
	s, _ := toRaw(t, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n\r\nhi")
	resp, body, err := do(t, s, upgradeRequest(t))
	if resp.StatusCode != 101 || body != "hi" || err != nil || resp.Header["Link"] != nil {
		t.Errorf("%d %q %v %v, want 101", resp.StatusCode, body, err, resp.Header)
	}
}
