package spdy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// What programs written for the library of 2015 rely on, by number. Each runs
// in a synctest bubble but for those that need real sockets, which say so.
var upstreamBehaviour = []struct {
	id   int
	what string
	run  func(t *testing.T)
}{
	{1, "no stream: 404 and no error; failed: 404 and the error", bubble(upstreamNotFound)},
	{2, "what Do returns", bubble(upstreamDo)},
	{3, "NewClient that cannot connect", upstreamNoConnection},
	{4, "what a request needs", bubble(upstreamRequestURL)},
	{5, "the caller's request stays as it is", bubble(upstreamRequestUnchanged)},
	{6, "no body: FIN on SYN_STREAM", bubble(upstreamEmptyBody)},
	{7, "what a handler gets", bubble(upstreamHandlerRequest)},
	{8, "what WriteHeader and Write do", bubble(upstreamWriteHeader)},
	{9, "a response ends once", bubble(upstreamEnd)},
	{10, "ListenAndServeTLS", upstreamListenAndServeTLS},
	{11, "ListenAndServeTLSSpdyOnly", upstreamSpdyOnly},
	{12, "accepting", upstreamAccept},
	{13, "any number of goroutines", bubble(upstreamConcurrent)},
	{14, "ids and priority", bubble(upstreamIDs)},
	{15, "a client stream with flags 02", bubble(upstreamUnidirectional)},
}

func TestUpstream(t *testing.T) {
	quiet(t)
	for i, b := range upstreamBehaviour {
		if b.id != i+1 {
			t.Errorf("row %d is number %d", i+1, b.id)
		}
		t.Run(fmt.Sprintf("%02d_%s", b.id, b.what), b.run)
	}
}

// quiet keeps what the sessions of a test log off standard error.
func quiet(t *testing.T) {
	spdy.SetLog(nil)
	t.Cleanup(func() { spdy.SetLog(os.Stderr) })
}

func bubble(run func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, run) }
}

// upstreamServer is a session of NewServerSession under test, with a scripted
// peer. Its handler has "/ok" beside what mux gets later.
func upstreamServer(t *testing.T) *serverTest {
	t.Helper()
	h := &serverTest{mux: http.NewServeMux()}
	h.mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	h.session = newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return spdy.NewServerSession(conn, &http.Server{Handler: h.mux})
	})
	return h
}

// upstreamClient is a session of NewClientSession under test.
func upstreamClient(t *testing.T) *clientTest {
	t.Helper()
	h := &clientTest{next: 1}
	h.session = newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return spdy.NewClientSession(conn)
	})
	return h
}

// upstreamPair is a Client whose peer runs h in a session of NewServerSession.
func upstreamPair(t *testing.T, h http.Handler) (*spdy.Client, *spdy.Session) {
	t.Helper()
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	server := spdy.NewServerSession(b, &http.Server{Handler: h})
	// Ends with the session, which the cleanup closes.
	go server.Serve()
	client, err := spdy.NewClientConn(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// proxied is one NewStreamProxy under way.
type proxied struct {
	rec  *spdy.ResponseRecorder
	done chan error
}

func (h *clientTest) proxy(r *http.Request) *proxied {
	p := &proxied{spdy.NewRecorder(), make(chan error, 1)}
	// Ends when NewStreamProxy does, at the latest with the session.
	go func() { p.done <- h.s.NewStreamProxy(r, p.rec) }()
	return p
}

func upstreamNotFound(t *testing.T) {
	h := upstreamClient(t)
	check := func(why string, rec *spdy.ResponseRecorder) {
		t.Helper()
		if rec.Code != 404 || rec.Body.String() != "404 page not found\n" {
			t.Errorf("%s: got %d %q, want 404 page not found", why, rec.Code, rec.Body)
		}
	}

	// Failed.
	p := h.proxy(h.request("GET", "/", nil))
	f := h.wantSyn("a request")
	h.p.Send(rst(f.ID, spdy.InternalError))
	err := <-p.done
	if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.Status != spdy.InternalError {
		t.Errorf("after RST_STREAM: %v, want a *StreamError", err)
	}
	check("after RST_STREAM", p.rec)

	// Not sent at all: the URL is not whole.
	rec := spdy.NewRecorder()
	if err := h.s.NewStreamProxy(httptest.NewRequest("GET", "/", nil), rec); err == nil {
		t.Error("a request without scheme and host: no error")
	}
	check("not sent", rec)

	// Above last-good: opened, so it failed.
	p = h.proxy(h.request("GET", "/", nil))
	first := h.wantSyn("a request").ID
	q := h.proxy(h.request("GET", "/", nil))
	h.wantSyn("another")
	h.p.Send(goAway(first, 0))
	if err := <-q.done; !spdy.Retryable(err) {
		t.Errorf("above last-good: %v, want one that may be sent again", err)
	}
	check("above last-good", q.rec)

	// After GOAWAY, with a stream still open.
	client := spdy.NewRecorder()
	if err := h.s.NewStreamProxy(h.request("GET", "/", nil), client); err != nil {
		t.Errorf("after GOAWAY: %v, want no error", err)
	}
	check("after GOAWAY", client)
	if st := h.s.NewClientStream(); st != nil {
		t.Errorf("NewClientStream after GOAWAY: stream %v, want nil", st)
	}
	h.p.Send(rep(first), data(first, "ok", fin))
	if err := <-p.done; err != nil || p.rec.Body.String() != "ok" {
		t.Errorf("at last-good: %q, %v, want ok", p.rec.Body, err)
	}
	h.finish()

	// Ended.
	rec = spdy.NewRecorder()
	if err := h.s.NewStreamProxy(h.request("GET", "/", nil), rec); err != nil {
		t.Errorf("after the end: %v, want no error", err)
	}
	check("after the end", rec)
	c, _ := upstreamPair(t, http.NotFoundHandler())
	c.Close()
	resp, err := c.Do(h.request("GET", "/", nil))
	if err != nil || resp.StatusCode != 404 || resp.ContentLength != int64(len("404 page not found\n")) {
		t.Errorf("Do after Close: %+v, %v, want 404 and no error", resp, err)
	}
}

func upstreamDo(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flushed": // of unknown length
			for _, piece := range []string{"one ", "two ", "three"} {
				io.WriteString(w, piece)
				w.(http.Flusher).Flush()
			}
		case "/known":
			w.Header().Set("Content-Length", "13")
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "one two three")
		case "/large":
			w.Header().Set("Content-Length", fmt.Sprint(3<<20))
			w.Write(bytesOf(3 << 20))
		case "/cut":
			io.WriteString(w, "one")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/flushed", 200, "one two three"},
		{"GET", "/known", 418, "one two three"},
		{"HEAD", "/known", 418, ""},
		{"GET", "/large", 200, string(bytesOf(3 << 20))},
		{"GET", "/empty", 200, ""},
	} {
		resp, err := c.Do(request(t, test.method, test.path, nil))
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		if resp.StatusCode != test.status || resp.Status != "" || resp.Proto != "HTTP/1.1" || resp.ProtoMajor != 1 || resp.ProtoMinor != 1 ||
			resp.Request != nil || resp.TLS != nil {
			t.Errorf("%s %s: got %+v, want %d, HTTP/1.1 and no more", test.method, test.path, resp, test.status)
		}
		if resp.ContentLength != int64(len(test.body)) {
			t.Errorf("%s %s: ContentLength %d, want %d", test.method, test.path, resp.ContentLength, len(test.body))
		}
		// As the callers do it: one Read.
		body := make([]byte, resp.ContentLength)
		if n, err := resp.Body.Read(body); n != len(body) || err != nil && err != io.EOF || string(body) != test.body {
			t.Errorf("%s %s: one Read: %d bytes, %v, want %d", test.method, test.path, n, err, len(body))
		}
		if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s %s: Read at the end: %d, %v, want EOF", test.method, test.path, n, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Errorf("%s %s: Close: %v", test.method, test.path, err)
		}
		if test.path == "/known" {
			if got := resp.Header["Set-Cookie"]; !slices.Equal(got, []string{"a=1", "b=2"}) {
				t.Errorf("Set-Cookie: %q, want both", got)
			}
		}
	}
	resp, err := c.Do(request(t, "GET", "/cut", nil))
	if err == nil || resp == nil || resp.StatusCode != 0 || resp.Body != nil || resp.Header != nil {
		t.Errorf("a response that breaks off: %+v, %v, want an empty response and an error", resp, err)
	}
}

// upstreamNoConnection needs a real port that nobody listens on.
func upstreamNoConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c, err := spdy.NewClient(ln.Addr().String())
	if c == nil || err == nil {
		t.Fatalf("NewClient: %v, %v, want a Client and an error", c, err)
	}
	if err := c.Close(); err == nil {
		t.Error("Close: no error")
	}
	if pinged, err := c.Ping(time.Second); pinged || err == nil {
		t.Errorf("Ping: %t, %v, want false and an error", pinged, err)
	}
	if resp, err := c.Do(request(t, "GET", "/", nil)); resp == nil || err == nil {
		t.Errorf("Do: %v, %v, want an empty response and an error", resp, err)
	}
	if resp, err := c.RoundTrip(request(t, "GET", "/", nil)); resp != nil || err == nil {
		t.Errorf("RoundTrip: %v, %v, want an error", resp, err)
	}
	if c, err := spdy.NewClientConn(nil); c == nil || err == nil {
		t.Errorf("NewClientConn(nil): %v, %v, want a Client and an error", c, err)
	}
}

func upstreamRequestURL(t *testing.T) {
	h := upstreamClient(t)
	for _, test := range []struct {
		url, host          string // of the request
		path, wire, scheme string
	}{
		{"http://a.test", "", "/", "a.test:80", "http"},
		{"https://a.test/x?y=1", "", "/x?y=1", "a.test:443", "https"},
		{"http://a.test:8080/x#part", "", "/x", "a.test:8080", "http"},
		{"https://[::1]/", "", "/", "[::1]:443", "https"},
		{"https://[::1]:8443/", "", "/", "[::1]:8443", "https"},
		{"http://a.test/a%2Fb%20c?q=%zz", "", "/a%2Fb%20c?q=%zz", "a.test:80", "http"},
		{"http://a.test/", "b.test", "/", "b.test:80", "http"},
	} {
		r, err := http.NewRequest("GET", test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		p := h.proxy(r)
		f := h.wantSyn(test.url)
		for name, want := range map[string]string{":path": test.path, ":host": test.wire, ":scheme": test.scheme, ":method": "GET", ":version": "HTTP/1.1"} {
			if got, _ := f.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", test.url, name, got, want)
			}
		}
		h.p.Send(rep(f.ID), data(f.ID, "ok", fin))
		if err := <-p.done; err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
	}
	for _, url := range []string{"/path", "//a.test/path", "mailto:x", "http:/path"} {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = h.s.NewClientStream().Request(r, spdy.NewRecorder())
		if err == nil || !strings.HasPrefix(err.Error(), "Incomplete path provided") {
			t.Errorf("%s: %v, want Incomplete path provided", url, err)
		}
	}
	if err := h.s.NewStreamProxy(&http.Request{}, spdy.NewRecorder()); err == nil {
		t.Error("a request without a URL: no error")
	}
	h.p.WantIdle("what is not whole is not sent")
	h.finish()
}

func upstreamRequestUnchanged(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
			if v := r.Header[name]; v != nil {
				t.Errorf("%s: %q was sent", name, v)
			}
		}
		if r.ContentLength != 4 || r.Header.Get(spdy.HEADER_CONTENT_LENGTH) != "4" {
			t.Errorf("Content-Length: %d, %q, want 4", r.ContentLength, r.Header.Get("Content-Length"))
		}
		io.Copy(w, r.Body)
	}))
	r := request(t, "POST", "/x#part", strings.NewReader("body"))
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "X-Test"} {
		r.Header.Set(name, "upgrade")
	}
	header, url, host := r.Header.Clone(), *r.URL, r.Host
	resp, err := c.Do(r)
	if err != nil || resp.ContentLength != 4 {
		t.Fatalf("Do: %+v, %v", resp, err)
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(header) || *r.URL != url || r.Host != host || r.ContentLength != 4 {
		t.Errorf("after Do the request is %v, %v, %q, want it as it was", r.Header, r.URL, r.Host)
	}
}

func upstreamEmptyBody(t *testing.T) {
	h := upstreamClient(t)
	for _, test := range []struct {
		name string
		body io.Reader
		fin  bool
	}{
		{"nil", nil, true},
		{"NoBody", http.NoBody, true},
		{"empty, of known length", strings.NewReader(""), true},
		{"empty, of unknown length", io.MultiReader(), true},
		{"one byte, of unknown length", io.MultiReader(strings.NewReader("x")), false},
		{"three bytes", strings.NewReader("xyz"), false},
	} {
		p := h.proxy(h.request("POST", "/", test.body))
		f := h.wantSyn(test.name)
		if got := f.Flags == fin; got != test.fin {
			t.Errorf("%s: FIN on SYN_STREAM: %t, want %t", test.name, got, test.fin)
		}
		if !test.fin {
			c := newCollector()
			c.add(t, f)
			h.collectInto(c, test.name, f.ID)
			if got := string(c.streams[f.ID].body); got != "xyz"[:len(got)] || got == "" {
				t.Errorf("%s: body %q", test.name, got)
			}
		}
		h.p.Send(rep(f.ID), data(f.ID, "ok", fin))
		if err := <-p.done; err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	// A first byte that never comes holds nobody up whose context ends.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body, never := io.Pipe()
	if err := <-h.proxy(h.request("POST", "/", body).WithContext(ctx)).done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a body that does not begin: %v, want %v", err, context.DeadlineExceeded)
	}
	never.Close()
	h.finish()
}

func upstreamHandlerRequest(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/path", func(w http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{
			spdy.HEADER_METHOD: "GET", spdy.HEADER_PATH: "/path?q=1", spdy.HEADER_VERSION: "HTTP/1.1",
			spdy.HEADER_HOST: "a.test", spdy.HEADER_SCHEME: "https",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("Header.Get(%q): %q, want %q", name, got, want)
			}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != 0 {
			t.Errorf("body %q, %v, want none", body, err)
		}
		fmt.Fprint(w, r.Method, " ", r.Proto, " ", r.ProtoMajor, r.ProtoMinor, " ", r.URL, " ", r.RequestURI, " ", r.Host, " ",
			r.RemoteAddr, " ", r.ContentLength, " ", r.Header["X-Two"])
	})
	h.p.Send(req(1, "/path?q=1", spdytest.Pair{Name: "x-two", Value: "a\x00b"}))
	h.wantResponse("a GET", 1, "200", fmt.Sprint("GET HTTP/1.1 1 1 /path?q=1 /path?q=1 a.test ", h.end.RemoteAddr(), " 0 [a b]"))
	h.finish()
}

func upstreamWriteHeader(t *testing.T) {
	h := upstreamServer(t)
	late := make(chan error, 1)
	h.mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") })
	h.mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		w.Header().Set("Date", "long ago")
		w.WriteHeader(404)
		w.WriteHeader(500)
		w.Header().Set("X-Late", "1")
		io.WriteString(w, "x")
	})
	h.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		_, err := w.Write([]byte("x"))
		late <- err
	})
	h.p.Send(req(1, "/plain"))
	m := h.wantResponse("/plain", 1, "200", "x")
	for name, want := range map[string]string{"content-type": "text/html; charset=utf-8", ":status": "200 OK"} {
		if got, _ := m.head.Get(name); got != want {
			t.Errorf("/plain: %s is %q, want %q", name, got, want)
		}
	}
	date, _ := m.head.Get("date")
	if _, err := http.ParseTime(date); err != nil {
		t.Errorf("/plain: Date %q", date)
	}
	h.p.Send(req(3, "/own"))
	m = h.wantResponse("/own", 3, "404", "x")
	for name, want := range map[string]string{"content-type": "text/x", "date": "long ago", ":status": "404 Not Found", "x-late": ""} {
		if got, _ := m.head.Get(name); got != want {
			t.Errorf("/own: %s is %q, want %q", name, got, want)
		}
	}
	h.p.Send(req(5, "/late"))
	synctest.Wait()
	h.p.Send(rst(5, spdy.Cancel))
	if err := <-late; err == nil {
		t.Error("Write after the stream's end: no error")
	}
	h.alive(7)
	h.finish()
}

// The end of a handler ends the response, once, with FIN on DATA. A response
// without a body has it on SYN_REPLY (the conformance list, 106), where the
// library of 2015 never put it.
func upstreamEnd(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.mux.HandleFunc("/flushed", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		synctest.Wait()
	})
	h.p.Send(req(1, "/flushed"))
	h.p.Want("a handler that ends later", rep200(1, 0), data(1, "x"), data(1, "", fin))
	h.p.Send(req(3, "/ok"))
	h.p.Want("a short answer", rep200(3, 0), data(3, "ok", fin))
	h.p.Send(req(5, "/empty"))
	h.p.Want("no answer", rep200(5, fin))
	h.p.WantIdle("nothing more")
	h.finish()
}

// rep200 is the SYN_REPLY that a server session sends.
func rep200(id uint32, flags uint8) frame {
	return spdytest.SynReply(id, flags, spdytest.Response("200 OK")...)
}

// certificateFiles writes a certificate and its key, for functions that take
// names of files.
func certificateFiles(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	cert, pool := newCertificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// upstreamListenAndServeTLS needs real sockets: that is what it is about.
func upstreamListenAndServeTLS(t *testing.T) {
	certFile, keyFile, pool := certificateFiles(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.TLS.NegotiatedProtocol, r.Header.Get(spdy.HEADER_HOST))
	})
	served := make(chan error, 1)
	go func() { served <- spdy.ServeTLS(ln, certFile, keyFile, handler) }()
	for _, test := range []struct {
		offer []string
		want  string
	}{
		{[]string{"http/1.1", "spdy/3", "spdy/3.1"}, "spdy/3.1"},
		{[]string{"h2", "spdy/3"}, "spdy/3"},
		{[]string{"h2", "http/1.1"}, "http/1.1"},
		{nil, ""},
	} {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: test.offer})
		if err != nil {
			t.Fatal(err)
		}
		var body []byte
		if strings.HasPrefix(test.want, "spdy/") {
			c, err := spdy.NewClientConn(conn)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(request(t, "GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(resp.Body)
			c.Close()
		} else {
			tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
			r := request(t, "GET", "/", nil)
			r.URL.Scheme = "https"
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			tr.CloseIdleConnections()
		}
		host := ""
		if strings.HasPrefix(test.want, "spdy/") {
			host = "origin.test:80"
		}
		if want := fmt.Sprintf("%s %q", test.want, host); string(body) != want {
			t.Errorf("client offers %q: got %q, want %q", test.offer, body, want)
		}
	}
	ln.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the listener's end: %v, want %v", err, net.ErrClosed)
	}

	// All three say what is wrong with an address or a file.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	addr := busy.Addr().String()
	for name, err := range map[string]error{
		"ListenAndServe":                    spdy.ListenAndServe(addr, handler),
		"ListenAndServeTLS":                 spdy.ListenAndServeTLS(addr, certFile, keyFile, handler),
		"ListenAndServeTLSSpdyOnly":         spdy.ListenAndServeTLSSpdyOnly(addr, certFile, keyFile, handler),
		"ListenAndServeTLS, no file":        spdy.ListenAndServeTLS("127.0.0.1:0", "none.pem", keyFile, handler),
		"ListenAndServeTLSSpdyOnly, no key": spdy.ListenAndServeTLSSpdyOnly("127.0.0.1:0", certFile, "", handler),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// upstreamSpdyOnly needs real sockets. Its server picks its own listener, so
// that the port has to be known before.
func upstreamSpdyOnly(t *testing.T) {
	certFile, keyFile, pool := certificateFiles(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.NegotiatedProtocol) })
	for _, test := range []struct {
		name  string
		own   []string // TLSConfig.NextProtos
		offer []string
		want  string // "-": TLS fails
	}{
		{"spdy/3.1", nil, []string{"spdy/3", "spdy/3.1"}, "spdy/3.1"},
		{"spdy/3", nil, []string{"spdy/3"}, "spdy/3"},
		{"no ALPN", nil, nil, ""},
		{"not SPDY", nil, []string{"h2"}, "-"},
		{"a list of its own", []string{"x-spdy"}, []string{"spdy/3.1", "x-spdy"}, "x-spdy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			free.Close()
			s := &spdy.Server{Addr: free.Addr().String(), Handler: handler, TLSConfig: &tls.Config{NextProtos: test.own}}
			served := make(chan error, 1)
			go func() { served <- s.ListenAndServeTLSSpdyOnly(certFile, keyFile) }()
			raw := dialWhenUp(t, s.Addr, served)
			conn := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: test.offer})
			defer conn.Close()
			got := "-"
			if err := conn.Handshake(); err == nil {
				c, err := spdy.NewClientConn(conn)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				resp, err := c.Do(request(t, "GET", "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				got = string(body)
			}
			if got != test.want {
				t.Errorf("client offers %q: %q, want %q", test.offer, got, test.want)
			}
			s.Close()
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v, want %v", err, net.ErrClosed)
			}
		})
	}
}

// dialWhenUp connects to a server that is about to listen.
func dialWhenUp(t *testing.T, addr string, served <-chan error) net.Conn {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c
		}
		select {
		case err := <-served:
			t.Fatal(err)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-again.C:
		}
	}
}

// temporary is an error of Accept that passes.
type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// flakyListener fails n times before each connection.
type flakyListener struct {
	net.Listener
	mu    sync.Mutex
	n     int
	times []time.Time // of the failures
}

func (l *flakyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	fail := l.n > 0
	l.n--
	if fail {
		l.times = append(l.times, time.Now())
	}
	l.mu.Unlock()
	if fail {
		return nil, temporary{errors.New("too many open files")}
	}
	return l.Listener.Accept()
}

func upstreamAccept(t *testing.T) {
	t.Run("temporary errors", bubble(func(t *testing.T) {
		pipes := newPipeListener()
		ln := &flakyListener{Listener: pipes, n: 12}
		s := &spdy.Server{Handler: http.NotFoundHandler()}
		served := make(chan error, 1)
		start := time.Now()
		go func() { served <- s.Serve(ln) }()
		raw, err := pipes.dial()
		if err != nil {
			t.Fatal(err)
		}
		c, _ := spdy.NewClientConn(raw)
		if pinged, err := c.Ping(time.Second); !pinged {
			t.Errorf("Ping: %v", err)
		}
		pause := 5 * time.Millisecond
		at := start
		for i, got := range ln.times {
			if !got.Equal(at) {
				t.Errorf("failure %d came after %v, want %v", i+1, got.Sub(start), at.Sub(start))
			}
			at = at.Add(pause)
			pause = min(2*pause, time.Second)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
		}
		if pinged, err := c.Ping(time.Second); !pinged {
			t.Errorf("Ping after the server's Close: %v; running sessions go on", err)
		}
		c.Close()
	}))
	t.Run("lasting error", func(t *testing.T) {
		ln := newPipeListener()
		ln.Close()
		if err := new(spdy.Server).Serve(ln); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
		}
	})
}

func upstreamConcurrent(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	s, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	var wg sync.WaitGroup
	for i := range 50 {
		body := string(bytes.Repeat([]byte{byte(i)}, 1000*i))
		wg.Go(func() {
			resp, err := c.Do(request(t, "POST", "/", strings.NewReader(body)))
			if err != nil || resp.ContentLength != int64(len(body)) {
				t.Errorf("Do: %v", err)
			}
		})
		wg.Go(func() {
			rec := spdy.NewRecorder()
			if err := s.NewStreamProxy(request(t, "POST", "/", strings.NewReader(body)), rec); err != nil || rec.Body.String() != body {
				t.Errorf("NewStreamProxy: %d bytes, %v, want %d", rec.Body.Len(), err, len(body))
			}
		})
		wg.Go(func() {
			rec := spdy.NewRecorder()
			if err := s.NewClientStream().Request(request(t, "POST", "/", strings.NewReader(body)), rec); err != nil || rec.Body.String() != body {
				t.Errorf("Request: %d bytes, %v, want %d", rec.Body.Len(), err, len(body))
			}
		})
		wg.Go(func() {
			if !s.Ping(time.Minute) {
				t.Error("Ping: no echo")
			}
		})
	}
	wg.Wait()
}

func upstreamIDs(t *testing.T) {
	h := upstreamClient(t)
	st := h.s.NewClientStream()
	if got := st.String(); got != "0" {
		t.Errorf("a stream before its request is %q, want 0", got)
	}
	done := make(chan error, 1)
	go func() { done <- st.Request(h.request("GET", "/", nil), spdy.NewRecorder()) }()
	f := h.wantSyn("the first stream") // wants id 1
	if f.Priority != spdy.PriorityFor(h.request("GET", "/", nil).URL) || f.Priority != 4 {
		t.Errorf("priority %d, want 4", f.Priority)
	}
	if got := st.String(); got != "1" {
		t.Errorf("the stream is %q, want 1", got)
	}
	h.p.Send(rep(1), data(1, "", fin))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := st.Request(h.request("GET", "/", nil), spdy.NewRecorder()); err == nil {
		t.Error("a second Request on a stream: no error")
	}
	r := h.request("GET", "/", nil)
	p := h.proxy(r.WithContext(spdy.WithPriority(r.Context(), 2)))
	if f := h.wantSyn("a priority of the caller's"); f.Priority != 2 {
		t.Errorf("priority %d, want 2", f.Priority)
	}
	h.p.Send(rep(3), data(3, "", fin))
	<-p.done
	pinged := make(chan bool, 1)
	go func() { pinged <- h.s.Ping(time.Second) }()
	h.p.Want("a client's first PING", ping(1))
	h.p.Send(ping(1))
	if !<-pinged {
		t.Error("Ping: false, want true")
	}
	h.finish()

	s := upstreamServer(t)
	go func() { pinged <- s.s.Ping(time.Second) }()
	s.p.Want("a server's first PING", ping(2))
	if <-pinged {
		t.Error("Ping without an echo: true, want false")
	}
	if st := s.s.NewClientStream(); st != nil {
		t.Errorf("NewClientStream of a server session: %v, want nil", st)
	}
	s.finish()
}

// Tests of the library of 2015 opened such streams and expected silence; draft
// 3.1 has no use for a request that must not be answered, and a reset tells its
// sender so.
func upstreamUnidirectional(t *testing.T) {
	h := upstreamServer(t)
	h.p.Send(withFlags(req(1, "/ok"), 2))
	h.wantSE("a request that is not to be answered", 1, spdy.ProtocolError)
	h.alive(3)
	h.finish()
}

// A response that breaks off must look so to the visitor behind NewStreamProxy,
// whatever that one speaks.
func TestNewStreamProxyBreaksOff(t *testing.T) {
	quiet(t)
	begun := make(chan struct{})
	client, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the beginning")
		w.(http.Flusher).Flush()
		<-begun
		panic(http.ErrAbortHandler)
	}))
	failed := make(chan error, 1)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		failed <- client.NewStreamProxy(r, w)
	})
	check := func(t *testing.T, rt http.RoundTripper, url string) {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		begun <- struct{}{}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("the cut body %q looks whole", body)
		}
		if err := <-failed; err == nil {
			t.Error("NewStreamProxy: no error")
		}
	}
	t.Run("HTTP/1.1", func(t *testing.T) {
		ts := httptest.NewServer(front)
		defer ts.Close()
		check(t, ts.Client().Transport, ts.URL)
	})
	t.Run("h2", func(t *testing.T) {
		ts := httptest.NewUnstartedServer(front)
		ts.EnableHTTP2 = true
		ts.StartTLS()
		defer ts.Close()
		check(t, ts.Client().Transport, ts.URL)
	})
	t.Run("SPDY", func(t *testing.T) {
		visitor, _ := pair2(t, front)
		check(t, visitor, "http://a.test/")
	})
}

func TestNewStreamProxyTrailers(t *testing.T) {
	c, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body")
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Other", "2")
	}))
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		if err := c.NewStreamProxy(r, w); err != nil {
			t.Error(err)
		}
	}))
	defer ts.Close()
	resp, err := http.Get(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("X-Announced") != "1" || resp.Trailer.Get("X-Other") != "2" {
		t.Errorf("trailers %v, want both", resp.Trailer)
	}
}

// pair2 is a session of NewClientSession whose peer is one of NewServerSession
// that runs h.
func pair2(t *testing.T, h http.Handler) (client, server *spdy.Session) {
	t.Helper()
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	client, server = spdy.NewClientSession(a), spdy.NewServerSession(b, &http.Server{Handler: h})
	// Both end with the sessions, which the cleanup closes.
	go client.Serve()
	go server.Serve()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

func TestClientIsATransport(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/next", http.StatusFound)
			return
		}
		io.WriteString(w, r.URL.Path)
	}))
	resp, err := (&http.Client{Transport: c}).Get("http://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "/next" {
		t.Errorf("got %q, %v, want /next", body, err)
	}
}

// Bodies of Do need not be closed: one that nobody can read any more does not
// hold its stream.
func TestDoBodyIsDropped(t *testing.T) {
	const size = 8 << 20
	failed := make(chan error, 1)
	session, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, err := w.Write(bytesOf(size))
		failed <- err
	}))
	if resp, err := session.Do(request(t, "GET", "/", nil)); err != nil || resp.ContentLength != size {
		t.Fatalf("Do: %+v, %v", resp, err)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	deadline := time.After(limit)
	for {
		runtime.GC()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the server wrote all of a body that nobody read")
			}
			return
		case <-deadline:
			t.Fatal("the stream is still open")
		case <-again.C:
		}
	}
}

// The stream of a handler is no stream to send a request on.
func TestRequestOnAHandlersStream(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := w.(*spdy.Stream).Request(request(t, "GET", "/", nil), spdy.NewRecorder()); err == nil {
			t.Error("Request: no error")
		}
		fmt.Fprint(w, "stream ", w.(*spdy.Stream))
	}))
	resp, err := c.Do(request(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "stream 1" {
		t.Errorf("got %q, want stream 1", body)
	}
}

func TestResponseRecorder(t *testing.T) {
	rw := spdy.NewRecorder()
	if rw.Code != 200 || len(rw.HeaderMap) != 0 || rw.HeaderMap == nil || rw.Body.Len() != 0 {
		t.Errorf("a new recorder is %+v", rw)
	}
	rw.Header().Set("X-Test", "1")
	rw.WriteHeader(404)
	rw.WriteHeader(500)
	if n, err := rw.Write([]byte("body")); n != 4 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if rw.Code != 404 || rw.HeaderMap.Get("X-Test") != "1" || rw.Body.String() != "body" {
		t.Errorf("got %d, %v, %q", rw.Code, rw.HeaderMap, rw.Body)
	}
	var zero spdy.ResponseRecorder
	zero.Header().Set("X-Test", "1")
	if n, err := zero.Write([]byte("body")); n != 4 || err != nil || zero.Code != 200 || zero.HeaderMap.Get("X-Test") != "1" {
		t.Errorf("the zero recorder: %d, %v, %+v", n, err, zero)
	}
	zero.WriteHeader(404)
	if zero.Code != 200 {
		t.Errorf("WriteHeader after Write: %d, want 200", zero.Code)
	}
}

// SendGoaway sends what it is given, or what is right if that cannot be.
func TestSendGoaway(t *testing.T) {
	for _, test := range []struct {
		name string
		dat  []byte
		want frame
	}{
		{"8 bytes", []byte{0, 0, 0, 9, 0, 0, 0, 2}, goAway(9, 2)},
		{"none", nil, goAway(1, 0)},
		{"too few", []byte{1}, goAway(1, 0)},
	} {
		t.Run(test.name, bubble(func(t *testing.T) {
			h := upstreamServer(t)
			release := make(chan struct{})
			h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-release })
			h.p.Send(req(1, "/wait"))
			synctest.Wait()
			h.s.SendGoaway(spdy.FLAG_FIN, test.dat)
			h.p.Want("GOAWAY without flags", test.want)
			close(release)
			h.p.Want("what is open goes on", rep200(1, fin))
			h.p.WantEOF("and is the last")
			h.s.SendGoaway(spdy.FLAG_NONE, test.dat) // after the end: nothing
			h.finish()
		}))
	}
}

// limit is how long a test with real sockets waits for what has to come.
const limit = 10 * time.Second

// EnableDebug cannot be undone, so that it has a process of its own.
func TestEnableDebug(t *testing.T) {
	const inChild = "SPDY_TEST_ENABLE_DEBUG"
	if os.Getenv(inChild) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnableDebug$")
		cmd.Env = append(os.Environ(), inChild+"=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		for _, want := range []string{"send SYN_STREAM stream=3", "recv SYN_STREAM stream=3", "send SYN_REPLY stream=3", "recv SYN_REPLY stream=3"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("standard output lacks %q:\n%s", want, out)
			}
		}
		for _, not := range []string{"stream=1", "secret"} {
			if strings.Contains(string(out), not) {
				t.Errorf("standard output has %q:\n%s", not, out)
			}
		}
		return
	}
	client, _ := pair2(t, http.NotFoundHandler())
	for i := range 2 { // the first before there is any debugging
		r := request(t, "GET", "/", nil)
		r.Header.Set("Cookie", "secret")
		if err := client.NewStreamProxy(r, spdy.NewRecorder()); err != nil {
			t.Error(err)
		}
		if i == 0 {
			spdy.EnableDebug()
		}
	}
}

// SetLog and EnableDebug speak of sessions that were not made from a Config.
func TestSharedLog(t *testing.T) {
	var log bytes.Buffer
	spdy.SetLog(&log)
	defer spdy.SetLog(os.Stderr)
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("for the log") })
	synctest.Test(t, func(t *testing.T) {
		c, s := upstreamPair(t, panics)
		if resp, err := c.Do(request(t, "GET", "/", nil)); err != nil || resp.StatusCode != 500 {
			t.Errorf("Do: %+v, %v, want 500", resp, err)
		}
		s.Close() // and what it has to log is written
	})
	if !strings.Contains(log.String(), "for the log") {
		t.Errorf("the log is %q, want the panic in it", &log)
	}
	log.Reset()
	client, server := pair(t, nil, nil, panics)
	if resp, err := client.RoundTrip(request(t, "GET", "/", nil)); err == nil {
		resp.Body.Close()
	}
	server.Close()
	if log.Len() != 0 {
		t.Errorf("a session with a Config of its own logged %q", &log)
	}
}
