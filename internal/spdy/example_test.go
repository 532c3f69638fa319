package spdy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/amahi/spdy"
)

// hello is the handler of the examples.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello, %s", r.URL.Path[1:])
})

// A session is one connection. Who dialled it does not matter: here the server
// of requests connects to their client.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		server := (&spdy.Config{KeepAlive: time.Minute}).NewServerSession(conn, &http.Server{Handler: hello})
		if err := server.Serve(); err != nil {
			log.Print(err)
		}
	}()

	conn, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	session := (&spdy.Config{KeepAlive: time.Minute}).NewClientSession(conn)
	go session.Serve()
	resp, err := (&http.Client{Transport: session}).Get("http://origin.example/gopher")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)

	// No new request; those that are open may end.
	fmt.Println(session.Shutdown(context.Background()))
	// Output:
	// 200 OK Hello, gopher <nil>
	// <nil>
}

// A proxy: what visitors ask over HTTP goes to an origin over SPDY.
func ExampleConfig_NewClientSession() {
	near, far := net.Pipe() // a connection, made by either side
	origin := new(spdy.Config).NewServerSession(far, &http.Server{Handler: hello})
	go origin.Serve()
	session := new(spdy.Config).NewClientSession(near)
	go session.Serve()
	defer session.Close()

	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: session,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "origin.example"}) },
	})
	defer front.Close()
	resp, err := http.Get(front.URL + "/visitor")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output:
	// 200 OK Hello, visitor <nil>
}

func ExampleConfigureServer() {
	server := &http.Server{Addr: ":8443", Handler: hello, IdleTimeout: time.Minute}
	if err := spdy.ConfigureServer(server, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.TLSConfig.NextProtos)
	// Then: server.ListenAndServeTLS("cert.pem", "key.pem")

	// Output: [h2 spdy/3.1 spdy/3 http/1.1]
}

// The more urgent of two requests is served first.
func ExampleWithPriority() {
	a, b := net.Pipe()
	server := (*spdy.Config)(nil).NewServerSession(b, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := spdy.PriorityFrom(r.Context())
		fmt.Fprint(w, "priority ", p)
	})})
	go server.Serve()
	defer server.Close()
	session := (*spdy.Config)(nil).NewClientSession(a)
	go session.Serve()
	defer session.Close()

	req, err := http.NewRequestWithContext(spdy.WithPriority(context.Background(), 1), "GET", "http://origin.example/", nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := session.RoundTrip(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: priority 1 <nil>
}
