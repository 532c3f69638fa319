package spdy

import (
	"context"
	"fmt"
	"time"
)

// pings is what a session knows of its line by PING: round trips, and whether the
// peer is there. Guarded by Session.mu.
type pings struct {
	open      map[uint32]*ping // not answered yet
	next      uint32           // id
	measuring bool             // one of them tells windows how far to grow
	keepAlive *time.Timer
	last      time.Duration // round trip
	least     time.Duration // round trip
	at        time.Time     // when last was measured
	reply     time.Duration // how long the first response took that was not slow: see longestReply
}

// ping is one PING of ours that was not answered yet.
type ping struct {
	sent time.Time
	rtt  time.Duration
	done chan struct{} // closed by the answer
}

// add returns the next PING.
func (p *pings) add() (uint32, *ping) {
	for p.next == 0 || p.open[p.next] != nil {
		p.next += 2 // they wrap (draft 3.1, 2.6.5), and there are peers that stop at 0
	}
	id := p.next
	p.next += 2
	one := &ping{sent: time.Now(), done: make(chan struct{})}
	p.open[id] = one
	return id, one
}

// echoed takes the echo of a PING of ours, if it is one.
func (p *pings) echoed(id uint32) {
	one := p.open[id]
	if one == nil {
		return
	}
	delete(p.open, id)
	p.at = time.Now()
	one.rtt = max(p.at.Sub(one.sent), 1)
	p.last = one.rtt
	if p.least == 0 || one.rtt < p.least {
		p.least = one.rtt
	}
	p.measuring = false
	close(one.done)
}

// unknown reports whether nothing is known of the round trip.
func (p *pings) unknown() bool { return p.least == 0 && p.reply == 0 }

// roundTrip returns the round trip that windows have to cover, 0 if none is known. A
// response, too, took no less than one.
func (p *pings) roundTrip() time.Duration {
	rtt := p.least
	if p.reply > 0 && (rtt == 0 || p.reply < rtt) {
		rtt = p.reply
	}
	if rtt == 0 {
		return 0
	}
	return min(max(rtt, leastRTT), longestRTT)
}

// maxEchoes bounds the PINGs that wait to be sent back.
const maxEchoes = 64

// A round trip is measured, by PING, only for streams that moved this much:
// small exchanges carry no frame that they did not ask for.
const measureAfter = 128 << 10

// measureEvery is how old a measured round trip may be while data flows.
const measureEvery = 10 * time.Second

// longestReply is how long a response takes at most whose time stands for the
// round trip until one is measured: behind a longer one there is a handler that
// had to think, and in so long a round trip every reader seems fast.
const longestReply = time.Second

// leastRTT is what windows cover on the shortest line: both ends have other
// things to do, and a window that is used up while one of them is not running
// stops the stream.
const leastRTT = time.Millisecond

// longestRTT is what windows cover at most. Hardly any line is as long, and a peer
// that echoes late must not have them grow as for one.
const longestRTT = time.Second

// PingContext sends a PING (draft 3.1, 2.6.5) and waits for its echo. It
// returns the round trip.
func (s *Session) PingContext(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	if err := s.sendsNothingLocked(); err != nil {
		s.unlock()
		return 0, err
	}
	id, p := s.queuePingLocked()
	s.unlock()
	select {
	case <-p.done:
		return p.rtt, nil
	case <-ctx.Done():
	case <-s.done:
	}
	s.mu.Lock()
	defer s.unlock()
	if s.ping.open[id] == p {
		delete(s.ping.open, id)
	}
	if p.rtt != 0 {
		return p.rtt, nil
	}
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return 0, s.err
}

func (s *Session) queuePingLocked() (uint32, *ping) {
	id, p := s.ping.add()
	s.queueLocked(item{typ: typePing, value: id})
	return id, p
}

// measureLocked sends a PING whose round trip tells windows how far to grow.
func (s *Session) measureLocked(now time.Time) {
	if s.ping.measuring || !s.ping.at.IsZero() && now.Sub(s.ping.at) < measureEvery {
		return
	}
	s.ping.measuring = true
	s.queuePingLocked()
}

// startKeepAlive arms the timer that finds a silent peer: a PING after
// Config.KeepAlive of silence, the end after as much again.
func (s *Session) startKeepAlive() {
	d := s.cfg.KeepAlive
	if d <= 0 {
		return
	}
	s.heard()
	asked := int64(-1) // the lastRead that a PING was sent for
	var asking uint32  // that PING
	s.mu.Lock()
	defer s.unlock()
	s.ping.keepAlive = time.AfterFunc(d, func() {
		last := s.lastRead.Load()
		silent := time.Since(s.started) - time.Duration(last)
		next := d - silent
		switch {
		case silent >= 2*d && asked == last:
			s.end(&SessionError{Status: GoAwayInternalError, Cause: fmt.Errorf("%w: nothing came for %v, nor the echo of a PING", ErrDead, 2*d)})
			return
		case silent >= d:
			next = max(2*d-silent, d/8)
			if asked != last {
				asked = last
				next = d
				s.mu.Lock()
				if s.err == nil {
					delete(s.ping.open, asking) // it was not echoed, though the peer lives
					asking, _ = s.queuePingLocked()
				}
				s.unlock()
			}
		}
		s.mu.Lock()
		defer s.unlock()
		if s.err == nil {
			s.ping.keepAlive.Reset(next)
		}
	})
}

// heard notes that the peer has said something.
func (s *Session) heard() { s.lastRead.Store(int64(time.Since(s.started))) }

// heardAt returns when that was.
func (s *Session) heardAt() time.Duration { return time.Duration(s.lastRead.Load()) }

// sessionReader reads from the connection and notes when.
type sessionReader struct{ s *Session }

func (r sessionReader) Read(p []byte) (int, error) {
	n, err := r.s.conn.Read(p)
	if n > 0 {
		r.s.heard()
	}
	return n, err
}
