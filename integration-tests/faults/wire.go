//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The directions of a wire.
const (
	up   = iota // from c to p
	down        // from p to c
)

const (
	pieceSize = 16 << 10 // of what is passed on at once, at most, in bytes
	pieces    = 64       // of these may be under way in one direction
)

// A condition is what a wire does to the bytes that go one way. The zero condition
// passes them on. A wire is between two TCP connections, so that what a packet
// suffers cannot be had: a lost or overtaken packet is time to a reader, and a
// damaged one never reaches it. So loss is a stall of all that comes behind, and
// damage is done to the bytes, whose checksums then are right.
type condition struct {
	frozen bool          // nothing is passed on, and nothing ends
	delay  time.Duration // of each byte
	jitter time.Duration // up to so much more
	lose   float64       // chance of a piece to stand still for stall
	stall  time.Duration
	rate   int           // bytes/s; 0: no limit
	queue  time.Duration // how long bytes may wait for rate, before no more are taken; 0: no limit
	damage damage        // done to one piece in every
	every  int           // pieces, on average
}

// A damage changes a piece, and says which to send in its place.
type damage func(r *rand.Rand, piece []byte) [][]byte

func flip(r *rand.Rand, piece []byte) [][]byte {
	piece[r.IntN(len(piece))] ^= 1 << r.IntN(8)
	return [][]byte{piece}
}

func drop(*rand.Rand, []byte) [][]byte { return nil }

func twice(_ *rand.Rand, piece []byte) [][]byte { return [][]byte{piece, piece} }

// swap exchanges the halves: what an overtaking packet would be if nobody numbered them.
func swap(_ *rand.Rand, piece []byte) [][]byte {
	return [][]byte{piece[len(piece)/2:], piece[:len(piece)/2]}
}

// A wire is what lies between c and p: it listens for c and dials p, and what it
// does to their bytes can be changed at any time.
type wire struct {
	// Fixed by newWire.
	ln     net.Listener
	target string
	all    sync.WaitGroup // accept, and both directions of each link

	// Guarded by mu.
	mu       sync.Mutex
	rand     *rand.Rand
	cond     [2]condition
	changed  chan struct{} // closed, and replaced, at each change of cond
	refusing bool          // who dials is sent away
	links    map[*link]bool
	closed   bool
}

// A link is one connection of c's and the one to p that belongs to it.
type link struct {
	in, out *net.TCPConn
	done    chan struct{} // closed by end

	// Guarded by wire.mu.
	forgotten bool // nothing is passed on any more
	ended     bool
}

func newWire(target string, seed uint64) (*wire, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{
		ln: ln, target: target, rand: rand.New(rand.NewPCG(seed, 1)),
		changed: make(chan struct{}), links: map[*link]bool{},
	}
	// Ends with the listener; close waits for it.
	w.all.Go(w.accept)
	return w, nil
}

func (w *wire) addr() string { return w.ln.Addr().String() }

func (w *wire) accept() {
	for {
		in, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		refusing := w.refusing || w.closed
		w.mu.Unlock()
		if refusing {
			in.(*net.TCPConn).SetLinger(0)
			in.Close()
			continue
		}
		// Ends with the link; close waits for it.
		w.all.Go(func() { w.carry(in.(*net.TCPConn)) })
	}
}

// carry connects c to p until both directions have ended, or the link is cut.
func (w *wire) carry(in *net.TCPConn) {
	out, err := net.Dial("tcp", w.target)
	if err != nil {
		in.SetLinger(0)
		in.Close()
		return
	}
	l := &link{in: in, out: out.(*net.TCPConn), done: make(chan struct{})}
	w.mu.Lock()
	cut := w.refusing || w.closed
	w.links[l] = true
	w.mu.Unlock()
	if cut {
		w.end(l, true)
	}
	var both sync.WaitGroup
	// Each ends with what it reads from or writes to, or with the link.
	both.Go(func() { w.pass(l, up, l.out, l.in) })
	both.Go(func() { w.pass(l, down, l.in, l.out) })
	both.Wait()
	w.end(l, false)
	w.mu.Lock()
	delete(w.links, l)
	w.mu.Unlock()
}

// end closes a link, by a reset or in good order.
func (w *wire) end(l *link, reset bool) {
	w.mu.Lock()
	ended := l.ended
	l.ended = true
	w.mu.Unlock()
	if ended {
		return
	}
	close(l.done)
	if reset {
		l.in.SetLinger(0)
		l.out.SetLinger(0)
	}
	l.in.Close()
	l.out.Close()
}

// piece is bytes that are due at the other end at a time.
type piece struct {
	data []byte
	due  time.Time
}

// pass carries what goes one way.
func (w *wire) pass(l *link, way int, to, from *net.TCPConn) {
	queue := make(chan piece, pieces)
	// Ends with from or the link; pass waits for it by reading queue to its end.
	go func() {
		defer close(queue)
		w.take(l, way, from, queue)
	}()
	broken := false
	for p := range queue {
		if broken || !w.waitUntil(l, p.due) || !w.thawed(l, way) {
			continue
		}
		for _, data := range w.damaged(way, p.data) {
			if _, err := to.Write(data); err != nil {
				broken = true
				from.Close()
				break
			}
		}
	}
	if !broken && w.thawed(l, way) {
		to.CloseWrite()
	}
}

// take reads what goes one way, and says when it is due.
func (w *wire) take(l *link, way int, from *net.TCPConn, queue chan<- piece) {
	var free time.Time // when the wire has taken all that came before
	for {
		c := w.condition(way)
		size := pieceSize
		if c.rate > 0 {
			size = min(size, max(1, c.rate/50)) // 20 ms of it, so that it flows
		}
		data := make([]byte, size)
		n, err := from.Read(data)
		if n > 0 {
			c = w.condition(way)
			if now := time.Now(); free.Before(now) {
				free = now
			}
			if c.rate > 0 {
				free = free.Add(time.Duration(n) * time.Second / time.Duration(c.rate))
			}
			select {
			case queue <- piece{data[:n], free.Add(w.lateness(c))}:
			case <-l.done:
				return
			}
			if c.queue > 0 && !w.waitUntil(l, free.Add(-c.queue)) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) condition(way int) condition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cond[way]
}

func (w *wire) lateness(c condition) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := c.delay
	if c.jitter > 0 {
		late += time.Duration(w.rand.Int64N(int64(c.jitter)))
	}
	if c.lose > 0 && w.rand.Float64() < c.lose {
		late += c.stall
	}
	return late
}

// damaged returns what is to be sent in place of a piece.
func (w *wire) damaged(way int, data []byte) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.cond[way]; c.damage != nil && w.rand.IntN(c.every) == 0 {
		return c.damage(w.rand, data)
	}
	return [][]byte{data}
}

// waitUntil returns false if the link ends before.
func (w *wire) waitUntil(l *link, due time.Time) bool {
	late := time.Until(due)
	if late <= 0 {
		return true
	}
	timer := time.NewTimer(late)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// thawed waits while nothing is passed on, and returns false if the link ends before.
func (w *wire) thawed(l *link, way int) bool {
	for {
		w.mu.Lock()
		ended, still, changed := l.ended, l.forgotten || w.cond[way].frozen, w.changed
		w.mu.Unlock()
		if ended || !still {
			return !ended
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// set changes what is done to the bytes from now on.
func (w *wire) set(upwards, downwards condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cond = [2]condition{upwards, downwards}
	close(w.changed)
	w.changed = make(chan struct{})
}

// both is set with one condition for both directions.
func (w *wire) both(c condition) { w.set(c, c) }

// cut ends every link, by resets or in good order.
func (w *wire) cut(reset bool) {
	w.mu.Lock()
	links := make([]*link, 0, len(w.links))
	for l := range w.links {
		links = append(links, l)
	}
	w.mu.Unlock()
	for _, l := range links {
		w.end(l, reset)
	}
}

// refuse says whether who dials is sent away.
func (w *wire) refuse(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusing = yes
}

// forget passes nothing on any more of the links that are there, and ends none of
// them: what a router does that has lost its table.
func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.links {
		l.forgotten = true
	}
}

// close ends the wire and waits for all of it.
func (w *wire) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.ln.Close()
	w.cut(true)
	w.all.Wait()
}

// pause waits for d, or for ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
