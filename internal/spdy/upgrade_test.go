package spdy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy/spdytest"
)

// A request with a body that asks for an upgrade as well, as a client of HTTP/2
// without TLS does, is a request with a body.
func TestUpgradeWithBody(t *testing.T) {
	for _, length := range []int64{5, -1} {
		client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %v", r.ContentLength, b, err)
		}))
		req := request(t, "POST", "/", unsized{strings.NewReader("hello")})
		req.ContentLength = length
		req.Header.Set("Connection", "Upgrade, HTTP2-Settings")
		req.Header.Set("Upgrade", "h2c")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d hello <nil>", length); string(b) != want || err != nil {
			t.Errorf("length %d: the handler saw %q, %v, want %q", length, b, err, want)
		}
	}
	// Another client may send it: then the length says what the body is.
	onServer(t, setup{}, func(h *serverTest) {
		got := make(chan int64, 1)
		h.mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
			got <- r.ContentLength
			io.Copy(io.Discard, r.Body)
		})
		h.p.Send(post(1, "/length", nv("upgrade", "h2c"), nv("content-length", "5")), data(1, "hello", fin))
		if n := <-got; n != 5 {
			h.Errorf("ContentLength: got %d, want 5", n)
		}
		h.wantResponse("the response", 1, "200", "")
	})
}

// An upgrade works with any method, also one that says that it has no body.
func TestUpgradeOfPost(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		io.Copy(w, r.Body)
	}))
	req := request(t, "POST", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	io.WriteString(rw, "hello")
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(rw); string(b) != "hello" || err != nil {
		t.Errorf("echo: got %q, %v, want hello", b, err)
	}
}

// A 101: both directions are raw DATA, each ended by its own FIN.
func TestDuplexOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			r := h.request("GET", "/ws", nil)
			r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}}
			c := h.start(r)
			f := h.wantSyn("an upgrade")
			if _, ok := f.Get("connection"); ok || f.Flags != 0 {
				t.Errorf("got %v, want neither FIN nor connection", f)
			}
			if v, _ := f.Get("upgrade"); v != "websocket" {
				t.Errorf("upgrade: got %q, want websocket", v)
			}
			h.p.Send(spdytest.SynReply(f.ID, 0, append(spdytest.Response("101 Switching Protocols"), nv("upgrade", "websocket"))...))
			resp, err := c.wait()
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 101 || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Upgrade") != "websocket" {
				t.Errorf("got %d, %v, want 101 and both headers", resp.StatusCode, resp.Header)
			}
			rw := resp.Body.(io.ReadWriteCloser)
			rw.Write([]byte("ping"))
			h.p.Want("one direction", data(f.ID, "ping"))
			h.p.Send(data(f.ID, "pong"))
			b := make([]byte, 4)
			if _, err := io.ReadFull(rw, b); err != nil || string(b) != "pong" {
				t.Errorf("the other direction: got %q, %v", b, err)
			}
			h.p.Send(data(f.ID, "last", fin))
			if b, err := io.ReadAll(rw); err != nil || string(b) != "last" {
				t.Errorf("after the peer's FIN: got %q, %v", b, err)
			}
			rw.Write([]byte("still open"))
			h.p.Want("this side is still open", data(f.ID, "still open"))
			rw.(interface{ CloseWrite() error }).CloseWrite()
			h.p.Want("FIN", data(f.ID, "", fin))
			rw.Close()
			h.p.WantIdle("both have ended")
			h.alive()
		})
	})
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Upgrade", "websocket")
				w.WriteHeader(http.StatusSwitchingProtocols)
				io.Copy(w, r.Body)
				io.WriteString(w, "bye")
			})
			h.p.Send(spdytest.SynStream(1, 0, append(spdytest.Request("GET", "/ws"), nv("upgrade", "websocket"))...))
			h.p.Want("at once", spdytest.SynReply(1, 0, nv(":status", "101 Switching Protocols"), nv("upgrade", "websocket")))
			for range 3 {
				h.p.Send(data(1, "echo"))
				h.p.Want("raw bytes", data(1, "echo"))
			}
			h.p.Send(data(1, "", fin))
			col := newCollector()
			col.stream(1).head = frame{Wire: []byte{}}
			h.collectInto(col, "the end", 1)
			if string(col.stream(1).body) != "bye" {
				t.Errorf("got %q, want bye", col.stream(1).body)
			}
			h.alive(3)
		})
	})
}
