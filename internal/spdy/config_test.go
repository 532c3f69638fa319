package spdy

import (
	"math"
	"testing"
)

// A frame that holds the largest block is taken, and none is sent that is larger
// than a frame can be.
func TestFrameSizes(t *testing.T) {
	for _, test := range []struct {
		conf       Config
		take, send uint32
	}{
		{Config{}, 128 << 10, 128 << 10},
		{Config{MaxHeaderBytes: 1 << 10}, 128 << 10, 128 << 10},
		{Config{MaxHeaderBytes: 1 << 20}, 1<<20 + 1<<10 + 64, 128 << 10},
		{Config{MaxHeaderBytes: 16 << 20, MaxPeerFrameSize: 16 << 20}, 1<<24 - 1, 1<<24 - 1},
		{Config{MaxHeaderBytes: math.MaxInt, MaxFrameSize: 1 << 20, MaxPeerFrameSize: 1<<32 - 1}, 1 << 20, 1<<24 - 1},
		{Config{MaxFrameSize: 1, MaxPeerFrameSize: 100}, 8192, 100},
		{Config{MaxFrameSize: 1<<32 - 1}, 1<<24 - 1, 128 << 10},
	} {
		if d := test.conf.withDefaults(); d.MaxFrameSize != test.take || d.MaxPeerFrameSize != test.send {
			t.Errorf("%+v: takes %d bytes and sends %d, want %d and %d", test.conf, d.MaxFrameSize, d.MaxPeerFrameSize, test.take, test.send)
		}
	}
}
