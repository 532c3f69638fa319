package spdy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ConfigureServer adds SPDY to srv, beside HTTP/1.1 and HTTP/2: connections on
// which TLS negotiated "spdy/3.1" or "spdy/3" (ALPN) become server sessions with
// srv's Handler and the settings of conf, which may be nil. Call it before
// ServeTLS, ListenAndServeTLS, or Serve with a listener made from srv.TLSConfig.
//
// What is offered is srv.TLSConfig.NextProtos, in its order, if that is set: a
// list without a protocol turns that protocol off, HTTP/1.1 and HTTP/2 too.
// Otherwise it is h2, spdy/3.1, spdy/3, http/1.1. HTTP/2 is left out if
// srv.TLSNextProto turns it off, and srv.Protocols, if set, has the last word on
// HTTP/1.1 and HTTP/2.
//
// For these sessions srv is what it is for HTTP/2: BaseContext, ConnContext,
// ConnState and ErrorLog are used; ReadTimeout and WriteTimeout bound the
// reading of each request's body and the writing of each response;
// a session without a request for IdleTimeout (ReadTimeout if zero) is closed,
// gracefully; MaxHeaderBytes counts unless conf sets its own. Shutdown sends
// GOAWAY and waits until open requests have ended, Close ends sessions at once.
//
// It is an error to configure a server twice.
func ConfigureServer(srv *http.Server, conf *Config) error {
	if srv == nil {
		return errors.New("spdy: ConfigureServer of a nil http.Server")
	}
	a := &alpnServer{sessions: make(map[*Session]struct{})}
	if conf != nil {
		a.conf = *conf
	}
	return a.configure(srv)
}

// alpnServer is what the SPDY sessions of one http.Server share.
type alpnServer struct {
	// Fixed by ConfigureServer.
	conf   Config
	compat bool // sessions are like those of NewServerSession

	mu sync.Mutex
	// Guarded by mu, which is never held across a callback.
	sessions map[*Session]struct{}
	stopping bool
}

func (a *alpnServer) configure(srv *http.Server) error {
	for _, v := range []Version{SPDY31, SPDY3} {
		if srv.TLSNextProto[v.String()] != nil {
			return fmt.Errorf("spdy: the http.Server has a TLSNextProto for %s already", v)
		}
	}
	config := srv.TLSConfig
	if config == nil {
		config = new(tls.Config)
	} else {
		// The caller may share it with another server.
		config = config.Clone()
	}
	// A TLSNextProto that was set by hand means "no HTTP/2" to net/http, unless
	// Protocols is set as well: so say there what was meant before SPDY's
	// entries are added.
	_, own := srv.TLSNextProto["h2"]
	http1, http2 := true, srv.TLSNextProto == nil || own
	if srv.Protocols != nil && *srv.Protocols != (http.Protocols{}) { // a zero one is HTTP/1.1 to net/http
		http1, http2 = srv.Protocols.HTTP1(), srv.Protocols.HTTP2()
	}
	if len(config.NextProtos) == 0 {
		if http2 {
			config.NextProtos = append(config.NextProtos, "h2")
		}
		config.NextProtos = append(config.NextProtos, SPDY31.String(), SPDY3.String())
		if http1 {
			config.NextProtos = append(config.NextProtos, "http/1.1")
		}
	} else {
		// For a listener made from it, which net/http does not see.
		config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(proto string) bool {
			return proto == "h2" && !http2 || proto == "http/1.1" && !http1
		})
	}
	srv.TLSConfig = config

	next := make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	maps.Copy(next, srv.TLSNextProto)
	if srv.Protocols == nil {
		p := new(http.Protocols)
		p.SetHTTP1(slices.Contains(config.NextProtos, "http/1.1"))
		p.SetHTTP2(http2 && slices.Contains(config.NextProtos, "h2"))
		if *p == (http.Protocols{}) {
			// net/http takes no protocol at all for HTTP/1.1, offers that, and
			// speaks it with those that negotiated nothing. HTTP/2 without TLS is
			// none that a TLS connection could speak; the entry for h2, which is
			// not offered, keeps others from speaking it too.
			p.SetUnencryptedHTTP2(true)
			if next["h2"] == nil {
				next["h2"] = func(_ *http.Server, conn *tls.Conn, _ http.Handler) { conn.Close() }
			}
		}
		srv.Protocols = p
	}
	for _, v := range []Version{SPDY31, SPDY3} {
		if slices.Contains(config.NextProtos, v.String()) {
			next[v.String()] = func(srv *http.Server, conn *tls.Conn, h http.Handler) { a.serve(v, srv, conn, h) }
		}
	}
	srv.TLSNextProto = next
	srv.RegisterOnShutdown(a.stop)
	return nil
}

// serve runs one session. net/http counts its connection as active until serve
// returns, and closes it in Server.Close.
func (a *alpnServer) serve(v Version, srv *http.Server, conn *tls.Conn, h http.Handler) {
	// The context with what BaseContext and ConnContext made of it: net/http
	// hands it to HTTP/2 in this way.
	ctx := context.WithValue(context.Background(), http.ServerContextKey, srv)
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		ctx = b.BaseContext()
	}
	conf := a.conf
	conf.Version = v
	if conf.MaxHeaderBytes == 0 {
		conf.MaxHeaderBytes = srv.MaxHeaderBytes
	}
	c := &alpnConn{srv: srv, conn: conn, handler: h, idle: srv.IdleTimeout}
	if c.idle == 0 {
		c.idle = srv.ReadTimeout
	}
	// ConnContext was called already, so that this server has none.
	s := newSession(conn, &http.Server{Handler: c, ErrorLog: srv.ErrorLog}, &conf)
	s.endBase()
	s.baseCtx, s.endBase = context.WithCancel(ctx)
	s.compat = a.compat
	c.session = s

	if !a.add(s) {
		s.goAway()
	}
	defer a.remove(s)
	c.setState(http.StateActive) // it was new until TLS was done
	c.rest()
	defer c.stop()
	s.serveLogged()
}

// add reports false if the server is being shut down.
func (a *alpnServer) add(s *Session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[s] = struct{}{}
	return !a.stopping
}

func (a *alpnServer) remove(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, s)
}

// stop begins the graceful end of every session. http.Server.Shutdown, which
// calls it, waits for their connections as for others.
func (a *alpnServer) stop() {
	a.mu.Lock()
	a.stopping = true
	sessions := slices.Collect(maps.Keys(a.sessions))
	a.mu.Unlock()
	for _, s := range sessions {
		s.goAway()
	}
}

// goAway begins a graceful end and does not wait for it.
func (s *Session) goAway() {
	s.mu.Lock()
	defer s.unlock()
	s.goAwayLocked()
}

// alpnConn is the handler of one session: around the server's own it keeps the
// connection's state and the limits in time.
type alpnConn struct {
	// Fixed before the session is served.
	srv     *http.Server
	conn    net.Conn
	handler http.Handler
	idle    time.Duration
	session *Session

	mu sync.Mutex
	// Guarded by mu. It is held while Server.ConnState runs, so that states are
	// told in their order.
	running int // handlers
	timer   *time.Timer
	stopped bool
}

func (c *alpnConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.begin()
	defer c.end()
	rc := http.NewResponseController(w)
	if d := c.srv.ReadTimeout; d > 0 && r.Body != http.NoBody {
		rc.SetReadDeadline(time.Now().Add(d))
	}
	if d := c.srv.WriteTimeout; d > 0 {
		rc.SetWriteDeadline(time.Now().Add(d))
	}
	c.handler.ServeHTTP(w, r)
}

func (c *alpnConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
	if c.running == 1 && !c.stopped {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.setState(http.StateActive)
	}
}

func (c *alpnConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.restLocked()
}

func (c *alpnConn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restLocked()
}

// restLocked is called when there may be no request left.
func (c *alpnConn) restLocked() {
	if c.running > 0 || c.stopped {
		return
	}
	c.setState(http.StateIdle)
	if c.idle <= 0 {
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(c.idle, c.session.goAway)
	} else {
		c.timer.Reset(c.idle)
	}
}

// stop is called at the session's end; net/http tells StateClosed after it.
func (c *alpnConn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *alpnConn) setState(state http.ConnState) {
	if c.srv.ConnState != nil {
		c.srv.ConnState(c.conn, state)
	}
}
