package front

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request without TLS is sent to the same address with it, and nowhere else.
func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		port       string
		head       string
		status     int
		wantTarget string
	}{
		{"443", "GET /a%2Fb//c?q=%20&x HTTP/1.1\r\nHost: Photos.Example.org:80\r\n", 308, "https://photos.example.org/a%2Fb//c?q=%20&x"},
		{"8443", "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n", 308, "https://example.org:8443/"},
		{"443", "GET //evil.test/ HTTP/1.1\r\nHost: example.org.\r\n", 308, "https://example.org//evil.test/"},
		{"8443", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n", 308, "https://[2001:db8::1]:8443/"},
		{"443", "GET http://other.org/x?y HTTP/1.1\r\nHost: example.org\r\n", 308, "https://other.org/x?y"},
		{"443", "GET / HTTP/1.1\r\nHost: a@b\r\n", 400, ""},
		{"443", "GET / HTTP/1.1\r\nHost: a/b\r\n", 400, ""},
		{"443", "GET / HTTP/1.0\r\n", 400, ""},
		{"443", "OPTIONS * HTTP/1.1\r\nHost: example.org\r\n", 400, ""},
		{"443", "TRACE / HTTP/1.1\r\nHost: example.org\r\n", 405, ""},
		{"443", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n", 405, ""},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.head + "\r\n")))
		if err != nil {
			t.Fatalf("%q: %v", c.head, err)
		}
		w := httptest.NewRecorder()
		Redirect(c.port).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != c.status || got != c.wantTarget {
			t.Errorf("%q: got %d and %q, want %d and %q", c.head, w.Code, got, c.status, c.wantTarget)
		}
	}
}
