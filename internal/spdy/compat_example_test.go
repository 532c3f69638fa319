package spdy_test

import (
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

// The names of the library of 2015.

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
