package serve

import (
	"bytes"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An https service gets HTTP/2 where it speaks it, with trailers, and the
// body of a call streams both ways: what gRPC needs.
func TestServiceOverTLS(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("X-Proto", r.Proto)
			w.Header().Set("Trailer", "Grpc-Status")
			rc := http.NewResponseController(w)
			rc.EnableFullDuplex()
			rc.Flush()
			buf := make([]byte, 16)
			for {
				n, err := r.Body.Read(buf)
				w.Write(bytes.ToUpper(buf[:n]))
				rc.Flush()
				if err != nil {
					break
				}
			}
			w.Header().Set("Grpc-Status", "0")
		}))
		backend.EnableHTTP2 = h2
		backend.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		backend.StartTLS()
		t.Cleanup(backend.Close)
		h := newHandler(t, Config{To: backend.URL})
		pool := x509.NewCertPool()
		pool.AddCert(backend.Certificate())
		h.serve.(*service).roots.Store(pool)
		visitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(visitor.Close)
		body, send := io.Pipe()
		resp, err := http.Post(visitor.URL+"/pkg.Service/Call", "application/grpc", body)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"one", "two"} {
			io.WriteString(send, word)
			got := make([]byte, len(word))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strings.ToUpper(word) {
				t.Fatalf("h2 %t: the answer to %q is %q, %v", h2, word, got, err)
			}
		}
		send.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
			t.Errorf("h2 %t: at the end %q, %v", h2, rest, err)
		}
		resp.Body.Close()
		want := "HTTP/1.1"
		if h2 {
			want = "HTTP/2.0"
		}
		if got := resp.Header.Get("X-Proto"); got != want {
			t.Errorf("the service was spoken to in %s, want %s", got, want)
		}
		if got := resp.Trailer.Get("Grpc-Status"); got != "0" {
			t.Errorf("h2 %t: trailer Grpc-Status %q, want 0", h2, got)
		}
	}
}
