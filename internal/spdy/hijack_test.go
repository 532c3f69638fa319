package spdy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A hijacked stream is a connection to which a response is written, as in HTTP/1.1:
// its head becomes the SYN_REPLY, and what follows is DATA.

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: v\r\n\r\n"
	forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n"
)

func upgradeRequest(id uint32) frame {
	return spdytest.SynStream(id, 0, append(spdytest.Request("GET", "/ws"), nv("upgrade", "websocket"))...)
}

func switched(id uint32) frame {
	return spdytest.SynReply(id, 0, nv(":status", "101 Switching Protocols"), nv("upgrade", "websocket"), nv("sec-websocket-accept", "v"))
}

// onHijack runs a session whose handler has a request for an upgrade hijacked, and gives
// the connection to run, once the request was sent.
func onHijack(t *testing.T, s setup, run func(h *serverTest, conn net.Conn, rw *bufio.ReadWriter)) {
	t.Helper()
	onServer(t, s, func(h *serverTest) {
		type hijacked struct {
			conn net.Conn
			rw   *bufio.ReadWriter
			err  error
		}
		got := make(chan hijacked)
		h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			got <- hijacked{conn, rw, err}
		})
		h.p.Send(upgradeRequest(1))
		x := <-got
		if x.err != nil {
			h.Fatal(x.err)
		}
		synctest.Wait() // the handler has returned
		run(h, x.conn, x.rw)
	})
}

func TestHijack(t *testing.T) {
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, rw *bufio.ReadWriter) {
		if n := rw.Reader.Buffered(); n != 0 {
			h.Errorf("got %d bytes that were read already, want none", n)
		}
		h.p.WantIdle("no response was written")
		if n := h.s.InFlight(); n != 1 {
			h.Errorf("got %d streams in flight without a handler, want 1", n)
		}
		for _, part := range []string{"HTTP/1.1 100 Continue\r\n\r", "\n" + switching[:20], switching[20 : len(switching)-1]} {
			if n, err := io.WriteString(conn, part); n != len(part) || err != nil {
				h.Fatalf("%q: got %d, %v", part, n, err)
			}
			h.p.WantIdle("the head is not whole")
		}
		io.WriteString(conn, switching[len(switching)-1:]+"first")
		h.p.Want("the head, and what is behind it", switched(1), data(1, "first"))
		h.p.Send(data(1, "ping"))
		b := make([]byte, 4)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "ping" {
			h.Errorf("got %q, %v, want ping", b, err)
		}
		rw.WriteString("pong")
		rw.Flush()
		h.p.Want("raw bytes", data(1, "pong"))
		h.p.Send(data(1, "last", fin))
		if b, err := io.ReadAll(rw); err != nil || string(b) != "last" {
			h.Errorf("up to the peer's FIN: got %q, %v, want last", b, err)
		}
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			h.Error(err)
		}
		h.p.Want("CloseWrite", data(1, "", fin))
		if err := conn.Close(); err != nil {
			h.Error(err)
		}
		h.p.WantIdle("both sides have ended")
		if conn.LocalAddr() != h.s.LocalAddr() || conn.RemoteAddr() != h.s.RemoteAddr() {
			h.Errorf("got addresses %v and %v, want the session's", conn.LocalAddr(), conn.RemoteAddr())
		}
		h.alive(3)
	})
}

// What was called before Hijack, and what may not be called after it.
func TestHijackAndWriteHeader(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-WebSocket-Accept", "v")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("Write after Hijack: got %v, want ErrHijacked", err)
			}
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("Hijack again: got %v, want ErrHijacked", err)
			}
			io.WriteString(conn, "raw")
			conn.Close()
			if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close again: got %v, want ErrClosed", err)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write after Close: got %v, want ErrClosed", err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: got %v, want ErrClosed", err)
			}
		})
		h.p.Send(upgradeRequest(1))
		h.p.Want("what was called before", switched(1))
		h.wantRest(1, "raw") // Close ends this direction
		h.p.Send(data(1, "dropped"), data(1, "", fin))
		h.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("ok"))
			if _, _, err := w.(http.Hijacker).Hijack(); err == nil {
				t.Error("Hijack after Write: got no error")
			}
		})
		h.mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack without an upgrade: got %v, want ErrNotSupported", err)
			}
			w.Write([]byte("ok"))
		})
		for i, path := range []string{"/late", "/none"} {
			id := uint32(3 + 2*i)
			h.p.Send(req(id, path))
			h.wantResponse(path, id, "200", "ok")
		}
	})
}

// A response that is no 101 is sent as any other, its length included.
func TestHijackRefuses(t *testing.T) {
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
		io.WriteString(conn, forbidden+"no")
		conn.Close()
		h.p.Want("a refusal", spdytest.SynReply(1, 0, nv(":status", "403 Forbidden"), nv("content-length", "2")))
		h.wantRest(1, "no")
		h.p.Send(data(1, strings.Repeat("x", 65000)), data(1, "", fin))
		h.drain(&collector{streams: map[uint32]*message{1: {}}, credit: map[uint32]int{}}) // credit, as for any body that is dropped
		h.alive(3)
	})
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
		if n, err := io.WriteString(conn, forbidden+"never"); n != len(forbidden)+2 || !errors.Is(err, http.ErrContentLength) {
			h.Errorf("more than was announced: got %d, %v, want ErrContentLength", n, err)
		}
		conn.Close()
		h.collect("what was announced", 1)
	})
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
		io.WriteString(conn, forbidden+"n")
		conn.Close()
		if m := h.collect("less than was announced", 1).stream(1); m.reset != spdy.InternalError {
			h.Errorf("less than was announced: got %+v, want a reset", m)
		}
	})
}

// What is no response ends the stream, and nothing of it goes out.
func TestHijackedHeadIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		head string
		want error
	}{
		"no HTTP":           {"hello\r\n\r\n", spdy.ErrMalformed},
		"an empty line":     {"\r\n", spdy.ErrMalformed},
		"Transfer-Encoding": {"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", spdy.ErrMalformed},
		"too long":          {"HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", spdy.ErrHeaderTooLarge},
		"too large to send": {"HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", spdy.ErrHeaderTooLarge},
		"nothing":           {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			onHijack(t, setup{config: spdy.Config{MaxPeerFrameSize: 8192}}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
				if test.head != "" {
					for range 2 {
						if _, err := io.WriteString(conn, test.head); !errors.Is(err, test.want) {
							h.Errorf("got %v, want %v", err, test.want)
						}
					}
				}
				conn.Close()
				if f := h.p.Next("the end"); f.Type != spdytest.TypeRstStream {
					h.Errorf("got %v, want RST_STREAM", f)
				}
				h.alive(3)
			})
		})
	}
}

func TestHijackDeadlines(t *testing.T) {
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
		isTimeout := func(what string, err error) {
			h.Helper()
			if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				h.Errorf("%s: got %v, want a timeout", what, err)
			}
		}
		io.WriteString(conn, switching)
		h.p.Want("the head", switched(1))
		conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := conn.Read(make([]byte, 1))
		isTimeout("a read", err)
		conn.SetReadDeadline(time.Time{})
		h.p.Send(data(1, "x"))
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			h.Errorf("a read after that: got %d, %v", n, err)
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(conn, "in time")
		h.p.Want("in time", data(1, "in time"))
		<-time.After(2 * time.Second)
		conn.SetWriteDeadline(time.Time{})
		io.WriteString(conn, "again")
		h.p.Want("a deadline that no write met is forgotten", data(1, "again"))
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = conn.Write(make([]byte, 1<<20))
		isTimeout("a write without window", err)
		conn.Close()
		if m := h.drain(&collector{streams: map[uint32]*message{1: {head: frame{Wire: []byte{}}}}, credit: map[uint32]int{}}).stream(1); m.reset != spdy.InternalError {
			h.Errorf("after a write that failed: got reset %v, want one: what it had is missing", m.reset)
		}
		h.p.Send(wu(0, 1<<20))
		h.alive(3)
	})
}

// Close does not wait for windows, nor for the peer: what was written goes out when it
// may, and what the peer still sends is dropped, if it is not much.
func TestHijackedCloseOverWindow(t *testing.T) {
	onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
		io.WriteString(conn, switching)
		h.p.Want("the head", switched(1))
		go func() { // ends with its write, when the window allows it
			conn.Write(bytesOf(70000))
			conn.Close()
		}()
		h.wantBytes("up to the window", map[uint32]int{1: 65536})
		h.p.Send(wu(1, 1<<20), wu(0, 1<<20))
		col := &collector{streams: map[uint32]*message{1: {head: frame{Wire: []byte{}}}}, credit: map[uint32]int{}}
		h.drain(col)
		if m := col.stream(1); len(m.body) != 70000-65536 || !m.fin {
			h.Errorf("got %d bytes, FIN %v, want %d and FIN", len(m.body), m.fin, 70000-65536)
		}
		sent := 0
		for f, ok := h.p.Poll(0); ; f, ok = h.p.Poll(spdytest.Idle) {
			if ok && f.Type == spdytest.TypeRstStream {
				break
			}
			if sent > 1<<20 {
				h.Fatalf("%d bytes were taken after Close, want CANCEL before", sent)
			}
			h.p.Send(data(1, string(bytesOf(10000))))
			sent += 10000
		}
		if n := h.s.InFlight(); n != 0 {
			h.Errorf("got %d streams in flight, want none", n)
		}
	})
}

// The end of the peer, or of the session, ends the connection; Shutdown waits for it.
func TestHijackedEnds(t *testing.T) {
	for name, end := range map[string]func(h *serverTest){
		"reset":  func(h *serverTest) { h.p.Send(rst(1, spdy.Cancel)) },
		"closed": func(h *serverTest) { h.p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
				io.WriteString(conn, switching)
				h.p.Want("the head", switched(1))
				end(h)
				if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
					h.Errorf("Read: got %v, want an error", err)
				}
				if _, err := conn.Write([]byte("x")); err == nil {
					h.Error("Write: got no error")
				}
				conn.Close()
			})
		})
	}
	t.Run("Shutdown", func(t *testing.T) {
		onHijack(t, setup{}, func(h *serverTest, conn net.Conn, _ *bufio.ReadWriter) {
			io.WriteString(conn, switching)
			h.p.Want("the head", switched(1))
			down := make(chan error, 1)
			go func() { down <- h.s.Shutdown(context.Background()) }() // ends with the session
			h.p.Want("no other stream", goAway(1, 0))
			h.p.Send(data(1, "still"))
			b := make([]byte, 5)
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != "still" {
				h.Errorf("got %q, %v, want still", b, err)
			}
			select {
			case err := <-down:
				h.Errorf("Shutdown returned %v while the connection was open", err)
			default:
			}
			conn.Close()
			h.p.Want("its end", data(1, "", fin))
			h.p.Send(data(1, "", fin))
			if err := <-down; err != nil {
				h.Error(err)
			}
		})
	})
	// Its handler's panic ends it: nobody may be left to do it.
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Hijacker).Hijack()
			panic(http.ErrAbortHandler)
		})
		h.p.Send(upgradeRequest(1))
		h.p.Want("a panic", rst(1, spdy.InternalError))
		h.alive(3)
	})
}
