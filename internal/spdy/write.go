package spdy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// writer is what only writeLoop has to do with.
type writer struct {
	deflate deflater
	buf     []byte
	data    []outData      // that goes out next
	part    *chunk         // was written, and more of it is to be sent
	flown   []flightRecord // frames that flight has not got yet
	cork    *corkConn      // nil if the connection does not stand on one
	// Bytes that were written to the connection and are still in cork, and how
	// many may be.
	corked, corkLimit int
}

// outData is DATA that goes out next: frame is its header and payload.
type outData struct {
	frame []byte
	chunk *chunk // to be freed, nil if more of it is to be sent later
	part  *chunk // of which more is to be sent later
}

// smallFrame is the size in bytes up to which DATA is copied behind other
// frames instead of being written by itself.
const smallFrame = 4 << 10

// wakeLocked tells the writer that there is something to write.
func (s *Session) wakeLocked() {
	if s.running && !s.writing {
		s.startWriterLocked()
	}
	s.wake.Signal()
}

func (s *Session) startWriterLocked() {
	s.running, s.writing = true, true
	// Ends when the session has ended and its last frames went out or could not,
	// which serve waits for; or when it rests.
	go func() {
		if !s.writeLoop() {
			return
		}
		s.mu.Lock()
		s.flownLocked()
		s.unlock()
		close(s.written)
	}()
}

// writeLoop is the only writer of the connection. It ends when the session has
// ended and the last frames are out, or could not be written, and reports true.
//
// It rests, and reports false, when all that it has written lately was of no stream,
// and there is none: a session that only waits, as thousands may do, has no stack and
// no buffer for a writer, and the next frame starts another one. Where there was a
// stream, more is likely to come; PINGs follow when that is over.
func (s *Session) writeLoop() (ended bool) {
	streams := false // it has written frames of streams
	for {
		s.mu.Lock()
		s.flownLocked()
		if s.writer.part != nil {
			s.writer.part.inUse = false
			s.writer.part = nil
		}
		rests, err := s.awaitWorkLocked(streams)
		switch {
		case err != nil:
			s.unlock()
			s.writeFailed(err)
			return true
		case rests:
			s.writer.buf, s.writer.data, s.writer.flown = nil, nil, nil
			s.writing = false
			s.unlock()
			return false
		case s.drainedLocked():
			e := s.drainedErrorLocked()
			s.unlock()
			s.end(e)
			continue
		}
		if s.queue.size+s.send.sched.ready < 4 && s.send.buffered < maxData && s.err == nil {
			// Others that are about to add something get the chance: one
			// record then carries it all.
			s.unlock()
			runtime.Gosched()
			s.mu.Lock()
		}
		last := s.err != nil
		s.stats.FramesSent += uint64(s.queue.size + len(s.queue.echoes))
		queue, echoes := s.queue.take()
		streams = false
		for it := queue; it != nil; it = it.next {
			streams = streams || it.id != 0
			if it.typ == typeSynStream {
				it.st.sent = true
			}
		}
		s.writer.data = s.writer.data[:0]
		if !last {
			s.pickLocked()
		}
		streams = streams || len(s.writer.data) > 0
		s.unlock()

		err = s.writeFrames(queue, echoes)
		if err == nil && last {
			err = s.uncork()
		}
		if err != nil {
			s.writeFailed(err)
			s.uncork() // an alert of TLS, it may be; the first error counts
			return true
		}
		if last {
			s.halfClose()
			return true
		}
	}
}

// awaitWorkLocked waits until there is something to write, or a reason to end. It reports
// true where the writer is to rest instead: see writeLoop.
func (s *Session) awaitWorkLocked(streams bool) (rests bool, err error) {
	for s.idleLocked() {
		if s.writer.corked == 0 {
			if !streams && len(s.streams) == 0 {
				return true, nil
			}
			s.wake.Wait()
			continue
		}
		// What was collected goes out now, unless those that are about to
		// add something do it at once.
		s.unlock()
		runtime.Gosched()
		s.mu.Lock()
		if !s.idleLocked() {
			break
		}
		s.unlock()
		err := s.uncork()
		s.mu.Lock()
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// idleLocked reports whether there is nothing to write, and no reason to end.
func (s *Session) idleLocked() bool {
	return s.queue.empty() && !s.canSendLocked() && s.err == nil && !s.drainedLocked()
}

// writeFailed is called by the writer, which then ends.
func (s *Session) writeFailed(err error) {
	e := lostError(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.Cause = fmt.Errorf("%w: it did not take a write in time", ErrDead)
	}
	if s.server != nil {
		s.end(e) // nobody would get an answer
		return
	}
	s.endSending(e)
}

// canSendLocked reports whether there is DATA to send now.
func (s *Session) canSendLocked() bool {
	return s.send.sched.ready > 0 && (s.send.window > 0 || !s.sessionWindows())
}

// pickLocked takes up to a record's worth of DATA off the streams whose turn it
// is. A little at a time: what is more urgent, or a control frame, may come
// while it is written.
func (s *Session) pickLocked() {
	for total := 0; total < maxData && s.canSendLocked(); {
		st := s.send.sched.next()
		if st.send.window <= 0 {
			s.send.sched.sent(st, 0, false) // SETTINGS have closed its window
			continue
		}
		c := st.send.list.head
		n := min(c.w-c.r, maxData, int(st.send.window))
		if s.sessionWindows() {
			n = min(n, int(s.send.window))
			s.send.window -= sendWindow(n)
		}
		st.send.window -= sendWindow(n)
		st.send.list.size -= n
		s.send.buffered -= n
		frame := c.b[c.r-frameHeaderLen : c.r+n]
		c.r += n
		p := outData{frame: frame}
		if c.r == c.w && !(st.send.list.filling && c == st.send.list.tail) {
			st.send.list.pop()
			p.chunk = c
		} else {
			c.inUse = true
			p.part = c
		}
		var flags frameFlags
		if st.send.fin && st.send.list.size == 0 && st.send.trailers == nil {
			flags = flagFin
		}
		putDataHeader(frame, st.id, flags, n)
		s.writer.data = append(s.writer.data, p)
		s.stats.BytesSent += uint64(n)
		s.stats.FramesSent++
		total += n + frameHeaderLen
		s.send.sched.sent(st, n, st.send.list.size > 0 && st.send.window > 0)
		if st.send.writers > 0 {
			st.wakeWriterLocked()
		}
		if flags == flagFin {
			s.closeLocalLocked(st)
		} else if st.send.fin && st.send.list.size == 0 {
			st.queueEndLocked()
		}
		if p.part != nil {
			break // the next header would be written over what is in use
		}
	}
}

// writeFrames encodes and writes one round's frames: echoes, control frames in
// their order, then DATA. It frees the control frames.
func (s *Session) writeFrames(queue *item, echoes []uint32) error {
	b := s.writer.buf[:0]
	at := time.Since(s.started)
	for _, id := range echoes {
		s.writer.flown = append(s.writer.flown, flightOf(at, &item{typ: typePing, value: id}, 4))
		s.trace(true, typePing, 0, 0, 4, "id=", id)
		b = appendWords(b, typePing, id)
	}
	for it := queue; it != nil; it = queue {
		queue = it.next
		b = s.appendItem(b, it, at)
		it.free()
		if len(b) >= maxRecord {
			if err := s.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	var err error
	for i := range s.writer.data {
		p := &s.writer.data[i]
		h := parseFrameHeader(p.frame)
		s.writer.flown = append(s.writer.flown, flightOf(at, &item{id: h.id, flags: h.flags}, int(h.length)))
		if s.tracer() != nil {
			s.tracer()(FrameInfo{Sent: true, Flags: uint8(h.flags), StreamID: h.id, Length: int(h.length)})
		}
		switch {
		case err != nil:
		case len(p.frame) <= smallFrame || len(b)+len(p.frame) <= maxRecord:
			b = append(b, p.frame...)
		default:
			if len(b) > 0 {
				err = s.write(b)
				b = b[:0]
			}
			if err == nil {
				err = s.write(p.frame)
			}
		}
	}
	if err == nil && len(b) > 0 {
		err = s.write(b)
	}
	if cap(b) <= 4*maxRecord {
		s.writer.buf = b
	} else {
		s.writer.buf = nil
	}
	s.returnChunks()
	return err
}

// returnChunks gives the chunks of what was written back. One of which more is to
// be sent waits for the lock.
func (s *Session) returnChunks() {
	for i, p := range s.writer.data {
		if p.chunk != nil {
			p.chunk.inUse = false
			freeChunk(p.chunk)
		} else {
			s.writer.part = p.part
		}
		s.writer.data[i] = outData{}
	}
	s.writer.data = s.writer.data[:0]
}

// write hands b to the connection, or to what is collected below TLS; if that is
// enough, it goes out.
func (s *Session) write(b []byte) error {
	if s.writer.cork == nil {
		s.limitWrite(time.Now())
		_, err := s.conn.Write(b)
		return err
	}
	if s.writer.corked == 0 {
		s.limitWrite(time.Now())
		s.writer.cork.cork()
	}
	s.writer.corked += len(b)
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if s.writer.corked >= s.writer.corkLimit {
		return s.uncork()
	}
	return nil
}

// uncork sends what was collected below TLS.
func (s *Session) uncork() error {
	if s.writer.corked == 0 {
		return nil
	}
	began := time.Now()
	s.limitWrite(began)
	err := s.writer.cork.uncork()
	if took := time.Since(began); took > 0 {
		fits := float64(s.writer.corked) * float64(corkTime) / float64(took)
		s.writer.corkLimit = int(min(max(fits, 1), 4*maxRecord))
	}
	s.writer.corked = 0
	return err
}

// limitWrite sets the deadline of a write that begins now.
func (s *Session) limitWrite(now time.Time) {
	if limit := s.closing.limit.Load(); limit > 0 {
		s.conn.SetWriteDeadline(now.Add(time.Duration(limit)))
	} else if s.cfg.WriteTimeout > 0 {
		s.conn.SetWriteDeadline(now.Add(s.cfg.WriteTimeout))
	}
}

// appendItem encodes one frame of the control queue.
func (s *Session) appendItem(b []byte, it *item, at time.Duration) []byte {
	start := len(b)
	switch it.typ {
	case typeData:
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		putDataHeader(b[start:], it.id, it.flags, 0)
	case typeSynStream:
		b = appendControl(b, it.typ, it.flags, 0)
		b = binary.BigEndian.AppendUint32(b, it.id)
		b = binary.BigEndian.AppendUint32(b, 0) // no associated stream
		b = append(b, it.st.pri<<5, 0)
	case typeSynReply, typeHeaders:
		b = appendControl(b, it.typ, it.flags, 0)
		b = binary.BigEndian.AppendUint32(b, it.id)
	case typeRstStream, typeWindowUpdate:
		b = appendWords(b, it.typ, it.id, it.value)
	case typePing:
		b = appendWords(b, it.typ, it.value)
	case typeGoAway:
		b = appendWords(b, it.typ, it.value, it.value2)
	case typeSettings:
		b = appendWords(b, it.typ, 2, settingMaxStreams, it.settings[0], settingInitialWindow, it.settings[1])
	}
	if it.block != nil {
		b = s.writer.deflate.appendBlock(b, it.block.b)
	}
	length := len(b) - start - frameHeaderLen
	if it.block != nil {
		b[start+5], b[start+6], b[start+7] = byte(length>>16), byte(length>>8), byte(length)
	}
	if s.tracer() != nil {
		s.traceItem(it, length)
	}
	s.writer.flown = append(s.writer.flown, flightOf(at, it, length))
	return b
}
