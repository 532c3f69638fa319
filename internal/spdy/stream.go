package spdy

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Stream is one request and its response. On the server side it is the
// http.ResponseWriter of the request's handler; it is an http.Flusher, an
// io.ReaderFrom and an io.StringWriter as well, and http.ResponseController
// sets its deadlines.
type Stream struct {
	s *Session

	// Fixed before the stream is in Session.streams.
	pri     uint8
	fairKey string
	req     *http.Request
	rw      *response // server side only
	duplex  bool      // the request asks for an upgrade

	// giveAt is how many bytes its reader consumes before it tells the session.
	giveAt atomic.Int32
	// grew: its receive window is larger than at first.
	grew atomic.Bool

	// Guarded by Session.mu.
	id       uint32
	cond     sync.Cond // room to send, the reply, the end
	send     chunkList
	sendWin  sendWindow
	recv     recvWindow
	grow     grower
	deadline deadline // of writes
	err      error    // why it ended before its time
	resp     *http.Response
	trailers *pairs      // to be sent after the last DATA
	stopCtx  func() bool // ends the watch on the request's context
	cancel   context.CancelFunc

	requested    bool // Request was called
	opened       bool // it has an id
	sent         bool // its first frame was handed to the connection
	replied      bool // SYN_REPLY is queued or was received
	finQueued    bool // no more DATA will be added
	localClosed  bool // our FIN is on its way
	remoteClosed bool // the peer's FIN came
	closed       bool // it is no longer in Session.streams
	credited     bool // a WINDOW_UPDATE was sent for it
	forgotten    bool // the peer says so, though its FIN is still to come
	discard      bool // what comes is dropped and given back
	bodyDone     bool // nobody goes on reading what came; not kept if nothing grew
	unwanted     bool // so much was dropped that the rest is refused
	late         bool // a write failed for its deadline

	// Guarded by Session.mu; see hold in session_write.go.
	held      *pairs // the SYN_REPLY, while it is held back
	hold      bool   // DATA is held back too
	isLazy    bool   // in Session.lazy
	isReady   bool   // in the scheduler
	waiting   int    // calls of writeFrom that wait for room
	sentMuch  bool   // a whole chunk was filled
	left      int    // bytes of its turn
	nextReady *Stream

	// Owned by the session's reader.
	want, got int64 // announced length of the body, -1 if none; bytes of it that came
	hadData   bool
	dropped   int64 // bytes dropped while discard was set
	// Bytes and values in the HEADERS frames.
	moreBytes, morePairs int

	buf recvBuffer // has a lock of its own
}

func (s *Session) newStream() *Stream {
	st := &Stream{s: s, pri: defaultPriority, want: -1}
	st.cond.L = &s.mu
	st.buf.init()
	st.recv = recvWindow{size: int64(s.cfg.StreamWindow), avail: int64(s.cfg.StreamWindow)}
	st.giveAt.Store(int32(st.recv.enough()))
	return st
}

// String returns the stream id in decimal.
func (st *Stream) String() string {
	st.s.mu.Lock()
	defer st.s.unlock()
	return strconv.FormatUint(uint64(st.id), 10)
}

// A stream holds at most sendBuffer bytes that were not sent yet, and only
// sendBufferLow if its window does not allow more, or if the streams of its
// session hold sendBufferAll together. (Each may pass its bound by one piece.)
const (
	sendBuffer    = 8 * maxData
	sendBufferLow = maxData
	sendBufferAll = 4 << 20
)

// roomLocked reports whether more DATA may be added.
func (st *Stream) roomLocked() bool {
	return st.send.size < sendBufferLow ||
		st.send.size < sendBuffer && int64(st.send.size) < int64(st.sendWin) && st.s.unsent < sendBufferAll
}

// wakeWriterLocked wakes those that wait for room, where there is enough of it to
// be worth that: before the buffer is empty, or a less urgent stream would have the
// turn of one that has more to say.
func (st *Stream) wakeWriterLocked() {
	if st.send.size <= sendBuffer/2 && st.roomLocked() {
		st.cond.Broadcast()
	}
}

// largeLocked reports whether what is sent next deserves a large chunk: there is
// much of it. Where many streams wait for a peer that does not read, each gets
// little, and a few bytes never hold a large chunk on all of them.
func (st *Stream) largeLocked() bool {
	s := st.s
	return int64(st.sendWin) > defaultWindow && s.unsent < sendBufferAll/4 &&
		(st.send.size > 0 || st.sentMuch && len(s.streams) <= fewStreams)
}

// fewStreams is so few that each may hold a large chunk: 4 MiB in all.
const fewStreams = 64

// writeFrom adds DATA that fill puts into the space it is given, until fill
// reports an error or has no more. It waits for room, and for another call's
// fill, for nothing else. What was added goes out when flush, or enough of it,
// asks for it.
func (st *Stream) writeFrom(fill func(space []byte) (n int, more bool, err error), lazy bool) error {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	for {
		for !st.closed && !st.finQueued && (!st.roomLocked() || st.send.filling) && !st.deadline.passed() {
			st.sendHeldLocked()
			st.waiting++
			st.cond.Wait()
			st.waiting--
		}
		if err := st.writeErrorLocked(); err != nil {
			return err
		}
		n, more, err := st.fillUnlocked(fill, st.send.reserve(st.largeLocked()))
		if st.finQueued {
			n = 0 // somebody else ended this side meanwhile
		}
		if !st.send.commit(n) || st.finQueued {
			return st.writeErrorLocked()
		}
		s.unsent += n
		st.sentMuch = st.sentMuch || n > 0 && st.send.tail.w == len(st.send.tail.b)
		if st.waiting > 0 {
			st.cond.Broadcast()
		}
		if n > 0 {
			if lazy && st.send.size < lazyLimit && !st.isReady {
				st.holdLocked()
			} else {
				st.sendHeldLocked()
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// fillUnlocked calls fill without the session's lock, and takes it back even if
// fill panics: it is a handler's code.
func (st *Stream) fillUnlocked(fill func(space []byte) (int, bool, error), space []byte) (n int, more bool, err error) {
	st.s.unlock()
	defer st.s.mu.Lock()
	return fill(space)
}

// writeErrorLocked says why nothing more can be sent, nil if it can.
func (st *Stream) writeErrorLocked() error {
	switch {
	case st.err != nil:
		return st.err
	case st.closed || st.finQueued:
		return &StreamError{StreamID: st.id, Status: StreamAlreadyClosed, Cause: errFinished}
	case st.deadline.passed():
		st.late = true
		return &StreamError{StreamID: st.id, Status: InternalError, Cause: os.ErrDeadlineExceeded}
	}
	return nil
}

// finishLocked ends this side of the stream after what is buffered.
func (st *Stream) finishLocked(trailers *pairs) {
	if st.closed || st.finQueued {
		freePairs(trailers)
		return
	}
	st.finQueued = true
	st.trailers = trailers
	st.hold = false
	if st.held != nil {
		st.queueReplyLocked()
	}
	if st.send.size > 0 {
		st.readyLocked()
	} else if !st.localClosed {
		st.queueEndLocked()
	}
	st.cond.Broadcast()
}

// queueEndLocked sends the trailers, if there are any, and the FIN on DATA
// without bytes, which no window holds up (draft 3.1, 2.6.8).
func (st *Stream) queueEndLocked() {
	if st.trailers != nil {
		// Not with FIN: there are peers that do not see it on HEADERS.
		st.s.queueLocked(item{typ: typeHeaders, st: st, id: st.id, block: st.trailers})
		st.trailers = nil
	}
	st.s.queueLocked(item{typ: typeData, flags: flagFin, st: st, id: st.id})
	st.s.closeLocalLocked(st)
}

// readyLocked enters the stream in the scheduler if it may send.
func (st *Stream) readyLocked() {
	if st.send.size > 0 && st.sendWin > 0 && !st.closed && !st.hold {
		st.s.sched.add(st)
		st.s.wakeLocked()
	}
}

// readBody reads what came, and gives the window back.
func (st *Stream) readBody(p []byte) (int, error) {
	n, consumed, err := st.buf.read(p)
	if consumed >= int(st.giveAt.Load()) {
		st.s.give(st, st.buf.takeConsumed())
	}
	return n, err
}

// writeBodyTo is readBody without a copy.
func (st *Stream) writeBodyTo(w io.Writer) (n int64, err error) {
	for {
		p, err := st.buf.lend()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		m, err := w.Write(p)
		if m < 0 || m > len(p) {
			m, err = 0, errInvalidWrite
		}
		n += int64(m)
		// The writer of an HTTP/2 response may still read what a Write that failed
		// was given: used again, it could carry one visitor's bytes to another.
		if consumed := st.buf.took(m, err != nil); consumed >= int(st.giveAt.Load()) {
			st.s.give(st, st.buf.takeConsumed())
		}
		if err == nil && m < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

func (st *Stream) setWriteDeadline(t time.Time) {
	st.s.mu.Lock()
	defer st.s.unlock()
	st.deadline.set(t, &st.s.mu, &st.cond)
	st.cond.Broadcast()
}

// Priorities (draft 3.1, 2.3.3; the default is that of RFC 9218).
const defaultPriority = 3

type priorityKey struct{}
type streamKey struct{}

// WithPriority returns a context whose requests RoundTrip sends with priority
// p: 0 is the most urgent, 7 the least, and above it counts as 7.
func WithPriority(ctx context.Context, p uint8) context.Context {
	return context.WithValue(ctx, priorityKey{}, min(p, 7))
}

// PriorityFrom returns the priority that WithPriority put into ctx or, in a
// handler's context, that of the handler's stream.
func PriorityFrom(ctx context.Context) (p uint8, ok bool) {
	if p, ok = ctx.Value(priorityKey{}).(uint8); ok {
		return p, true
	}
	if st, is := ctx.Value(streamKey{}).(*Stream); is {
		return st.pri, true
	}
	return 0, false
}

// StreamID returns the id of the stream whose handler ctx belongs to, else 0.
func StreamID(ctx context.Context) uint32 {
	st, ok := ctx.Value(streamKey{}).(*Stream)
	if !ok {
		return 0
	}
	return st.id // fixed before the handler's context was made
}

// ResponseStreamID returns the id of the stream that resp came on, 0 if resp is
// not from RoundTrip or its Body was replaced.
func ResponseStreamID(resp *http.Response) uint32 {
	switch b := resp.Body.(type) {
	case *responseBody:
		return b.st.id
	case *duplexBody:
		return b.st.id
	}
	return 0
}
