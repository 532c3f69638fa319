package spdy

import "time"

// grower decides when a window is what holds its sender up: more than half of it
// is read in a round trip, which a window of twice the bandwidth times the round
// trip never sees. A slow reader takes longer than that, so only the windows of
// readers that keep up are raised.
//
// The rule of QUIC's implementations, twice the window when half of it was read in two
// round trips, is half as long. It opens windows wider than the line
// asks for where the round trip is short, and what is urgent waits behind what they
// let in: beside 8 large bodies a small request took 3 to 8 times as long.
type grower struct {
	last  time.Time // when the bytes of since began to come; before any came, when a client's stream was opened
	since int64     // bytes given back, or kept by shrink, and not yet looked at by resize
	total int64     // bytes given back
	from  time.Time // when the bytes of read began to come
	read  int64     // as since, to see whether the reader is slow
}

// resize is called when a WINDOW_UPDATE of delta bytes, on a window of size,
// goes out at now. It returns the size that the window should have.
func (g *grower) resize(now time.Time, delta, size int64, rtt time.Duration) int64 {
	g.total += delta
	g.since += delta
	g.read += delta
	if g.slow(now, size, rtt) {
		g.last, g.since = now, 0
		return size / 2
	}
	took := now.Sub(g.last)
	if rtt < shortRTT {
		// What is read within a round trip had waited for its reader, and says
		// little of the line.
		least := rtt
		if size >= largeWindow {
			least = manyTrips * rtt
		}
		if took < least || !g.proven() {
			return size
		}
	}
	windows := float64(g.since) * float64(rtt) / (float64(max(took, 1)) * float64(size)) // read in a round trip
	g.last, g.since = now, 0
	if windows <= 0.5 {
		return size
	}
	g.from, g.read = now, 0
	if windows > 1 && rtt >= shortRTT {
		return int64(min(2*windows, 16) * float64(size))
	}
	return 2 * size
}

// slow reports whether less than a sixteenth of the window was read in a round
// trip. It is counted over many: where the window is what holds the sender up,
// it comes at once, and nothing for the rest of a round trip.
func (g *grower) slow(now time.Time, size int64, rtt time.Duration) bool {
	if g.from.IsZero() {
		g.from = g.last
	}
	took := now.Sub(g.from)
	if rtt == 0 || took < manyTrips*rtt || rtt < shortRTT && !g.proven() {
		return false
	}
	slow := 16*float64(g.read)*float64(rtt) < float64(took)*float64(size)
	g.from, g.read = now, 0
	return slow
}

// keep counts n bytes that shrink does not give back: they will have been read
// when resize is called next.
func (g *grower) keep(n int64) {
	g.since += n
	g.read += n
}

// proven reports whether so much was read that it cannot all have gone into the
// buffers of sockets, which take the first of a download at once, however slow
// its reader is.
func (g *grower) proven() bool { return g.total >= provenTotal }

const (
	// shortRTT: on a longer line the first bytes of a round trip show what it
	// carries, before the round trip is over.
	shortRTT = 4 * time.Millisecond

	// On a short line a window grows for a proven reader only, on a longer one
	// to unprovenWindow for any, so that the proof takes two round trips.
	provenTotal    = 512 << 10
	unprovenWindow = 512 << 10

	// A window of largeWindow and more grows, on a short line, for what is read
	// in manyTrips round trips: a reader that was held up for a moment seems
	// fast after it. Any window shrinks for what is read in so many.
	largeWindow = 512 << 10
	manyTrips   = 20
)
