package spdy

import "time"

// recvFlow is what bounds the DATA that a session's peer sends. Guarded by
// Session.mu.
type recvFlow struct {
	window  recvWindow // of the session
	grow    grower
	budget  windowBudget
	learned int64 // largest window that a stream has grown to
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

// update counts n bytes as read and returns the WINDOW_UPDATE that is due: none
// before enough was read, or each read would cost a frame.
func (w *recvWindow) update(n int64) (delta int64) {
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

// update returns n read bytes of st to the peer, and lets the window grow.
func (s *Session) update(st *Stream, n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.unlock()
	if !st.receiving() || st.recv.ending || st.recv.forgotten || s.err != nil {
		return
	}
	most := st.recv.window.most()
	delta := st.recv.window.update(int64(n))
	s.receive.budget.add(st.fairKey, st.recv.window.most()-most)
	if delta == 0 {
		return
	}
	now := time.Now()
	size := st.recv.grow.resize(now, delta, st.recv.window.size, s.ping.roundTrip())
	switch {
	case st.recv.discard:
	case size > st.recv.window.size:
		delta += s.growLocked(st, size)
	case size < st.recv.window.size:
		s.shrinkLocked(st, size)
	}
	if st.recv.grow.total >= measureAfter {
		s.measureLocked(now)
	}
	st.recv.credited = true
	s.queueLocked(item{typ: typeWindowUpdate, st: st, id: st.id, value: uint32(delta)})
}

// updateSessionLocked returns n bytes to the peer's session window.
func (s *Session) updateSessionLocked(n int) {
	if !s.sessionWindows() {
		return
	}
	delta := s.receive.window.update(int64(n))
	if delta == 0 {
		return
	}
	size := s.receive.grow.resize(time.Now(), delta, s.receive.window.size, s.ping.roundTrip())
	if size = min(size, defaultMaxSessionWindow); size > s.receive.window.size {
		delta += s.receive.window.grow(size)
	}
	s.queueLocked(item{typ: typeWindowUpdate, value: uint32(delta)})
}

// growLocked raises the window of a stream whose reader keeps up, within what
// Config allows.
func (s *Session) growLocked(st *Stream, size int64) (delta int64) {
	old := st.recv.window.size
	if st.recv.grow.proven() {
		// What one stream of this connection needed, the next will need too.
		size = min(max(size, s.receive.learned), int64(s.cfg.MaxStreamWindow))
	} else {
		size = min(size, unprovenWindow, int64(s.cfg.MaxStreamWindow))
	}
	size = min(size, old+s.receive.budget.room(st.fairKey, st.recv.grow.proven()))
	if size <= old {
		return 0
	}
	s.receive.budget.add(st.fairKey, size-old)
	s.receive.learned = max(s.receive.learned, size)
	delta = st.recv.window.grow(size)
	st.recv.updateAt.Store(int32(st.recv.window.enough()))
	st.recv.grew.Store(true)
	return delta
}

// shrinkLocked lowers the window of a stream whose reader has become slow, not
// below what it started with. The account of Config.MaxBuffer follows as update sees
// the bytes read that the peer may have sent before.
func (s *Session) shrinkLocked(st *Stream, size int64) {
	less := st.recv.window.size - max(size, int64(s.cfg.StreamWindow))
	if less <= 0 {
		return
	}
	st.recv.window.shrink(less)
	st.recv.grow.keep(less)
	st.recv.updateAt.Store(int32(st.recv.window.enough()))
}

// readNoMoreLocked notes that nobody goes on reading what comes.
func (st *Stream) readNoMoreLocked() {
	st.recv.done = true
	st.s.ungrowLocked(st)
}

// ungrowLocked takes the window of a stream that has ended off the account of
// Config.MaxBuffer, when its body was read too, or given up: until then what came
// is held.
func (s *Session) ungrowLocked(st *Stream) {
	if st.state == streamClosed && st.recv.done {
		s.receive.budget.add(st.fairKey, int64(s.cfg.StreamWindow)-st.recv.window.most())
		st.recv.window = recvWindow{size: int64(s.cfg.StreamWindow)}
	}
}

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
// small number of visitors can use up what there is. While the others have next to
// nothing, they may have three eighths of all: 24 MiB of 64, the largest window
// that one stream has by default. With a quarter, one download over a line of 50 ms
// had 243 MB/s in place of 287.
func (b *windowBudget) room(key string, proven bool) int64 {
	room := b.most/4 - b.total
	if proven {
		room = (b.most - b.total) / 2
	}
	if b.byKey != nil {
		own := b.byKey[key]
		others := b.total - own
		room = min(room, max((b.most-others)/4, b.most*3/8-others)-own)
	}
	return room
}
