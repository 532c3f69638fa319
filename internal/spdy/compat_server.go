package spdy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// tcpKeepAlive is the TCP keep-alive period of accepted connections.
	tcpKeepAlive = 3 * time.Minute

	// handshakeTimeout bounds the TLS handshake of an accepted connection.
	handshakeTimeout = 10 * time.Second

	// After a temporary error, Accept is called again after a pause that doubles
	// from the first of these to the second.
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Server accepts connections and runs a server session on each, as
// NewServerSession makes it. Its fields are read when serving starts. A server of
// net/http with SPDY beside HTTP/1.1 and HTTP/2 is made by ConfigureServer.
//
// Deprecated: use ConfigureServer, or Config.NewServerSession for a connection.
type Server struct {
	Handler   http.Handler // http.DefaultServeMux if nil
	Addr      string       // TCP address to listen on: ":http" if empty, ":https" with TLS
	TLSConfig *tls.Config  // what ListenAndServeTLSSpdyOnly starts from; may be nil

	mu sync.Mutex
	// Guarded by mu.
	listeners map[*net.Listener]struct{} // pointers: not every Listener can be a key
}

// ListenAndServe listens on the TCP address addr and serves SPDY/3.1, without
// TLS, with handler (http.DefaultServeMux if nil). An empty addr is ":http". It
// returns when listening fails, with the error.
//
// Deprecated: use ConfigureServer, or Config.NewServerSession for a connection.
func ListenAndServe(addr string, handler http.Handler) (err error) {
	return (&Server{Addr: addr, Handler: handler}).ListenAndServe()
}

// ListenAndServeTLS listens on the TCP address addr (":https" if empty) with TLS,
// and serves spdy/3.1, spdy/3 and HTTP/1.1, whichever a client negotiates, with
// handler (http.DefaultServeMux if nil). HTTP/2 is not offered: handlers may
// expect an http.Hijacker when there is no SPDY. It returns when listening fails.
//
// ConfigureServer does more: HTTP/2, time limits, an orderly shutdown.
//
// Deprecated: use ConfigureServer.
func ListenAndServeTLS(addr string, certFile string, keyFile string, handler http.Handler) error {
	if addr == "" {
		addr = ":https"
	}
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	return serveTLS(ln, certFile, keyFile, handler)
}

// serveTLS closes ln when it returns.
func serveTLS(ln net.Listener, certFile, keyFile string, handler http.Handler) error {
	defer ln.Close()
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: handshakeTimeout, // bounds the handshake too
		TLSConfig:         &tls.Config{NextProtos: []string{SPDY31.String(), SPDY3.String(), "http/1.1"}},
		ErrorLog:          slog.NewLogLogger(sharedLogger.Handler(), slog.LevelError),
	}
	a := &alpnServer{conf: Config{Logger: sharedLogger}, compat: true, sessions: make(map[*Session]struct{})}
	if err := a.configure(srv); err != nil {
		return err
	}
	return srv.ServeTLS(ln, certFile, keyFile)
}

// ListenAndServeTLSSpdyOnly listens on the TCP address addr (":https" if empty)
// with TLS, and serves SPDY with handler (http.DefaultServeMux if nil), to a
// client without ALPN too. It returns when listening fails.
//
// Deprecated: use ConfigureServer.
func ListenAndServeTLSSpdyOnly(addr string, certFile string, keyFile string, handler http.Handler) error {
	return (&Server{Addr: addr, Handler: handler}).ListenAndServeTLSSpdyOnly(certFile, keyFile)
}

// listen listens for connections with TCP keep-alive.
func listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: tcpKeepAlive}
	return lc.Listen(context.Background(), "tcp", addr)
}

// ListenAndServe listens on s.Addr, without TLS, and calls Serve.
func (s *Server) ListenAndServe() (err error) {
	addr := s.Addr
	if addr == "" {
		addr = ":http"
	}
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	return s.Serve(ln)
}

// ListenAndServeTLSSpdyOnly listens on srv.Addr with TLS and calls Serve. The
// certificate comes from the files, or from TLSConfig if both names are empty.
// "spdy/3.1" and "spdy/3" are offered unless TLSConfig has NextProtos of its own.
func (srv *Server) ListenAndServeTLSSpdyOnly(certFile, keyFile string) error {
	config := new(tls.Config)
	if srv.TLSConfig != nil {
		config = srv.TLSConfig.Clone()
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{SPDY31.String(), SPDY3.String()}
	}
	own := len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
	if !own || certFile != "" || keyFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	addr := srv.Addr
	if addr == "" {
		addr = ":https"
	}
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	return srv.Serve(tls.NewListener(ln, config))
}

// Serve accepts connections from ln for ever, and runs a session on each: SPDY/3
// if TLS negotiated that, else SPDY/3.1. It closes ln and returns the error when
// accepting fails for good, as it does after Close; after an error that is
// temporary it goes on.
func (s *Server) Serve(ln net.Listener) (err error) {
	defer ln.Close()
	s.track(&ln, true)
	defer s.track(&ln, false)
	server := &http.Server{Handler: s.Handler, Addr: s.Addr, TLSConfig: s.TLSConfig}
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		if err != nil {
			ne, ok := errors.AsType[net.Error](err)
			//lint:ignore SA1019 net/http tells the errors of Accept by it too
			if !ok || !ne.Temporary() {
				return err
			}
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			sharedLogger.Warn("accepting failed, trying again", "address", ln.Addr(), "error", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		setKeepAlive(conn)
		// Ends with its connection; nobody waits for it, as in net/http.
		go serveConn(conn, server)
	}
}

// serveConn runs one session.
func serveConn(conn net.Conn, server *http.Server) {
	defer conn.Close()
	if tc, ok := conn.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		err := tc.HandshakeContext(ctx)
		cancel()
		if err != nil {
			sharedLogger.Warn("TLS handshake failed", "peer", conn.RemoteAddr().String(), "error", err)
			return
		}
	}
	NewServerSession(conn, server).serveLogged()
}

// setKeepAlive is for listeners that were not made here.
func setKeepAlive(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetKeepAlive(true)
		c.SetKeepAlivePeriod(tcpKeepAlive)
	}
}

func (s *Server) track(ln *net.Listener, add bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !add {
		delete(s.listeners, ln)
		return
	}
	if s.listeners == nil {
		s.listeners = make(map[*net.Listener]struct{})
	}
	s.listeners[ln] = struct{}{}
}

// Close closes the listeners that Serve has, and Serve returns; sessions go on.
// Without a listener it does nothing. A server may serve again after it.
func (s *Server) Close() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ln := range s.listeners {
		if cerr := (*ln).Close(); cerr != nil && err == nil {
			err = cerr
		}
		delete(s.listeners, ln)
	}
	return err
}
