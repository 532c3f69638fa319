package spdy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
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

func ExampleServer() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &spdy.Server{Handler: hello}
	served := make(chan error)
	go func() { served <- server.Serve(ln) }() // or ListenAndServe, with server.Addr

	client, err := spdy.NewClient(ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	req, err := http.NewRequest("GET", "http://localhost/server", nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	body := make([]byte, resp.ContentLength)
	io.ReadFull(resp.Body, body)
	fmt.Println(resp.StatusCode, string(body))

	server.Close()
	<-served
	// Output: 200 Hello, server
}

func ExampleClient() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &spdy.Server{Handler: hello}
	defer server.Close()
	go server.Serve(ln)

	client, err := spdy.NewClient(ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	pinged, err := client.Ping(time.Second)
	fmt.Println("pinged:", pinged, err)

	// A Client is an http.RoundTripper: redirects, cookies and time limits are
	// those of http.Client.
	resp, err := (&http.Client{Transport: client, Timeout: time.Minute}).Get("http://localhost/client")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output:
	// pinged: true <nil>
	// Hello, client <nil>
}

// SPDY beside HTTP/2 and HTTP/1.1 on one port, and a client with TLS.
func ExampleNewClientConn() {
	// httptest brings a certificate; for a server of its own see ConfigureServer.
	ts := httptest.NewUnstartedServer(hello)
	ts.TLS = &tls.Config{NextProtos: []string{"spdy/3.1", "http/1.1"}}
	ts.Config.TLSConfig = ts.TLS
	if err := spdy.ConfigureServer(ts.Config, nil); err != nil {
		log.Fatal(err)
	}
	ts.StartTLS()
	defer ts.Close()

	config := ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone() // trusts the certificate
	config.NextProtos = []string{"spdy/3.1"}
	conn, err := tls.Dial("tcp", ts.Listener.Addr().String(), config)
	if err != nil {
		log.Fatal(err)
	}
	client, err := spdy.NewClientConn(conn)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	req, err := http.NewRequest("GET", "https://example.com/TLS", nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Println(conn.ConnectionState().NegotiatedProtocol, string(body), err)
	// Output: spdy/3.1 Hello, TLS <nil>
}

// A proxy: what visitors ask over HTTP goes to an origin over SPDY.
func ExampleSession_NewStreamProxy() {
	toProxy, toOrigin := net.Pipe()
	origin := spdy.NewServerSession(toProxy, &http.Server{Handler: hello})
	go origin.Serve()
	defer origin.Close()
	session := spdy.NewClientSession(toOrigin)
	go session.Serve()
	defer session.Close()

	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		if err := session.NewStreamProxy(r, w); err != nil {
			log.Print(err)
		}
	}))
	defer front.Close()

	resp, err := http.Get(front.URL + "/visitor")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: Hello, visitor <nil>
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
