package proxy

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/http1"
)

// Limits of a visitor's connection. How long a body takes is the visitor's
// affair, as long as it reads: it holds one stream's window, and one place among
// its address's share.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	visitorStreams    = 250     // at once on one h2 or SPDY connection
	visitorBuffer     = 4 << 20 // bytes that came on one SPDY connection and no origin takes
)

// newFront makes the handler of visitors' requests and the server around it.
func (p *Proxy) newFront() error {
	cfg := front.Config{
		Origins: p.origins, Domains: p.auth.Domains, Own: p.ownHost, Hold: p.cfg.Hold, ResponseTimeout: p.cfg.ResponseTimeout,
		Stall: p.cfg.Stall, MaxHeaderBytes: p.cfg.MaxHeaderBytes, TrustedProxies: p.trusted, Auth: p.users, Policy: p.policy.For,
		Probe: p.asksItself, Logger: p.log,
	}
	if p.cfg.Admin != "" { // else nobody looks
		cfg.Meter, cfg.OnDone = p.meter, p.requestDone
	}
	if p.cfg.AccessLog != "" {
		f, err := accesslog.Open(p.cfg.AccessLog, p.cfg.Stdout, p.log)
		if err != nil {
			return &ConfigError{err}
		}
		p.access, cfg.AccessLog = f, accesslog.New(f, p.cfg.AccessFormat)
	}
	var err error
	if p.handler, err = front.New(cfg); err != nil {
		p.access.Close()
		return &ConfigError{err}
	}
	server := &http.Server{
		Handler:             withHSTS(p.handler, p.cfg.HSTS),
		ReadHeaderTimeout:   readHeaderTimeout,
		IdleTimeout:         idleTimeout,
		MaxHeaderBytes:      slackHeaderBytes(p.cfg.MaxHeaderBytes),
		MaxHeaderValueCount: slackHeaderLines,
		ErrorLog:            slog.NewLogLogger(serverLog{p.log.Handler()}, slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: visitorStreams,
			SendPingTimeout:      time.Minute,
		},
		ConnContext: withLeave,
		ConnState:   noteState,
		// "OPTIONS *" is C's to answer.
		DisableGeneralOptionsHandler: true,
	}
	p.front = http1.New(server)
	p.front.Refuse = badRequest
	if p.cfg.TLS {
		return p.configureTLS(server)
	}
	return nil
}

// badRequest is what the front port answers to what is no request, in the form of
// the answers of package front.
func badRequest(h http.Header, status int, detail string) string {
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Proxy-Status", fmt.Sprintf("spdy-proxy; error=http_request_error; details=%q", detail))
	return fmt.Sprintf("%d %s: %s\n", status, http.StatusText(status), detail)
}

// slackHeaderBytes and slackHeaderLines are what the servers below the handler
// take, whose own answer to more is often a broken connection: the handler
// counts too, and says 431. SPDY's says FRAME_TOO_LARGE, h2's ends the connection
// above twice as much.
func slackHeaderBytes(n int) int { return 2*n + 16<<10 }

const slackHeaderLines = 4 * front.MaxHeaderLines

// configureTLS makes the front port speak what Config.ALPN lists.
func (p *Proxy) configureTLS(server *http.Server) error {
	server.TLSConfig = p.frontTLS()
	slack := slackHeaderBytes(p.cfg.MaxHeaderBytes)
	cfg := spdy.Config{
		MaxConcurrentStreams: visitorStreams,
		MaxHeaderBytes:       slack,
		MaxHeaderPairs:       slackHeaderLines,
		MaxFrameSize:         uint32(max(slack+16<<10, 128<<10)), // above it the session ends
		MaxBuffer:            visitorBuffer,
		KeepAlive:            p.cfg.KeepAlive,
		WriteTimeout:         -1, // the connection's own, Config.Stall
		Logger:               slog.New(serverLog{p.log.Handler()}),
	}
	if p.cfg.Trace != nil {
		cfg.Trace = p.tracer("visitor")
	}
	// It also sets Protocols: TLSNextProto alone, where the SPDYs go, would turn
	// h2 off.
	return spdy.ConfigureServer(server, &cfg)
}
