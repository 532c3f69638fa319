package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
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

// What nobody uses is given back to the system when little is allocated: in lookEvery
// no more than 1/quietPart of it. Less than restLeast, or than 1/restPart of what is
// alive, is not worth the two collections that it costs. They take 1/restShare of the
// time at most, whatever the rhythm of busy and quiet.
const (
	lookEvery = 2 * time.Second
	quietPart = 16
	restLeast = 4 << 20 // bytes
	restPart  = 8
	restShare = 100
)

// PaceGC has garbage collected later than the runtime would while the heap is
// small, and sooner when it is large, and the system get back what is not used when
// the program has become quiet, until stop is called. Where GOGC or GOMEMLIMIT is
// set, it leaves all as that says.
func PaceGC() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(gcPercent)
	unused := make([]byte, ballast) // never written to, so the system gives no memory for it
	stopped := make(chan struct{})
	var running sync.WaitGroup
	// Ends with stop, which waits for it.
	running.Go(func() { giveBack(stopped) })
	return func() {
		close(stopped)
		running.Wait()
		runtime.KeepAlive(unused)
	}
}

// giveBack looks at the heap now and then until stopped is closed.
func giveBack(stopped <-chan struct{}) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for before := readHeap(); ; {
		select {
		case <-stopped:
			return
		case <-timer.C:
		}
		now := readHeap()
		next := lookEvery
		if now.rests(before) {
			began := time.Now()
			rest()
			next = max(next, restShare*time.Since(began))
			now = readHeap()
		}
		before = now
		timer.Reset(next)
	}
}

// rest gives the system what nobody uses. What is in a sync.Pool is garbage at the
// second collection.
func rest() {
	runtime.GC()
	debug.FreeOSMemory() // collects, too
}

// heapUse is what the heap takes, in bytes.
type heapUse struct {
	allocated uint64 // so far
	alive     uint64 // at the last collection, without the ballast
	spare     uint64 // that the system has given, and that may be without use
}

func readHeap() heapUse {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	live, objects := s[1].Value.Uint64(), s[2].Value.Uint64()
	live = min(live, objects)
	return heapUse{
		allocated: s[0].Value.Uint64(),
		alive:     live - min(live, ballast),
		spare:     objects - live + s[3].Value.Uint64(),
	}
}

// rests reports whether it is worth while, and no hindrance, to give back what is
// spare, if it was before at the look before.
func (u heapUse) rests(before heapUse) bool {
	return u.spare >= max(restLeast, u.alive/restPart) && u.allocated-before.allocated <= u.spare/quietPart
}
