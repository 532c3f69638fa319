package spdy_test

import (
	"testing"

	"github.com/amahi/spdy"
)

// The frame that ends a session is traced, too: DATA as any other.
func TestTraceOfTheLastFrame(t *testing.T) {
	var last spdy.FrameInfo // written by the session's reader, which has ended when it is read
	trace := func(f spdy.FrameInfo) {
		if !f.Sent {
			last = f
		}
	}
	onServer(t, setup{config: spdy.Config{Trace: trace}}, func(h *serverTest) {
		h.p.Send(data(0, "x"))
		h.wantXE("DATA on stream 0", 0)
	})
	if want := (spdy.FrameInfo{Length: 1}); last != want {
		t.Errorf("the last frame that was traced is %v, want %v", last, want)
	}
}
