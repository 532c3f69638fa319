package spdy

import (
	"os"
	"time"
)

// A stream holds at most sendBuffer bytes that were not sent yet, and only
// sendBufferLow if its window does not allow more, or if the streams of its
// session hold sendBufferAll together. (Each may pass its bound by one piece.)
const (
	sendBuffer    = 8 * maxData
	sendBufferLow = maxData
	sendBufferAll = 4 << 20
)

// fewStreams is so few that each may hold a large chunk: 4 MiB in all.
const fewStreams = 64

// roomLocked reports whether more DATA may be added. To a request's body that is no
// more than the window lets out: the rest could not be sent yet, and a request whose
// body was touched cannot be sent elsewhere if the peer refuses it.
func (st *Stream) roomLocked() bool {
	if st.send.paced && st.inWindowLocked() <= 0 {
		return false
	}
	return st.send.list.size < sendBufferLow ||
		st.send.list.size < sendBuffer && st.inWindowLocked() > 0 && st.s.send.buffered < sendBufferAll
}

// inWindowLocked returns how many bytes the stream's window lets out beyond those
// that are buffered.
func (st *Stream) inWindowLocked() int64 { return int64(st.send.window) - int64(st.send.list.size) }

// wakeWriterLocked wakes those that wait for room, where there is enough of it to
// be worth that: before the buffer is empty, or a less urgent stream would have the
// turn of one that has more to say.
func (st *Stream) wakeWriterLocked() {
	if st.send.list.size <= sendBuffer/2 && st.roomLocked() {
		st.cond.Broadcast()
	}
}

// largeLocked reports whether what is sent next deserves a large chunk: there is
// much of it. Where many streams wait for a peer that does not read, each gets
// little, and a few bytes never hold a large chunk on all of them.
func (st *Stream) largeLocked() bool {
	s := st.s
	return int64(st.send.window) > defaultWindow && s.send.buffered < sendBufferAll/4 &&
		(st.send.list.size > 0 || st.send.filled && len(s.streams) <= fewStreams)
}

// writeFrom adds DATA that fill puts into the space it is given, until fill
// reports an error or has no more. It waits for room, and for another call's
// fill, for nothing else. With hold, the last of it waits for more if it is small.
func (st *Stream) writeFrom(fill func(space []byte) (n int, more bool, err error), hold bool) error {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	for {
		for st.state != streamClosed && !st.send.fin && (!st.roomLocked() || st.send.list.filling) && !st.send.deadline.passed() {
			st.sendHeldLocked()
			st.send.writers++
			st.cond.Wait()
			st.send.writers--
		}
		if err := st.writeErrorLocked(); err != nil {
			return err
		}
		space := st.send.list.reserve(st.largeLocked())
		if st.send.paced {
			space = space[:min(int64(len(space)), st.inWindowLocked())]
		}
		n, more, err := st.fillUnlocked(fill, space)
		if st.send.fin {
			n = 0 // somebody else ended this side meanwhile
		}
		if !st.send.list.commit(n) || st.send.fin {
			return st.writeErrorLocked()
		}
		s.send.buffered += n
		st.send.filled = st.send.filled || n > 0 && st.send.list.tail.w == len(st.send.list.tail.b)
		if st.send.writers > 0 {
			st.cond.Broadcast()
		}
		if n > 0 {
			// What was flushed waits for window alone: with it, nothing is held.
			held := st.send.hold || st.send.list.size == n
			if hold && !more && held && st.send.list.size < holdMost && !st.send.ready {
				st.send.hold = true
			} else {
				st.sendHeldLocked()
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// unpace has writeFrom fill without window again.
func (st *Stream) unpace() {
	st.s.mu.Lock()
	defer st.s.unlock()
	st.send.paced = false
}

// writeAll sends p.
func (st *Stream) writeAll(p []byte, hold bool) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = st.writeFrom(func(space []byte) (int, bool, error) {
		m := copy(space, p[n:])
		n += m
		return m, n < len(p), nil
	}, hold)
	return n, err
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
	case st.state == streamClosed || st.send.fin:
		return &StreamError{StreamID: st.id, Status: StreamAlreadyClosed, Cause: errFinished}
	case st.send.deadline.passed():
		st.send.timedOut = true
		return &StreamError{StreamID: st.id, Status: InternalError, Cause: os.ErrDeadlineExceeded}
	}
	return nil
}

// finishLocked ends this side of the stream after what is buffered.
func (st *Stream) finishLocked(trailers *pairs) {
	if st.state == streamClosed || st.send.fin {
		freePairs(trailers)
		return
	}
	st.send.fin = true
	st.send.trailers = trailers
	st.send.hold = false
	if st.send.reply != nil {
		st.queueReplyLocked()
	}
	if st.send.list.size > 0 {
		st.readyLocked()
	} else if st.sending() {
		st.queueEndLocked()
	}
	st.cond.Broadcast()
}

// queueEndLocked sends the trailers, if there are any, and the FIN on DATA
// without bytes, which no window holds up (draft 3.1, 2.6.8).
func (st *Stream) queueEndLocked() {
	if st.send.trailers != nil {
		// Not with FIN: there are peers that do not see it on HEADERS.
		st.s.queueLocked(item{typ: typeHeaders, st: st, id: st.id, block: st.send.trailers})
		st.send.trailers = nil
	}
	st.s.queueLocked(item{typ: typeData, flags: flagFin, st: st, id: st.id})
	st.s.closeLocalLocked(st)
}

// readyLocked enters the stream in the scheduler if it may send.
func (st *Stream) readyLocked() {
	if st.send.list.size > 0 && st.send.window > 0 && st.state != streamClosed && !st.send.hold {
		st.s.send.sched.add(st)
		st.s.wakeLocked()
	}
}

func (st *Stream) setWriteDeadline(t time.Time) {
	st.s.mu.Lock()
	defer st.s.unlock()
	st.send.deadline.set(t, &st.s.mu, &st.cond)
	st.cond.Broadcast()
}

// waitSent is responseWriter.WaitSent.
func (st *Stream) waitSent() error {
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.heldUpLocked() {
		st.sendHeldLocked()
	}
	for st.heldUpLocked() && st.writeErrorLocked() == nil {
		st.send.writers++
		st.cond.Wait()
		st.send.writers--
	}
	return st.writeErrorLocked()
}

// heldUpLocked reports whether the windows do not let out what waits to be sent.
func (st *Stream) heldUpLocked() bool {
	s := st.s
	return st.send.list.size > 0 && (int64(st.send.window) < int64(st.send.list.size) || s.sessionWindows() && int64(s.send.window) < int64(s.send.buffered))
}
