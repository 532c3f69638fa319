package proxy_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// wire makes C's connections, and can do to them what networks do.
type wire struct {
	via func(ctx context.Context, network, addr string) (net.Conn, error) // fixed; what dials

	mu     sync.Mutex
	broken error     // guarded by mu; what every dial fails with
	conns  []*faulty // guarded by mu
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	if broken != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: broken}
	}
	conn, err := w.via(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f := &faulty{Conn: conn, closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, f)
	return f, nil
}

// fail makes every dial fail from now on, or work again if err is nil.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err
}

func (w *wire) each(f func(*faulty)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		f(c)
	}
}

// cut ends the connections with a reset, as a killed process does.
func (w *wire) cut() { w.each((*faulty).cut) }

// freeze lets nothing more through in either direction, without an end: a
// network that lost its path, a machine that lost its power.
func (w *wire) freeze() { w.each((*faulty).freeze) }

// delay makes each write arrive so much later.
func (w *wire) delay(d time.Duration) {
	w.each(func(f *faulty) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.late = d
	})
}

// garble changes a byte of each write.
func (w *wire) garble() {
	w.each(func(f *faulty) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.garbled = true
	})
}

// dials returns how many connections were made.
func (w *wire) dials() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// faulty is a connection with faults.
type faulty struct {
	net.Conn
	once   sync.Once
	closed chan struct{} // closed by Close

	mu      sync.Mutex // guards what follows
	frozen  bool
	garbled bool
	late    time.Duration
}

func (f *faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	if frozen {
		// What came is lost, and so is the news that the other side closed.
		<-f.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	frozen, late, garbled := f.frozen, f.late, f.garbled
	f.mu.Unlock()
	if frozen {
		return len(p), nil
	}
	if late > 0 {
		select {
		case <-time.After(late):
		case <-f.closed:
		}
	}
	if garbled {
		p = append([]byte(nil), p...)
		p[len(p)/2] ^= 0x55
	}
	return f.Conn.Write(p)
}

func (f *faulty) Close() error {
	f.once.Do(func() { close(f.closed) })
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	if frozen {
		// The other side must not hear of it, and the test's end must free it.
		return nil
	}
	return f.Conn.Close()
}

func (f *faulty) cut() {
	switch conn := f.Conn.(type) {
	case *net.TCPConn:
		conn.SetLinger(0)
	case *memoryConn:
		conn.Reset()
	}
	f.Conn.Close()
	f.once.Do(func() { close(f.closed) }) // what is late by now is lost
}

func (f *faulty) freeze() {
	f.mu.Lock()
	f.frozen = true
	f.mu.Unlock()
	// Whoever is in Read now gets out, to wait above.
	f.Conn.SetReadDeadline(time.Now())
}

var errNoNetwork = errors.New("no network")
