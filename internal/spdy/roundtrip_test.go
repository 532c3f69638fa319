package spdy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

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
