package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// halfClosed sends text, closes the sending side, and returns what comes back:
// what nc -N and socat do. Over TLS the end is TLS's own, or with bare TCP's
// alone.
func halfClosed(t *testing.T, x *p, bare bool, text string) *bufio.Reader {
	t.Helper()
	tcp, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	conn := net.Conn(patientConn{tcp})
	if x.cfg.TLS {
		conn = tls.Client(conn, &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	half := conn
	if bare || !x.cfg.TLS {
		half = tcp
	}
	if err := half.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn)
}

// patientConn is a connection on which something comes within patience.
type patientConn struct{ net.Conn }

func (c patientConn) Read(p []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	return c.Conn.Read(p)
}

// "A visitor that closes its sending side still gets its answer."
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"TCP", "TLS", "TLS, without its own"} {
		t.Run(end, func(t *testing.T) {
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = end != "TCP" })
			halfClosed := func(t *testing.T, x *p, text string) *bufio.Reader {
				return halfClosed(t, x, end == "TLS, without its own", text)
			}
			const big = 12 << 20
			mega := pattern(1 << 20)
			startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/big":
					w.Header().Set("Content-Length", fmt.Sprint(big))
					for range big / (1 << 20) {
						w.Write(mega)
					}
				case "/wait":
					select { // P has seen the end by then, and must not have told
					case <-r.Context().Done():
					case <-time.After(300 * time.Millisecond):
					}
					fmt.Fprintf(w, "late, with %v", r.Context().Err())
				default:
					hello("c").ServeHTTP(w, r)
				}
			}), nil)
			for _, c := range []struct {
				name, text string
				want       []string // the bodies
			}{
				{"kept alive", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", []string{"c GET /1 0"}},
				{"closed", "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", []string{"c GET /1 0"}},
				{"HTTP/1.0", "GET /1 HTTP/1.0\r\n\r\n", []string{"c GET /1 0"}},
				{"pipelined", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
					[]string{"c GET /1 0", "c POST /2 4", "c GET /3 0"}},
				{"upload", "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), []string{"c POST /1 100000"}},
				{"upload in chunks", "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"c POST /1 4"}},
				{"upload that was asked to wait", "POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", []string{"c POST /1 4"}},
				{"an answer of P's own", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", []string{"405 Method Not Allowed: this method is not served\n"}},
			} {
				r := halfClosed(t, x, c.text)
				for _, want := range c.want {
					res := readResponse(t, r)
					if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
						t.Errorf("%s: got %d %q, %v; want %q", c.name, res.StatusCode, body, err, want)
					}
				}
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("%s: got %q, %v after the answer, want the end", c.name, rest, err)
				}
			}

			t.Run("a late answer", func(t *testing.T) {
				r := halfClosed(t, x, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
				if body, err := io.ReadAll(readResponse(t, r).Body); err != nil || string(body) != "late, with <nil>" {
					t.Errorf("got %q, %v", body, err)
				}
			})
			t.Run("a large one", func(t *testing.T) {
				n, err := io.Copy(io.Discard, readResponse(t, halfClosed(t, x, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n")).Body)
				if err != nil || n != big {
					t.Errorf("got %d bytes, %v; want %d", n, err, big)
				}
			})
			t.Run("half an upload", func(t *testing.T) {
				r := halfClosed(t, x, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbody")
				if res := readResponse(t, r); res.StatusCode != 400 {
					t.Errorf("got %d, want 400", res.StatusCode)
				}
			})
		})
	}
}

// readResponse reads a final response's headers.
func readResponse(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode >= 200 || res.StatusCode == 101 {
			return res
		}
	}
}

// A WebSocket of which the visitor closes its direction with the request.
func TestHalfCloseWebSocket(t *testing.T) {
	service := startSocketEcho(t)
	x := startP(t, newFiles(t), nil)
	h, err := serve.New(serve.Config{To: "http://" + service})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	startC(t, x, h, nil)
	r := halfClosed(t, x, false, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\nearly")
	if res := readResponse(t, r); res.StatusCode != 101 {
		t.Fatalf("got %d, want 101", res.StatusCode)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "early bye" {
		t.Errorf("got %q, %v; want all that was sent, and what the service says at its end", rest, err)
	}
}

// startSocketEcho runs a service that takes any upgrade, sends back what comes
// until its end, and says bye. It returns its address.
func startSocketEcho(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				defer conn.Close()
				r := bufio.NewReader(conn)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				io.Copy(conn, r)
				io.WriteString(conn, " bye")
			}()
		}
	}()
	return ln.Addr().String()
}

// "A visitor that is really gone is still noticed": at once where that can be
// known, and in silence after a few seconds, which internal/front tests by the bubble's
// clock. This is TCP's affair, and a machine's: those that are noticed at once are so
// before the others, though these have left first.
func TestVisitorGone(t *testing.T) {
	t.Parallel()
	x := startP(t, newFiles(t), nil)
	paths, late := []string{"/silent", "/begun", "/reset", "/writes"}, map[string]bool{"/silent": true, "/begun": true}
	told, asked := make(chan string, len(paths)), make(chan struct{}, len(paths))
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		switch r.URL.Path {
		case "/begun":
			io.WriteString(w, "begin")
			http.NewResponseController(w).Flush()
		case "/writes":
			for err := error(nil); err == nil && r.Context().Err() == nil; {
				_, err = w.Write(make([]byte, 64<<10))
			}
		}
		<-r.Context().Done()
		told <- r.URL.Path
	}), nil)
	var visitors []net.Conn
	for _, path := range paths {
		conn, err := net.Dial("tcp", x.FrontAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		<-asked
		switch path {
		case "/writes":
			io.ReadFull(conn, make([]byte, 1<<20))
		case "/begun":
			var head []byte
			for !bytes.HasSuffix(head, []byte("begin\r\n")) {
				head = append(head, 0)
				if _, err := conn.Read(head[len(head)-1:]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if path == "/reset" {
			conn.(*net.TCPConn).SetLinger(0)
		}
		visitors = append(visitors, conn)
	}
	for _, conn := range visitors {
		conn.Close()
	}
	for i := range paths {
		select {
		case path := <-told: // C's handler, in this order
			if late[path] != (i >= 2) {
				t.Errorf("%s was noticed as number %d of %d", path, i+1, len(paths))
			}
		case <-time.After(patience):
			t.Fatalf("C was told of %d visitors that have gone, want %d", i, len(paths))
		}
	}
}
