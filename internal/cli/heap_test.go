package cli

import (
	"runtime"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, test := range []struct {
		live uint64
		want int
	}{
		{0, 400}, {1 << 20, 400}, {4 << 20, 400}, {8 << 20, 200}, {16 << 20, 100}, {32 << 20, 50}, {1 << 40, 50},
	} {
		if got := gcPercent(test.live); got != test.want {
			t.Errorf("%d bytes alive: got %d, want %d", test.live, got, test.want)
		}
	}
}

// It runs after a collection, and again after the next.
func TestPace(t *testing.T) {
	set := make(chan int, 10)
	pace(&pacer{set: func(percent int) { set <- percent }})
	first := <-set
	if first <= garbageShare {
		t.Fatalf("got %d for a small heap, want more than %d", first, garbageShare)
	}
	large := make([]byte, 64<<20)
	runtime.GC()
	if got := <-set; got != garbageShare {
		t.Errorf("got %d with 64 MiB alive, want %d", got, garbageShare)
	}
	runtime.KeepAlive(large)
	large = nil
	runtime.GC()
	if got := <-set; got <= garbageShare {
		t.Errorf("got %d when they were dead, want more than %d", got, garbageShare)
	}
}
