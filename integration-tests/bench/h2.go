// x/net/http2 is measured under its own name: the newer names in net/http lead to
// a copy of it.
//
//lint:file-ignore SA1019 see above

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// The yardstick h2 is p and c as one would write them in an afternoon, on
// x/net/http2: its origin dials its proxy over TLS, and they change roles. All
// settings are the library's own but one: without maxStreams, the 500 slow
// readers would wait for one another.
const maxStreams = 10_000

// h2Tunnel sends requests over the connection that the origin made last.
type h2Tunnel struct {
	current atomic.Pointer[http2.ClientConn]
}

func (t *h2Tunnel) RoundTrip(r *http.Request) (*http.Response, error) {
	cc := t.current.Load()
	if cc == nil {
		return nil, errors.New("the origin is not connected")
	}
	return cc.RoundTrip(r)
}

// register answers an origin's PUT and turns its connection round.
func (t *h2Tunnel) register(conn net.Conn) error {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	if req.Method != http.MethodPut {
		return fmt.Errorf("%s, want PUT", req.Method)
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	cc, err := new(http2.Transport).NewClientConn(conn)
	if err != nil {
		return err
	}
	t.current.Store(cc)
	return nil
}

// h2Proxy is the part that visitors reach.
func h2Proxy(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	e, err := parseEnds(args)
	if err != nil {
		return err
	}
	cfg, err := e.serverTLS()
	if err != nil {
		return err
	}
	tunnel := new(h2Tunnel)
	failed := make(chan error, 2)
	// Both end with ctx; the first error ends the program.
	go func() {
		failed <- accept(ctx, e.control, func(conn net.Conn) {
			secure := tls.Server(conn, cfg)
			if err := tunnel.register(secure); err != nil {
				secure.Close()
			}
		})
	}()
	go func() {
		failed <- serveHTTP(ctx, e.front, &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: "origin"}) },
			Transport: tunnel,
		})
	}()
	return <-failed
}

// buffered is a connection of which some bytes have been read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// h2Origin is the part that has the files.
func h2Origin(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	e, err := parseEnds(args)
	if err != nil {
		return err
	}
	cfg, err := e.clientTLS()
	if err != nil {
		return err
	}
	conn, err := tls.Dial("tcp", e.control, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	put, err := http.NewRequest(http.MethodPut, "https://"+e.control+"/", nil)
	if err != nil {
		return err
	}
	if err := put.Write(conn); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, put)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	server := &http2.Server{MaxConcurrentStreams: maxStreams}
	server.ServeConn(buffered{conn, r}, &http2.ServeConnOpts{Handler: origin(e.root)})
	return nil
}
