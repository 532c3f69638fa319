package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// percentOf returns the percentage in force, and sets it back to 100.
func percentOf() int { return debug.SetGCPercent(100) }

func TestPaceGC(t *testing.T) {
	defer debug.SetGCPercent(percentOf())
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	stop := PaceGC()
	defer stop()
	// garbage is how much may be allocated before the next collection, live what is alive.
	measure := func() (garbage, live uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NextGC - m.HeapAlloc, m.HeapAlloc - ballast
	}
	if garbage, live := measure(); garbage < 11<<20 || garbage > 24<<20 {
		t.Errorf("%d bytes may be garbage beside %d that are alive, want some 12 MiB", garbage, live)
	}
	large := make([]byte, 128<<20)
	if garbage, live := measure(); garbage > live*7/10 {
		t.Errorf("%d bytes may be garbage beside %d that are alive, want little more than half", garbage, live)
	}
	runtime.KeepAlive(large)
}

// What the environment says stays.
func TestPaceGCLeavesTheEnvironment(t *testing.T) {
	defer debug.SetGCPercent(percentOf())
	for _, env := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(env, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(env, "100")
			debug.SetGCPercent(77)
			PaceGC()()
			if got := percentOf(); got != 77 {
				t.Errorf("got %d percent, want 77 as before", got)
			}
		})
	}
}

// What a burst leaves behind goes back to the system when nothing more is allocated.
func TestPaceGCGivesBack(t *testing.T) {
	defer debug.SetGCPercent(percentOf())
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	synctest.Test(t, func(t *testing.T) {
		defer PaceGC()()
		burst := make([][]byte, 4096)
		for i := range burst {
			burst[i] = make([]byte, 16<<10)
		}
		clear(burst)
		runtime.GC()
		if left := readHeap().spare; left < 16<<20 {
			t.Fatalf("%d bytes are spare after a burst of 64 MiB, want a part of them", left)
		}
		time.Sleep(3 * lookEvery)
		synctest.Wait()
		if left := readHeap(); left.spare > restLeast {
			t.Errorf("%d bytes are spare still, beside %d that are alive", left.spare, left.alive)
		}
	})
}

func TestRests(t *testing.T) {
	for _, c := range []struct {
		what string
		use  heapUse
		want bool
	}{
		{"much is spare", heapUse{alive: 100 << 20, spare: 50 << 20}, true},
		{"a little is allocated", heapUse{alive: 100 << 20, spare: 50 << 20, allocated: 3 << 20}, true},
		{"it is being used", heapUse{alive: 100 << 20, spare: 50 << 20, allocated: 4 << 20}, false},
		{"little beside what is alive", heapUse{alive: 100 << 20, spare: 12 << 20}, false},
		{"little", heapUse{alive: 1 << 20, spare: 3 << 20}, false},
		{"a small heap after much", heapUse{alive: 1 << 20, spare: 12 << 20}, true},
	} {
		if got := c.use.rests(heapUse{}); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
