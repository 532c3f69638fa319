package spdy

import "time"

// sendWindow is how many bytes of DATA may still be sent; negative after a
// SETTINGS that lowered it (draft 3.1, 2.6.8).
type sendWindow int64

// add gives n more bytes; it reports false, changing nothing, when the sum
// would pass 2^31-1.
func (w *sendWindow) add(n int64) bool {
	if int64(*w)+n > maxWindow {
		return false
	}
	*w += sendWindow(n)
	return true
}

// recvWindow is the window that this side gives its peer.
type recvWindow struct {
	size   int64 // what may be outstanding when all is read
	avail  int64 // what the peer may still send
	credit int64 // read, and not yet given back
}

// take counts n received bytes; false: the peer overran the window.
func (w *recvWindow) take(n int64) bool {
	if n > w.avail {
		return false
	}
	w.avail -= n
	return true
}

// give counts n bytes as read and returns the WINDOW_UPDATE that is due: none
// before enough was read, or each read would cost a frame.
func (w *recvWindow) give(n int64) (delta int64) {
	w.credit += n
	if w.credit < w.enough() {
		return 0
	}
	delta = w.credit
	w.credit = 0
	w.avail += delta
	return delta
}

// enough is how many read bytes are given back at once: half of a window as
// small as it starts, less and less of one that has grown. What is read and not
// yet given back is a part of the window that nobody uses.
func (w *recvWindow) enough() int64 {
	switch {
	case w.size <= defaultWindow:
		return w.size / 2
	case w.size <= 4*defaultWindow:
		return w.size / 4
	case w.size <= 64*defaultWindow:
		return w.size / 8
	}
	return w.size / 32
}

// grow raises the window to size and returns what the peer must be told.
func (w *recvWindow) grow(size int64) (delta int64) {
	delta = size - w.size
	w.size = size
	w.avail += delta
	return delta
}

// shrink lowers the window by n. What the peer was given cannot be taken back: the
// next n bytes that are read are not given to it again.
func (w *recvWindow) shrink(n int64) {
	w.size -= n
	w.credit -= n
}

// most is how many bytes the peer can make this side hold: the window, and what
// it was lowered by so long as that was not read.
func (w *recvWindow) most() int64 { return w.size - min(w.credit, 0) }

// grower decides when a window is what holds its sender up: more than half of it
// is read in a round trip, which a window of twice the bandwidth times the round
// trip never sees. A slow reader takes longer than that, so only the windows of
// readers that keep up are raised.
type grower struct {
	last  time.Time // when the bytes of since began to come; before any came, when a client's stream was opened
	since int64     // bytes given back, or kept by shrink, and not yet judged
	total int64     // bytes given back
	from  time.Time // when the bytes of read began to come
	read  int64     // as since, to judge whether the reader is slow
}

// judge is called when a WINDOW_UPDATE of delta bytes, on a window of size,
// goes out at now. It returns the size that the window should have.
func (g *grower) judge(now time.Time, delta, size int64, rtt time.Duration) int64 {
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
		if size >= steadyWindow {
			least = steadyTrips * rtt
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
// trip. That is judged over many: where the window is what holds the sender up,
// it comes at once, and nothing for the rest of a round trip.
func (g *grower) slow(now time.Time, size int64, rtt time.Duration) bool {
	if g.from.IsZero() {
		g.from = g.last
	}
	took := now.Sub(g.from)
	if rtt == 0 || took < steadyTrips*rtt || rtt < shortRTT && !g.proven() {
		return false
	}
	slow := 16*float64(g.read)*float64(rtt) < float64(took)*float64(size)
	g.from, g.read = now, 0
	return slow
}

// keep counts n bytes that shrink does not give back: they will have been read
// when a WINDOW_UPDATE is judged next.
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

	// A window of steadyWindow and more grows, on a short line, for what is read
	// in steadyTrips round trips: a reader that was held up for a moment seems
	// fast after it. Any window shrinks for what is read in so many.
	steadyWindow = 512 << 10
	steadyTrips  = 20
)

// leastRTT is what windows cover on the shortest line: both ends have other
// things to do, and a window that is used up while one of them is not running
// stops the stream.
const leastRTT = time.Millisecond

// longestReply is how long a response takes at most whose time stands for the
// round trip until one is measured: behind a longer one there is a handler that
// had to think, and in so long a round trip every reader seems fast.
const longestReply = time.Second

// A round trip is measured, by PING, only for streams that moved this much:
// small exchanges carry no frame that they did not ask for.
const measureAfter = 128 << 10

// measureEvery is how old a measured round trip may be while data flows.
const measureEvery = 10 * time.Second

// windowBudget is the account of Config.MaxBuffer: by how many bytes the windows of
// a session's streams exceed their start. Guarded by Session.mu.
type windowBudget struct {
	most  int64 // Config.MaxBuffer
	total int64
	byKey map[string]int64 // parts of total, by Config.FairKey; nil without it
}

// add counts n bytes more, or fewer, for a stream of key.
func (b *windowBudget) add(key string, n int64) {
	b.total += n
	if b.byKey == nil || n == 0 {
		return
	}
	if b.byKey[key] += n; b.byKey[key] == 0 {
		delete(b.byKey, key)
	}
}

// room returns by how many bytes the window of one stream of key may grow. It is
// half of what is left at most, so that something is there for the next; streams
// whose reader is not proven grow while less than a quarter of all is in use. The
// streams of one key together may have a quarter of what the other keys leave: no
// small number of visitors can use up what there is, and one by itself still has
// 16 MiB of 64, which is twice what a line of 1 Gbit/s and 60 ms carries in a round
// trip.
func (b *windowBudget) room(key string, proven bool) int64 {
	room := b.most/4 - b.total
	if proven {
		room = (b.most - b.total) / 2
	}
	if b.byKey != nil {
		own := b.byKey[key]
		room = min(room, (b.most-(b.total-own))/4-own)
	}
	return room
}
