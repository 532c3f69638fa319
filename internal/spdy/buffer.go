package spdy

import (
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// chunk is one pooled piece of a body. Its first 8 bytes stay free, so that a
// DATA frame's header can be put in front of what is sent from it.
type chunk struct {
	next  *chunk
	r, w  int  // b[r:w] is filled and not yet taken
	inUse bool // a part of it is being written by the session's writer: not to be pooled
	b     []byte
}

// Chunks have two sizes: of one full frame, and of four for the streams whose
// window has grown: they are moved by fewer and larger reads and writes.
const (
	smallChunk = maxRecord
	largeChunk = frameHeaderLen + 4*maxData
)

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, largeChunk)} }}
)

func newChunk(large bool) *chunk {
	pool := &smallChunks
	if large {
		pool = &largeChunks
	}
	c := pool.Get().(*chunk)
	c.next, c.r, c.w, c.inUse = nil, frameHeaderLen, frameHeaderLen, false
	return c
}

func freeChunk(c *chunk) {
	switch {
	case c.inUse:
	case len(c.b) == smallChunk:
		smallChunks.Put(c)
	default:
		largeChunks.Put(c)
	}
}

// chunkList is a queue of chunks. One producer may fill the free space behind
// the last chunk's w outside the lock that guards the list: between reserve and
// commit that chunk stays in the list even when it is empty.
type chunkList struct {
	head, tail *chunk
	size       int  // bytes filled and not taken
	filling    bool // between reserve and commit
	dropped    bool // the list was dropped meanwhile: commit frees the chunk
}

// reserve returns free space at the end of the list, in a large chunk if it has
// to add one and large is set.
func (l *chunkList) reserve(large bool) []byte {
	if l.tail == nil || l.tail.w == len(l.tail.b) {
		c := newChunk(large)
		if l.tail == nil {
			l.head = c
		} else {
			l.tail.next = c
		}
		l.tail = c
	}
	l.filling = true
	return l.tail.b[l.tail.w:]
}

// commit says that the first n bytes of what reserve returned are filled. It
// reports false if the list was dropped meanwhile.
func (l *chunkList) commit(n int) bool {
	l.filling = false
	if l.dropped {
		if l.tail != nil {
			freeChunk(l.tail)
			l.head, l.tail = nil, nil
		}
		return false
	}
	l.tail.w += n
	l.size += n
	if l.tail.r == l.tail.w {
		l.trim()
	}
	return true
}

// trim frees empty chunks at the front, but one that is being filled.
func (l *chunkList) trim() {
	for c := l.head; c != nil && c.r == c.w && !(l.filling && c == l.tail); c = l.head {
		l.pop()
		freeChunk(c)
	}
}

// pop takes the first chunk off the list.
func (l *chunkList) pop() {
	l.head = l.head.next
	if l.head == nil {
		l.tail = nil
	}
}

// drop forgets everything; from now on commit reports false.
func (l *chunkList) drop() {
	l.dropped = true
	l.size = 0
	for c := l.head; c != nil; c = l.head {
		if l.filling && c == l.tail {
			return // commit frees it
		}
		l.pop()
		freeChunk(c)
	}
}

// recvBuffer holds what came on a stream and was not read yet. The session's
// reader fills it and never waits; one reader of the body empties it.
type recvBuffer struct {
	mu sync.Mutex
	// Guarded by mu, which is never held together with the session's.
	list     chunkList
	cond     sync.Cond
	err      error // what Read returns when the list is empty; nil: more may come
	consumed int   // bytes read since the last call of takeConsumed
	deadline deadline
	trailer  http.Header // of HEADERS that came after the first header block
	aborted  bool        // nobody reads: no more is kept
}

func (b *recvBuffer) init() { b.cond.L = &b.mu }

func (b *recvBuffer) reserve(large bool) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list.reserve(large)
}

// commit adds n bytes; it reports false if nobody will read them.
func (b *recvBuffer) commit(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	ok := b.list.commit(n)
	b.cond.Signal()
	return ok
}

// end makes err what Read returns after all that came before. The first wins.
func (b *recvBuffer) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.cond.Broadcast()
}

// abort is end for a body that nobody may go on reading: what was buffered is
// dropped too, and err replaces a clean end that was not reached yet.
func (b *recvBuffer) abort(err error) (dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dropped = b.list.size
	if b.err == nil || b.list.size > 0 {
		b.err = err
	}
	b.list.drop()
	b.trailer, b.aborted = nil, true
	b.cond.Broadcast()
	return dropped
}

// waitLocked waits until something is there to be read, or an error.
func (b *recvBuffer) waitLocked() error {
	for b.list.size == 0 {
		if b.err != nil {
			return b.err
		}
		if b.deadline.passed() {
			return os.ErrDeadlineExceeded
		}
		b.cond.Wait()
	}
	return nil
}

// read copies to p what there is, and waits if there is nothing. The second
// result is how many bytes were consumed since takeConsumed last said so. An end
// that is known comes with the last bytes.
func (b *recvBuffer) read(p []byte) (n, consumed int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(p) == 0 {
		return 0, b.consumed, nil
	}
	if err := b.waitLocked(); err != nil {
		return 0, b.consumed, err
	}
	for n < len(p) && b.list.size > 0 {
		c := b.list.head
		m := copy(p[n:], c.b[c.r:c.w])
		c.r += m
		n += m
		b.list.size -= m
		b.list.trim()
	}
	b.consumed += n
	if b.list.size == 0 && b.err == io.EOF {
		err = io.EOF
	}
	return n, b.consumed, err
}

// addTrailer keeps what a HEADERS frame brought until the end is read. A name may
// be there already, or among the headers: trailers are fields of their own (RFC
// 9110, 6.5), and the lines of one name are one list (5.3).
func (b *recvBuffer) addTrailer(h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.aborted:
		return
	case b.trailer == nil:
		b.trailer = h
		return
	}
	for key, values := range h {
		b.trailer[key] = append(b.trailer[key], values...)
	}
}

// takeTrailer returns what addTrailer kept, once.
func (b *recvBuffer) takeTrailer() http.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.trailer
	b.trailer = nil
	return h
}

// takeConsumed returns and resets the count of bytes read.
func (b *recvBuffer) takeConsumed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.consumed
	b.consumed = 0
	return n
}

// finished reports whether the end was reached and all of it read.
func (b *recvBuffer) finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list.size == 0 && b.err == io.EOF
}

// ready reports whether there is something to read, or an end.
func (b *recvBuffer) ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list.size > 0 || b.err != nil
}

// await returns when a read would not wait.
func (b *recvBuffer) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waitLocked()
}

// setDeadline makes waiting reads fail at t; the zero t: never.
func (b *recvBuffer) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline.set(t, &b.mu, &b.cond)
	b.cond.Broadcast()
}

// deadline wakes a condition's waiters when its time has come. Its methods are
// called with the condition's lock held.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time, mu sync.Locker, cond *sync.Cond) {
	d.stop()
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			mu.Lock()
			cond.Broadcast()
			mu.Unlock()
		})
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
