package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// leastGarbage is how many bytes may become garbage before they are collected,
	// however little is alive: a collection costs the same for a byte and for all.
	leastGarbage = 16 << 20

	// garbageShare is how much garbage there may be for each byte that is alive,
	// in percent. Most of a large heap is what slow readers are waited for with,
	// and the runtime's 100 would double that.
	garbageShare = 50
)

// PaceGC has garbage collected later than the runtime would while the heap is
// small, and sooner when it is large. If GOGC is set, it stays as that says.
func PaceGC() {
	if os.Getenv("GOGC") == "" {
		pace(&pacer{set: func(percent int) { debug.SetGCPercent(percent) }})
	}
}

// pacer is garbage at once: its finalizer runs after each collection.
type pacer struct {
	set     func(percent int)
	percent int // that was set last
}

func pace(p *pacer) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return // a runtime that counts otherwise
	}
	// Setting it stops the program for a moment.
	if n := gcPercent(live[0].Value.Uint64()); n < p.percent*9/10 || n > p.percent*11/10 {
		p.percent = n
		p.set(n)
	}
	runtime.SetFinalizer(p, pace)
}

// gcPercent is the GOGC for so many bytes that are alive.
func gcPercent(live uint64) int {
	const most = 400 // the runtime's least heap, of 4 MiB, grows with it
	return int(min(max(garbageShare, 100*leastGarbage/max(live, 1)), most))
}
