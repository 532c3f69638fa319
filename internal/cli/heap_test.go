package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
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
