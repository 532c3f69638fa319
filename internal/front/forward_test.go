package front

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// "The request reaches C with method, path and query as sent."
func TestTargetAsSent(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		for _, target := range []string{
			"/", "/?", "/??", "/a?b=c&d", "/a/../b/./c", "//a//b/", "/%2e%2e/%2E/%2f", "/a%20b", "/a+b", "/%zz?%zz", "/a?x=%zz;y&&=",
			"/a;b=c,d", "/é", "/a\"<>^`{|}b", "/a?\"<>^`{|}é", "/a:b@c", "/a#b", "/a?b#c", "/" + strings.Repeat("x", 5000),
		} {
			if strings.Contains(target, "%zz") && strings.Contains(strings.Split(target, "?")[0], "%zz") {
				continue // no server takes such a path
			}
			if v.proto != "http/1.1" && strings.Contains(strings.Split(target, "?")[0], "#") {
				continue // nor does a client send it
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
	for _, line := range []string{"GET http://a.b/x//..?y#z", "GET http://a.b", "GET http://a.b?q", "GET HTTP://a.b:80/"} {
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

// Nothing is added to C's answer that C did not say.
func TestAnswerAsSent(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("X-Own", "yes")
		w.Header().Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
		w.Header().Set("Content-Encoding", "own")
		w.WriteHeader(418)
		io.WriteString(w, "<html>")
	})
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.get(t, "/")
		if got.StatusCode != 418 || got.body != "<html>" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		names := slices.DeleteFunc(sorted(got.Header), func(n string) bool { return n == "Content-Length" })
		if want := []string{"Content-Encoding", "Date", "Set-Cookie", "X-Own"}; !slices.Equal(names, want) {
			t.Errorf("A got the headers %q, want %q", names, want)
		}
		if got.Header.Get("Date") != "Thu, 01 Jan 1970 00:00:00 GMT" || len(got.Header["Set-Cookie"]) != 2 {
			t.Errorf("headers: %v", got.Header)
		}
	})
}

func TestHopByHopFromC(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		return answerOf(r, 200, map[string]string{
			"Connection": "close", "Keep-Alive": "1", "Proxy-Connection": "1", "Te": "x", "Proxy-Authenticate": "x", "Upgrade": "h2c", "X-Own": "yes",
		}, "body"), nil
	})
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.get(t, "/")
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Proxy-Authenticate", "Upgrade"} {
			if got.Header.Get(name) != "" {
				t.Errorf("%s was passed on", name)
			}
		}
		if got.Header.Get("X-Own") != "yes" || got.body != "body" {
			t.Errorf("X-Own %q, body %q", got.Header.Get("X-Own"), got.body)
		}
	})
}

// "Trailers pass both ways as HEADERS frames."
func TestTrailers(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(200)
		json.NewEncoder(w).Encode(seen{Trailer: r.Trailer})
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Sudden", "2")
	})
	s.each(t, func(t *testing.T, v *visitor) {
		r := v.request(t, "POST", "/", io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Sum": {"7"}, "X-Forwarded-For": {"6.6.6.6"}, "X-Empty": nil}
		got := v.do(t, r)
		if got.err != nil {
			t.Fatal(got.err)
		}
		to := got.seen(t).Trailer
		if to.Get("X-Sum") != "7" || to.Get("X-Forwarded-For") != "" {
			t.Errorf("C got the trailers %v, want X-Sum alone", to)
		}
		if got.Trailer.Get("X-Announced") != "1" || got.Trailer.Get("X-Sudden") != "2" {
			t.Errorf("A got the trailers %v", got.Trailer)
		}
	})
	// Not announced, as HTTP/1.1 allows.
	answer := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, x-named\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"1\r\nx\r\n0\r\nX-Late: 1\r\nX-Request-Id: 6\r\nx-named: 1\r\nCache-Control: no-store\r\n\r\n")
	if !strings.Contains(answer, `"X-Late":["1"]`) || strings.Contains(answer, "X-Request-Id") || strings.Contains(answer, "X-Named") || strings.Contains(answer, "no-store") {
		t.Errorf("trailers that were not announced: %q", answer)
	}
}

// "A request's body is read (and 100 Continue sent) only once its stream is open."
func TestExpectContinue(t *testing.T) {
	s := newStage(t, nil)
	got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 503") || strings.Contains(got, "100 Continue") {
		t.Errorf("without an origin: %q, want a 503 alone", got)
	}
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		echo(w, r)
	})
	got = s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody")
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") || !strings.Contains(got, `"Body":"body"`) {
		t.Errorf("with one: %q, want 100, then 200", got)
	}
	if strings.Contains(got, `"Expect"`) {
		t.Errorf("C saw the Expect header: %q", got)
	}
}

// Bodies of any length pass both ways, streaming.
func TestBodies(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		io.Copy(w, r.Body)
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, known := range []bool{true, false} {
			body := io.Reader(bytes.NewReader(big))
			if !known {
				body = io.MultiReader(body)
			}
			got := v.do(t, v.request(t, "PUT", "/", body))
			if got.err != nil || got.body != string(big) {
				t.Errorf("known length %v: %d bytes came back of %d: %v", known, len(got.body), len(big), got.err)
			}
			if rec := s.record(t); rec.BytesIn != int64(len(big)) || rec.BytesOut != int64(len(big)) || rec.Aborted {
				t.Errorf("record: %d bytes in, %d out, aborted %v", rec.BytesIn, rec.BytesOut, rec.Aborted)
			}
		}
	})
	s.each(t, func(t *testing.T, v *visitor) {
		// What comes is passed on before the rest does, both ways.
		r, w := io.Pipe()
		resp, err := v.rt.RoundTrip(v.request(t, "POST", "/", r))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, word := range []string{"one", "two", "three"} {
			io.WriteString(w, word)
			got := make([]byte, len(word))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
				t.Fatalf("got %q, %v; want %q", got, err, word)
			}
		}
		w.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("the rest: %q, %v", rest, err)
		}
	})
}

func TestPeerText(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":            "192.0.2.1",
		"[2001:db8::1]:80":        "2001:db8::1",
		"[2001:DB8:0:0::1]:80":    "2001:db8::1",
		"[::ffff:192.0.2.1]:80":   "192.0.2.1",
		"[fe80::1%eth0]:80":       "fe80::1",
		"[::ffff:192.0.2.1%x]:80": "192.0.2.1",
	} {
		peer := peerOf(&http.Request{RemoteAddr: remote})
		if got := peerText(remote, peer); got != want || netip.MustParseAddr(got) != peer {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}
