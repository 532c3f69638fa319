package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

// A service that takes some connections and refuses others must not fill the log.
func TestServiceThatFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book testlog.Buffer
		h := newHandler(t, Config{To: "http://127.0.0.1:1", Logger: book.Logger(slog.LevelInfo)})
		s := h.serve.(*service)
		refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		for range 1000 {
			s.noteDial(t.Context(), refused)
			s.noteDial(t.Context(), nil)
		}
		if lines := book.Lines(); len(lines) != 2 {
			t.Errorf("logged %q, want two lines", lines)
		}
		<-time.After(awayPause)
		s.noteDial(t.Context(), refused)
		s.noteDial(t.Context(), refused)
		if lines := book.Lines(); len(lines) != 3 || !strings.Contains(lines[2], "takes no connections") {
			t.Errorf("logged %q, want a third line that it is away", lines)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		s.noteDial(t.Context(), nil)
		<-time.After(awayPause)
		s.noteDial(gone, context.Canceled)
		s.noteDial(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})
		if lines := book.Lines(); len(lines) != 4 {
			t.Errorf("logged %q, want nothing of what is not the service's", lines)
		}
	})
}

// Each way to fail is one line a minute, with its cause, and an answer.
func TestServiceFailuresAreOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			err        error
			status     int
			text, line string
		}{
			{&tls.CertificateVerificationError{Err: errors.New("x509: certificate signed by unknown authority")}, 502, "not trusted", "name the CA's file with --to-ca"},
			{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, 503, "too many connections", "no more files can be opened"},
			{errors.New("malformed HTTP response \"" + strings.Repeat("x", 100_000)), 502, "no valid answer", "no answer that can be passed on"},
			{fmt.Errorf("read: %w", syscall.ECONNRESET), 502, "without an answer", "no answer that can be passed on"},
			{badAnswer("its status is %d", 99), 502, "its status is 99", "its status is 99"},
		} {
			var book testlog.Buffer
			h := newHandler(t, Config{To: "https://127.0.0.1:1", Logger: book.Logger(slog.LevelInfo)})
			r := httptest.NewRequest("GET", "/x", nil)
			for range 100 {
				w := httptest.NewRecorder()
				h.serve.(*service).fail(w, r, r, tc.err)
				if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.text) || (w.Code == http.StatusServiceUnavailable) != (w.Header().Get("Retry-After") != "") {
					t.Fatalf("%.80v: %d %q, Retry-After %q, want %d and %q", tc.err, w.Code, w.Body, w.Header().Get("Retry-After"), tc.status, tc.text)
				}
			}
			if lines := book.Lines(); len(lines) != 1 || !strings.Contains(lines[0], tc.line) || !strings.Contains(lines[0], slog.LevelWarn.String()) || len(lines[0]) > 1000 {
				t.Errorf("%.80v: logged %.2000q, want one line with %q", tc.err, lines, tc.line)
			}
		}
	})
}

// A service that closes its connection in the midst of a request: which of the
// system's errors the Transport tells of depends on what it was doing.
func TestClosedConnections(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		wrapped := fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", &net.OpError{Op: "read", Net: "tcp", Err: err})
		if got := failureOf(wrapped); !strings.HasSuffix(got.text, "closed the connection without an answer") || !got.log {
			t.Errorf("%v: %+v", wrapped, got)
		}
	}
}
