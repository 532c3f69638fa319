// Package relay stands for a long line: it passes a connection's bytes on, each
// a while after it came, and no faster than the line is.
package relay

import (
	"net"
	"sync"
	"time"
)

// pending is how many pieces may be under way in one direction. It is more than
// windows of any sort hold.
const pending = 8192

// pieceSize is the size of a piece at most, in bytes.
const pieceSize = 256 << 10

// chunk is bytes that are due at the other end at a time.
type chunk struct {
	data []byte
	due  time.Time
}

// A Line is what lies between two ends. The zero Line passes on at once.
type Line struct {
	Delay time.Duration // each way
	Up    int           // bytes per second, from in to out; 0: no limit
	Queue time.Duration // how long bytes wait for Up, before no more are taken; 0: no limit
}

// Pass connects the two until both directions have ended, and closes them.
func (l Line) Pass(in, out net.Conn) {
	defer in.Close()
	defer out.Close()
	var both sync.WaitGroup
	// Each ends with its source, or when its target takes nothing more.
	both.Go(func() { l.pass(out, in) })
	both.Go(func() { Line{Delay: l.Delay}.pass(in, out) })
	both.Wait()
}

// pass copies from one connection to the other, at the rate Up.
func (l Line) pass(to, from net.Conn) {
	pool := sync.Pool{New: func() any { return new([pieceSize]byte) }}
	queue := make(chan chunk, pending)
	// Ends with from, which Pass closes at the latest; pass waits for it by
	// reading queue to its end.
	go func() {
		defer close(queue)
		size := pieceSize
		if l.Up > 0 {
			size = min(size, max(1, l.Up/50)) // 20 ms of the line, so that it flows
		}
		var free time.Time // when the line has taken all that came before
		for {
			buf := pool.Get().(*[pieceSize]byte)
			n, err := from.Read(buf[:size])
			if n > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				if l.Up > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(l.Up))
				}
				queue <- chunk{buf[:n], free.Add(l.Delay)}
				if l.Queue > 0 {
					time.Sleep(time.Until(free.Add(-l.Queue)))
				}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for c := range queue {
		if !broken {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				broken = true
				from.Close()
			}
		}
		pool.Put((*[pieceSize]byte)(c.data[:pieceSize]))
	}
	if t, ok := to.(*net.TCPConn); ok && !broken {
		t.CloseWrite()
	}
}
