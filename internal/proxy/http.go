package proxy

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/http1"
)

// Limits of the port without TLS, whose requests are answered in a moment, and whose
// bodies nobody reads.
const (
	maxHTTPVisitors = 1024
	httpStall       = 10 * time.Second
	httpIdle        = 10 * time.Second
	httpHeaderBytes = 16 << 10
)

// newHTTP makes the server of the port without TLS. It is to be called when the front
// port listens.
func (p *Proxy) newHTTP() {
	redirect := front.Redirect(cmp.Or(p.public().port, "443"))
	p.http = http1.New(&http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !p.certs.AnswerHTTP(w, r) {
				redirect.ServeHTTP(w, r)
			}
		}),
		ReadHeaderTimeout:   readHeaderTimeout,
		IdleTimeout:         httpIdle,
		MaxHeaderBytes:      httpHeaderBytes,
		MaxHeaderValueCount: front.MaxHeaderLines,
		ErrorLog:            slog.NewLogLogger(serverLog{p.log.Handler()}, slog.LevelWarn),
		ConnContext:         withLeave,
		ConnState:           noteState,
	})
	p.http.Refuse = badRequest
}

// withHSTS has h's answers say that the host is reached by TLS alone (RFC 6797), but
// for those in which the origin says something of its own about it.
func withHSTS(h http.Handler, d time.Duration) http.Handler {
	if d == 0 {
		return h
	}
	value := []string{fmt.Sprintf("max-age=%d", int64(d/time.Second))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Strict-Transport-Security"] = value
		h.ServeHTTP(w, r)
	})
}
