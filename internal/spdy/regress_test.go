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
