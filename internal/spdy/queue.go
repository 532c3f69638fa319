package spdy

import "sync"

// item is one frame that waits to be written: a control frame, or DATA without
// bytes that only carries a FIN.
type item struct {
	typ      FrameType
	flags    frameFlags
	id       uint32
	value    uint32    // status, delta, ping id, or last-good
	value2   uint32    // status of GOAWAY
	settings [2]uint32 // MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE
	block    *pairs    // header block, not yet compressed
	st       *Stream   // the frame is nothing without it; nil for RST_STREAM, and for an answer in a handler's place

	caused     bool  // the peer can make us queue any number of these
	prev, next *item // in the queue
	older      *item // of the same stream
}

var itemPool = sync.Pool{New: func() any { return new(item) }}

// free gives a frame back that was written, or that nobody is going to write.
func (it *item) free() {
	freePairs(it.block)
	*it = item{}
	itemPool.Put(it)
}

// controlQueue is the frames that wait to be written, in the order of the wire.
// The frames of a stream can be taken out of it at once: what waits behind a slow
// line is then bounded by the streams that are open, not by those that were reset
// meanwhile. Header blocks are compressed as they are written, so the compression
// context misses nothing. Guarded by Session.mu.
type controlQueue struct {
	head, tail *item
	size       int
	caused     int              // of them, those with item.caused
	newest     map[uint32]*item // of each stream that has any, open or not
	echoes     []uint32         // PINGs to send back, ahead of all
}

func (q *controlQueue) empty() bool { return q.size == 0 && len(q.echoes) == 0 }

// push adds a copy of it at the end.
func (q *controlQueue) push(it item) {
	p := itemPool.Get().(*item)
	*p = it
	if p.prev = q.tail; q.tail == nil {
		q.head = p
	} else {
		q.tail.next = p
	}
	q.tail = p
	q.size++
	if p.caused {
		q.caused++
	}
	if p.id != 0 {
		if q.newest == nil {
			q.newest = make(map[uint32]*item)
		}
		p.older = q.newest[p.id]
		q.newest[p.id] = p
	}
}

// take empties the queue, and returns the first frame of what was in it. The
// caller frees each.
func (q *controlQueue) take() (first *item, echoes []uint32) {
	first, echoes = q.head, q.echoes
	newest := q.newest
	if len(newest) > 256 {
		newest = nil // emptying a map costs what it once held
	}
	clear(newest)
	*q = controlQueue{newest: newest}
	return first, echoes
}

// drop takes the frames of a stream out that this side has given up: its
// RST_STREAM stays, and an answer in the handler's place.
func (q *controlQueue) drop(id uint32) {
	var kept *item // the oldest so far
	for it := q.newest[id]; it != nil; {
		older := it.older
		if it.st == nil {
			if kept == nil {
				q.newest[id] = it
			} else {
				kept.older = it
			}
			kept = it
		} else {
			q.remove(it)
		}
		it = older
	}
	if kept == nil {
		delete(q.newest, id)
	} else {
		kept.older = nil
	}
}

// dropAll takes all frames of a stream out: its peer has given it up.
func (q *controlQueue) dropAll(id uint32) {
	for it := q.newest[id]; it != nil; {
		older := it.older
		q.remove(it)
		it = older
	}
	delete(q.newest, id)
}

// remove takes one frame out, which the caller takes out of newest.
func (q *controlQueue) remove(it *item) {
	if it.prev == nil {
		q.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		q.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	q.size--
	if it.caused {
		q.caused--
	}
	it.free()
}

// queueLocked appends a frame to the control queue.
func (s *Session) queueLocked(it item) {
	if s.sendsNothingLocked() != nil {
		freePairs(it.block)
		return
	}
	switch it.typ {
	case typeSynReply, typeWindowUpdate:
		it.caused = true
	case typeRstStream:
		// One for a stream that we opened is one for a SYN_STREAM that went out:
		// thousands of our own requests may be given up at once.
		it.caused = s.isPeers(it.id)
	}
	s.queue.push(it)
	s.wakeLocked()
}

// causedLimit bounds how many frames a peer can make us hold that it does not
// read.
func (s *Session) causedLimit() int {
	return 1024 + 4*int(min(s.cfg.MaxConcurrentStreams, 1<<20))
}
