package front

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// "The request reaches C with method, path and query as sent."
func TestTargetAsSent(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		for _, target := range []string{
			"/", "/?", "/??", "/a?b=c&d", "/a/../b/./c", "//a//b/", "/%2e%2e/%2E/%2f", "/a%20b", "/a+b", "/%zz?%zz", "/a?x=%zz;y&&=",
			"/a;b=c,d", "/é", "/a\"<>^`{|}b", "/a?\"<>^`{|}é", "/a:b@c", "/" + strings.Repeat("x", 5000),
		} {
			if strings.Contains(target, "%zz") && strings.Contains(strings.Split(target, "?")[0], "%zz") {
				continue // no server takes such a path
			}
			got := v.get(t, target)
			if got.StatusCode != 200 {
				t.Errorf("%.80q: status %d %q", target, got.StatusCode, got.body)
				continue
			}
			if uri := got.seen(t).URI; uri != target {
				t.Errorf("C saw %.80q, A sent %.80q", uri, target)
			}
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "X-Own"} {
			if got := v.do(t, v.request(t, method, "/m", nil)).seen(t); got.Method != method {
				t.Errorf("C saw %s, A sent %s", got.Method, method)
			}
		}
		if got := v.do(t, v.request(t, "OPTIONS", "*", nil)).seen(t); got.URI != "*" {
			t.Errorf("OPTIONS *: C saw %q", got.URI)
		}
	})
	for _, line := range []string{"GET http://a.b/x//..?y", "GET http://a.b", "GET http://a.b?q", "GET HTTP://a.b:80/"} {
		target := strings.TrimPrefix(line, "GET ")
		want := "/"
		if i := strings.IndexAny(target[7:], "/?"); i >= 0 {
			want = target[7+i:]
			if want[0] == '?' {
				want = "/" + want
			}
		}
		_, body, _ := strings.Cut(s.raw(t, line+" HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"), "\r\n\r\n")
		if i := strings.IndexByte(body, '{'); i < 0 || !strings.Contains(body, `"URI":"`+want+`"`) || !strings.Contains(body, `"Host":"a.b`) {
			t.Errorf("%s: %q, want the URI %s of the host a.b", line, body, want)
		}
	}
}

// What is no request line in HTTP/1 is A's fault in h2 and SPDY, too, and no origin sees
// it. The rest of a target that http1 refuses, net/http and the engine do as well.
func TestNoTarget(t *testing.T) {
	var seen atomic.Int32
	inBubble(t, 100, nil, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }, func(b *bubble) {
		v := b.h2("192.0.2.1", 65535)
		defer v.conn.Close()
		peer, end := b.spdy("192.0.2.2", new(spdy.Config))
		id := uint32(1)
		spdy := func(method, path string) (status string) {
			peer.Send(spdytest.SynStream(id, spdytest.Fin, spdytest.Request(method, path)...))
			id += 2
			for {
				f := peer.Next("an answer")
				if s, ok := f.Get(":status"); ok {
					status, _, _ = strings.Cut(s, " ")
				}
				if f.Type == spdytest.TypeSynReply && f.Flags == 0 || f.Type == spdytest.TypeData && f.Flags == 0 || status == "" {
					continue
				}
				return status
			}
		}
		h2 := func(method, path string) string {
			id := v.ask(method, path, true)
			status := ""
			for {
				switch f := v.within(time.Second).(type) {
				case *http2.MetaHeadersFrame:
					if status = f.PseudoValue("status"); f.StreamEnded() {
						return status
					}
				case *http2.DataFrame:
					if f.StreamEnded() {
						return status
					}
				default:
					b.Fatalf("stream %d: got %v, %s %q has the status %q", id, f, method, path, status)
				}
			}
		}
		for _, row := range [][2]string{
			{"GET", "/a b"}, {"GET", "/a "}, {"GET", "/ HTTP/1.1"}, {"GET", "/a?b c"}, {"GET", "/a#b"}, {"GET", "/a?b#"}, {"GET", "/#"}, {"GET", "*"}, {"G ET", "/"}, {"GÉT", "/"},
		} {
			if a, b := h2(row[0], row[1]), spdy(row[0], row[1]); a != "400" || b != "400" || seen.Load() > 0 {
				t.Errorf("%q: h2 %s, SPDY %s, C has seen %d; want 400, and none", row, a, b, seen.Swap(0))
			}
		}
		if a, b := h2("OPTIONS", "*"), spdy("GET", "/é?\"<>^`{|}"); a != "200" || b != "200" {
			t.Errorf("those that are good: %s, %s; want 200", a, b)
		}
		end()
	})
}

// "its end-to-end headers, no hop-by-hop header, Via, and P's own X-Forwarded-*."
func TestHeadersToC(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		r := v.request(t, "GET", "/", nil)
		r.Host = "films.example.org:1443"
		sent := http.Header{
			"Accept":            {"text/html", "image/*"},
			"Authorization":     {"Bearer x"},
			"Cookie":            {"a=b"},
			"Via":               {"1.0 fred"},
			"X-Own":             {"yes"},
			"Forwarded":         {"for=6.6.6.6"},
			"X-Forwarded-For":   {"6.6.6.6"},
			"X-Forwarded-Host":  {"evil"},
			"X-Forwarded-Proto": {"gopher"},
			"X-Forwarded-Port":  {"6"},
			"X_forwarded_for":   {"6.6.6.6"},
			"X-Request-Id":      {"evil"},
			"Priority":          {"u=1"},
			"User-Agent":        {"test"},
		}
		if v.proto == "http/1.1" {
			sent.Set("Connection", "X-Listed, close")
			sent.Set("X-Listed", "1")
			sent.Set("Keep-Alive", "1")
			sent.Set("Proxy-Connection", "1")
			sent.Set("Proxy-Authorization", "Basic x")
			sent.Set("Te", "trailers, deflate")
			sent.Set("Upgrade", "h2c")
		}
		r.Header = sent
		got := v.do(t, r).seen(t)
		for name, want := range map[string]string{
			"Accept": "text/html|image/*", "Authorization": "Bearer x", "Cookie": "a=b", "X-Own": "yes", "Priority": "u=1", "User-Agent": "test",
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "films.example.org:1443", "X-Forwarded-Proto": v.scheme,
			"Connection": "", "X-Listed": "", "Keep-Alive": "", "Proxy-Connection": "", "Proxy-Authorization": "", "Upgrade": "",
			"Forwarded": "", "X-Forwarded-Port": "", "X_forwarded_for": "", "Expect": "",
		} {
			if have := strings.Join(got.Header[name], "|"); have != want {
				t.Errorf("%s: C saw %q, want %q", name, have, want)
			}
		}
		if via := strings.Join(got.Header["Via"], ", "); via != "1.0 fred, 1.1 spdy-proxy" {
			t.Errorf("Via: %q", via)
		}
		rec := s.record(t)
		if id := got.Header.Get("X-Request-Id"); id == "evil" || !validRequestID(id) {
			t.Errorf("X-Request-Id: %q, want one of P's own", id)
		} else if rec.RequestID != id {
			t.Errorf("the record has the id %q, C saw %q", rec.RequestID, id)
		}
		if got.Host != "films.example.org:1443" {
			t.Errorf("Host: %q", got.Host)
		}
	})
}

// "what A claimed in those is dropped unless A is trusted."
func TestTrustedProxy(t *testing.T) {
	s := newStage(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		r := v.request(t, "GET", "/", nil)
		r.Header = http.Header{
			"Forwarded":         {"for=192.0.2.7"},
			"X-Forwarded-For":   {"6.6.6.6, 192.0.2.7", "10.1.2.3"},
			"X-Forwarded-Host":  {"outside.example"},
			"X-Forwarded-Proto": {"HTTPS"},
			"X-Forwarded-Port":  {"443"},
			"X-Request-Id":      {"abc-1"},
			"X_forwarded_host":  {"evil"},
		}
		got := v.do(t, r).seen(t)
		for name, want := range map[string]string{
			"Forwarded": "for=192.0.2.7", "X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.1.2.3, 127.0.0.1", "X-Forwarded-Host": "outside.example",
			"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "X-Request-Id": "abc-1", "X_forwarded_host": "",
		} {
			if have := strings.Join(got.Header[name], "|"); have != want {
				t.Errorf("%s: C saw %q, want %q", name, have, want)
			}
		}
		if rec := s.record(t); rec.Client != netip.MustParseAddr("192.0.2.7") || rec.Peer != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("record: client %v, peer %v; want the last address that is not trusted, and 127.0.0.1", rec.Client, rec.Peer)
		}
		r = v.request(t, "GET", "/", nil)
		r.Header = http.Header{"X-Forwarded-For": {"192.0.2.8:4711, 10.1.2.3:80"}}
		v.do(t, r).seen(t)
		if rec := s.record(t); rec.Client != netip.MustParseAddr("192.0.2.8") {
			t.Errorf("a list with ports: client %v, want 192.0.2.8", rec.Client)
		}
		r = v.request(t, "GET", "/", nil)
		r.Header = http.Header{"X-Request-Id": {"a\"b"}, "X-Forwarded-Proto": {"gopher"}, "X-Forwarded-For": {"no address"}}
		got = v.do(t, r).seen(t)
		if id := got.Header.Get("X-Request-Id"); strings.Contains(id, `"`) {
			t.Errorf("X-Request-Id %q was passed on", id)
		}
		if p := got.Header.Get("X-Forwarded-Proto"); p != v.scheme {
			t.Errorf("X-Forwarded-Proto %q, want %q", p, v.scheme)
		}
		s.record(t)
	})
}

func TestUserAgent(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                `null`,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent:\r\n\r\n": `[""]`,
		"GET / HTTP/1.0\r\n\r\n": `null`,
	} {
		answer := s.raw(t, request)
		_, body, _ := strings.Cut(answer, "\r\n\r\n")
		i := strings.IndexByte(body, '{')
		if i < 0 {
			t.Errorf("%q: %q", request, answer)
			continue
		}
		var got seen
		json.NewDecoder(strings.NewReader(body[i:])).Decode(&got)
		agent, _ := json.Marshal(got.Header["User-Agent"])
		if string(agent) != want {
			t.Errorf("%q: C saw the User-Agent %s, want %s", request, agent, want)
		}
	}
}

// What is known as smuggling: the message could be read in two ways. Each is
// refused, or read in one way and no second request is made of it.
func TestSmuggling(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for _, test := range []struct{ name, text string }{
		{"two content-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"},
		{"a list of content-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbody"},
		{"a content-length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody"},
		{"an unknown transfer-encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
		{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
		{"transfer-encoding on two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
		{"a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody"},
		{"a space before transfer-encoding's colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
		{"no host", "GET / HTTP/1.1\r\n\r\n"},
		{"a control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-Y: a\x00b\r\n\r\n"},
		{"a header that starts with a fold", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
		{"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"HTTP/0.9", "GET /\r\n\r\n"},
		{"a bare LF in a chunk header", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;\nx\r\nbody\r\n0\r\n\r\n"},
		{"a chunk without its end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodyGARBAGE0\r\n\r\n"},
		{"a chunk size with a sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n"},
		{"a chunk size that overflows", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n"},
	} {
		got := s.raw(t, test.text+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
		if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 501") && !strings.HasPrefix(got, "HTTP/1.1 505") {
			t.Errorf("%s: %q, want one refusal", test.name, got)
		}
		if strings.Contains(got, "smuggled") {
			t.Errorf("%s: a second request was made of it: %q", test.name, got)
		}
	}
	t.Run("content-length beside transfer-encoding", func(t *testing.T) {
		// RFC 9112, 6.3: chunked counts; C must not see the other.
		got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 200") && (!strings.Contains(got, `"Body":"body"`) || strings.Contains(got, `"Content-Length":["100"]`) || strings.Contains(got, "Transfer-Encoding\":")) {
			t.Errorf("%q", got)
		}
	})
	t.Run("a folded header", func(t *testing.T) {
		// RFC 9112, 5.2: a space takes the fold's place, or 400.
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Y: a\r\n b\r\n\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 200") && !strings.Contains(got, `"X-Y":["a b"]`) {
			t.Errorf("%q", got)
		}
	})
}

// "TE: trailers" is for the next hop, and true of P as well.
func TestTE(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for te, want := range map[string]string{"trailers": `"Te":["trailers"]`, "deflate, Trailers": `"Te":["trailers"]`, "deflate": "", "trailers;q=0": ""} {
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, close\r\nTE: "+te+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Contains(got, `"Te"`) != (want != "") || !strings.Contains(got, want) {
			t.Errorf("TE: %s: %q", te, got)
		}
	}
}

// What Connection names is not passed on, whatever it is, except what P itself says.
func TestNamedByConnection(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, cookie ,\t X-OWN,,X-Forwarded-For, Via, X-Request-Id\r\n"+
		"Connection: x-second\r\nCookie: a\r\nX-Own: 1\r\nX-Second: 1\r\nVia: 1.0 fred\r\nX-Third: 1\r\n\r\n")
	for name, want := range map[string]bool{"Cookie": false, "X-Own": false, "X-Second": false, "X-Third": true,
		"X-Forwarded-For": true, "X-Request-Id": true, "Via": true, "Connection": false} {
		if strings.Contains(got, `"`+name+`":[`) != want {
			t.Errorf("%s: C has seen it: %v, want %v", name, !want, want)
		}
	}
	if strings.Contains(got, "fred") {
		t.Error("C has seen the Via that Connection names")
	}
}

// A name of a header that SPDY lets pass, and HTTP/1.1 does not, is A's fault: no origin
// sees it, is blamed for it, or counts as failed.
func TestNoHeaderName(t *testing.T) {
	var log bytes.Buffer
	var seen atomic.Int32
	logged := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	inBubble(t, 100, logged, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }, func(b *bubble) {
		peer, end := b.spdy("192.0.2.2", new(spdy.Config))
		peer.Send(spdytest.SynStream(1, spdytest.Fin, append(spdytest.Request("GET", "/"), spdytest.Pair{Name: "a(b", Value: "1"})...))
		f := peer.Next("an answer")
		if status, _ := f.Get(":status"); !strings.HasPrefix(status, "400") {
			t.Errorf("got %v, want 400", f)
		}
		r := <-b.records
		if r.Status != 400 || r.Reason != reasonRequest || r.Failed() {
			t.Errorf("the record: status %d, reason %q, failed %t; want 400, %s, false", r.Status, r.Reason, r.Failed(), reasonRequest)
		}
		if log.Len() > 0 || seen.Load() > 0 {
			t.Errorf("the log: %q; C has seen %d requests; want none", log.String(), seen.Load())
		}
		end()
	})
}
