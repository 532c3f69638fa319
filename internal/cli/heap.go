package cli

import (
	"os"
	"runtime"
	"runtime/debug"
)

// The garbage collector starts when the heap has grown by gcPercent since its
// last run. Of a heap of a few MiB that is soon, and a collection costs about the
// same however little it frees: the ballast counts as heap, so that at least 12 MiB
// are allocated between two. Of a large heap, which is mostly the buffers of
// slow readers, it is half of what the runtime's own 100 would be.
const (
	gcPercent = 50
	ballast   = 24 << 20
)

// PaceGC has garbage collected later than the runtime would while the heap is
// small, and sooner when it is large, until stop is called. Where GOGC or
// GOMEMLIMIT is set, it leaves all as that says.
func PaceGC() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(gcPercent)
	unused := make([]byte, ballast) // never written to, so the system gives no memory for it
	return func() { runtime.KeepAlive(unused) }
}
