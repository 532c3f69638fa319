package spdy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// Defects that were found by reading the engine, each as the peer or the
// program saw it.

func onServer(t *testing.T, s setup, run func(h *serverTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { serve(t, s, run) })
}

func onClient(t *testing.T, s setup, run func(h *clientTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { dial(t, s, run) })
}

// unsized hides the length and the type of a body.
type unsized struct{ io.Reader }

// A request that is given up before its SYN_STREAM went out leaves nothing on
// the wire: its FIN would be a frame for a stream that was never opened.
func TestUnsentRequestSendsNothing(t *testing.T) {
	onClient(t, setup{pipe: spdytest.PipeConfig{Buffer: 16}}, func(h *clientTest) {
		first := h.get("/first") // its SYN_STREAM fills the connection
		synctest.Wait()
		ctx, cancel := context.WithCancel(h.Context())
		second := h.start(h.request("POST", "/second", unsized{strings.NewReader("")}).WithContext(ctx))
		synctest.Wait()
		cancel()
		if _, err := second.wait(); !errors.Is(err, context.Canceled) {
			h.Errorf("the request that was given up: got %v, want context.Canceled", err)
		}
		h.wantSyn("the first request")
		h.p.WantIdle("nothing of the second request")
		h.answer(first, 1)
	})
}

// Bytes that arrive while the handler returns are given back like all others
// that nobody reads, or the peer's upload stops for ever.
func TestCreditForFrameThatCameDuringHandlersEnd(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		wire := h.p.Encode(data(1, string(bytesOf(60000))))
		h.p.Conn.Write(wire[:20000])
		synctest.Wait()
		close(h.release)
		h.collect("the response", 1)
		h.p.Conn.Write(wire[20000:])
		c := h.drain(newCollector())
		if got := c.credit[1]; got < 60000-32768 {
			h.Errorf("stream 1: got credit of %d bytes for the 60000 that were dropped, want all but half a window", got)
		}
	})
}

// A handler that closes the request's body early still gets its response out
// whole, whatever the peer sends meanwhile.
func TestResponseOutlivesClosedBody(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			h.hold(w, r)
		})
		h.p.Send(post(1, "/early"))
		<-h.arrived
		credit, sent := h.pre.StreamWindow, 0
		for ; sent < 1<<20; sent += 16000 {
			for credit < 16000 {
				f, ok := h.p.Poll(spdytest.Idle)
				if !ok {
					break
				}
				if f.Type == spdytest.TypeRstStream {
					h.Fatalf("after %d bytes: got %v, want the response first", sent, f)
				}
				if f.Type == spdytest.TypeWindowUpdate && f.ID == 1 {
					credit += int(f.Value)
				}
			}
			if credit < 16000 {
				break
			}
			h.p.Send(data(1, string(bytesOf(16000))))
			credit -= 16000
		}
		if sent < 256<<10 || sent > 512<<10 {
			h.Errorf("the peer could send %d bytes, want some 256 KiB", sent)
		}
		close(h.release)
		m := h.collect("the response", 1).streams[1]
		h.checkResponse("the response", m, "200", "ok")
		if !m.fin {
			h.Errorf("the response: got no FIN")
		}
		h.p.Want("then the body is refused", rst(1, spdy.Cancel))
		h.alive(3)
	})
}

// A level that zlib does not have is brought to the nearest that it has.
func TestCompressionLevelOutOfRange(t *testing.T) {
	for _, level := range []int{-5, 10} {
		c := &spdy.Config{CompressionLevel: level}
		client, _ := pair(t, c, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
		resp, err := client.RoundTrip(request(t, "GET", "/", nil))
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "ok" || err != nil {
			t.Errorf("level %d: got %q, %v, want ok", level, b, err)
		}
	}
}

// What is written while the response's FIN goes out is not sent after it.
func TestNoDataAfterFin(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		r, w := io.Pipe()
		copied := make(chan error, 1)
		h.mux.HandleFunc("/late", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			rw.WriteHeader(200)
			// Outlives the handler, as it must not.
			go func() {
				_, err := io.Copy(rw, r)
				copied <- err
			}()
			synctest.Wait()
		})
		h.p.Send(post(1, "/late"))
		h.collect("the response", 1)
		io.WriteString(w, "late")
		w.Close()
		if err := <-copied; err == nil {
			h.Errorf("a write after the end: got no error")
		}
		h.p.WantIdle("nothing after FIN")
		h.alive(3)
	})
}

// The peer is told that the rest of a body that is too long is not wanted, or
// it would wait for window.
func TestBodyTooLongIsStopped(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5")), data(1, "abcdefghi"))
		f := h.p.Next("the answer")
		if got, _ := f.Get(":status"); f.Type != spdytest.TypeSynReply || f.Flags != fin || !strings.HasPrefix(got, "400") {
			h.Errorf("got %v, want SYN_REPLY 400 with FIN", f)
		}
		h.p.Want("the rest is not wanted", rst(1, spdy.Cancel))
		h.p.Send(data(1, "more"), data(1, "more", fin))
		h.p.WantIdle("nothing more")
		h.alive(3)
	})
}
