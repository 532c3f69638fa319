package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// The yardstick hop is no tunnel: Go's reverse proxy asks a Go file server over
// HTTP/1.1 and TLS. It is what a tunnel would be at its best.

// hopFront is the part that visitors reach.
func hopFront(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	e, err := parseEnds(args)
	if err != nil {
		return err
	}
	cfg, err := e.clientTLS()
	if err != nil {
		return err
	}
	return serveHTTP(ctx, e.front, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: e.control}) },
		// The default of two idle connections would mean a handshake for nearly
		// every request of the others.
		Transport: &http.Transport{TLSClientConfig: cfg, MaxIdleConnsPerHost: 1000},
	})
}

// hopOrigin is the part that has the files.
func hopOrigin(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	e, err := parseEnds(args)
	if err != nil {
		return err
	}
	cfg, err := e.serverTLS()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", e.control)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	return http.Serve(tls.NewListener(ln, cfg), origin(e.root))
}
