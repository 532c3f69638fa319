package proxy

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"

	"github.com/amahi/spdy"
)

// spdyVisitors are the SPDY connections of the front port: http.Server does not
// know how to end them gracefully.
type spdyVisitors struct {
	mu       sync.Mutex
	sessions map[*spdy.Session]bool // guarded by mu
	stopping bool                   // guarded by mu
}

// configureSPDY makes the front port speak the SPDYs that Config.ALPN lists.
func (p *Proxy) configureSPDY() {
	v := &spdyVisitors{sessions: map[*spdy.Session]bool{}}
	p.front.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	for _, version := range []spdy.Version{spdy.SPDY31, spdy.SPDY3} {
		if slices.Contains(p.cfg.ALPN, version.String()) {
			p.front.TLSNextProto[version.String()] = func(server *http.Server, conn *tls.Conn, h http.Handler) {
				p.serveSPDY(v, version, server, conn, h)
			}
		}
	}
	p.front.RegisterOnShutdown(v.shutdown)
}

// serveSPDY serves one visitor who speaks SPDY, until it leaves or the server
// closes its connection.
func (p *Proxy) serveSPDY(v *spdyVisitors, version spdy.Version, server *http.Server, conn *tls.Conn, h http.Handler) {
	cfg := spdy.Config{
		Version:              version,
		MaxConcurrentStreams: visitorStreams,
		MaxHeaderBytes:       p.cfg.MaxHeaderBytes,
		KeepAlive:            p.cfg.KeepAlive,
		Logger:               p.log,
	}
	if p.cfg.Trace != nil {
		cfg.Trace = p.tracer("visitor " + conn.RemoteAddr().String())
	}
	s := cfg.NewServerSession(conn, &http.Server{Handler: h, ErrorLog: server.ErrorLog})
	v.mu.Lock()
	if v.stopping {
		v.mu.Unlock()
		s.Close()
		return
	}
	v.sessions[s] = true
	v.mu.Unlock()
	s.Serve()
	v.mu.Lock()
	delete(v.sessions, s)
	v.mu.Unlock()
}

// shutdown says goodbye to every visitor. It returns when their requests are
// done, or http.Server.Close has closed their connections.
func (v *spdyVisitors) shutdown() {
	v.mu.Lock()
	v.stopping = true
	open := make([]*spdy.Session, 0, len(v.sessions))
	for s := range v.sessions {
		open = append(open, s)
	}
	v.mu.Unlock()
	var ending sync.WaitGroup
	for _, s := range open {
		// Ends with the session; waited for below.
		ending.Go(func() { s.Shutdown(context.Background()) })
	}
	ending.Wait()
}
