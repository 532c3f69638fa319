package proxy

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/http1"
	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	// dialAgainLimit is how long P waits at a hand-over for the Cs to connect to
	// its successor. Visitors come here meanwhile.
	dialAgainLimit = 10 * time.Second
	// dialAgainSpread is over how long they are asked to, a part of the time that
	// there is.
	dialAgainSpread = 2 * time.Second

	// lingerTime is how long visitors' connections that are open at a hand-over may
	// bring requests that are served as ever, or half of Config.Drain if that is
	// less: a connection on which a request may be under way is not to be closed.
	lingerTime = 3 * time.Second

	// goAwayTime is how long a P that stops takes new requests from connections that
	// it has: those that have not heard of it, which h2 and SPDY are told within
	// http1.Grace. A connection by which nothing was asked until then is closed: who
	// has it finds that out, and asks again by another.
	goAwayTime = http1.Grace + time.Second
)

// Ports are the names of the ports that there may be, which are their flags', too.
var Ports = []string{"front", "control", "admin", "http"}

// Successor is a process that could take P's work over.
type Successor interface {
	// GoOn tells it to. An error means that it has ended.
	GoOn() error
	// Kill ends it.
	Kill()
}

// errNode: the bus cannot be handed over, since its server opens its port by itself, and
// two processes of one id are told from each other by the later one's ending the other. A
// node's stop loses nothing, either.
var errNode = errors.New("a node of a cluster is not handed over, as its id is one process's: stop it and start it again, the other nodes serve meanwhile")

// HandOver has another process take P's work over: start starts it with P's ports,
// by their names, and returns when it takes Cs. Then P takes no Cs any more, has
// those that it has connect to the other one, too, and leaves the visitors to it
// when they have: Run ends when all that is open here has, within Config.Drain.
// After an error P goes on as before.
func (p *Proxy) HandOver(ctx context.Context, start func(ports map[string]net.Listener) (Successor, error)) error {
	if p.cluster != nil {
		return errNode
	}
	ports := map[string]net.Listener{"front": p.frontPort, "control": p.controlLn.Listener}
	if p.adminLn != nil {
		ports["admin"] = p.adminLn
	}
	if p.httpLn != nil {
		ports["http"] = p.httpLn.Listener
	}
	next, err := start(ports)
	if err != nil {
		return err
	}
	p.controlLn.pause()
	limited, cancel := context.WithTimeout(ctx, dialAgainLimit)
	both := p.origins.Ask(limited, false, dialAgainSpread, control.AskAgain)
	cancel()
	if err = ctx.Err(); err != nil {
		next.Kill()
	} else {
		p.access.Flush() // before the other one's lines
		err = next.GoOn()
	}
	if err != nil {
		if ctx.Err() == nil || !p.cfg.Kept("control") { // else P stops, which has its own reason for the pause
			p.controlLn.resume()
		}
		return err
	}
	p.handedOver <- both
	return nil
}

// linger serves what comes by connections that are open when another process has
// taken over; the Cs of both have connected to that, too. It returns when nothing
// comes any more that could be helped, after lingerTime at the latest or with ctx.
func (p *Proxy) linger(ctx context.Context, both map[*origin.Member]bool) {
	p.leaving.Store(true)
	p.certs.Stop() // the other one has the same folder
	if p.adminLn != nil {
		p.adminLn.Close() // the other one answers
		// It does to who asks again and again by one connection, too: a balancer would
		// hear for all of the drain that P is not ready, and no figures of who serves.
		p.admin.SetKeepAlivesEnabled(false)
		p.adminAt.Stop() // who watches asks it
	}
	p.ready.Store(false)
	p.frontLn.Close()
	if p.httpLn != nil {
		p.httpLn.Close()
	}
	p.handler.Leave()
	// By the front port Cs reach the other process only now; visitors that come to it
	// wait for them.
	limit := min(lingerTime, p.cfg.Drain/2)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	maps.Copy(both, p.origins.Ask(limited, true, min(dialAgainSpread, limit/2), control.AskAgain))
	p.origins.Dismiss(both)
	<-limited.Done()
}

// dropSilent closes the connections by which nothing was asked yet.
func (v *visitors) dropSilent() {
	v.mu.Lock()
	var silent []*visitor
	for c := range v.open {
		if v.places.isSilent(c) {
			silent = append(silent, c)
		}
	}
	v.mu.Unlock()
	for _, c := range silent {
		c.Close()
	}
}

// isSilent reports whether c has asked for nothing yet.
func (p *places) isSilent(c *visitor) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.state == placeSilent
}

// pausable is a listener that can take nothing for a while; who comes then waits,
// or is taken by another process that has the socket.
type pausable struct {
	net.Listener

	accepting chan struct{} // holds a value while Listener.Accept is called
	closed    chan struct{} // closed by Close
	once      sync.Once     // of that

	mu     sync.Mutex
	paused chan struct{} // guarded by mu; nil while it is not paused, else closed by resume
}

func newPausable(ln net.Listener) *pausable {
	return &pausable{Listener: ln, accepting: make(chan struct{}, 1), closed: make(chan struct{})}
}

// setDeadline is for Listener.Accept: those that wait, too.
func (l *pausable) setDeadline(t time.Time) {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(t)
	}
}

// pause returns when nothing is taken any more: an Accept that waits is woken, and
// one that has been, for a connection, has returned.
func (l *pausable) pause() {
	l.mu.Lock()
	if l.paused == nil {
		l.paused = make(chan struct{})
	}
	l.mu.Unlock()
	l.setDeadline(time.Unix(1, 0))
	l.accepting <- struct{}{}
	<-l.accepting
}

// resume ends a pause.
func (l *pausable) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused != nil {
		l.setDeadline(time.Time{})
		close(l.paused)
		l.paused = nil
	}
}

// Accept returns the next connection that comes while the listener is not paused.
func (l *pausable) Accept() (net.Conn, error) {
	for {
		conn, paused, err := l.accept()
		if paused == nil {
			return conn, err
		}
		select {
		case <-paused:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// accept returns what ends the pause, if there is one.
func (l *pausable) accept() (conn net.Conn, paused <-chan struct{}, err error) {
	l.accepting <- struct{}{}
	defer func() { <-l.accepting }()
	l.mu.Lock()
	paused = l.paused
	l.mu.Unlock()
	if paused != nil {
		return nil, paused, nil
	}
	conn, err = l.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if paused = l.paused; paused == nil {
			done := make(chan struct{})
			close(done)
			paused = done // the pause is over already
		}
	}
	return conn, paused, err
}

// Close ends Accept.
func (l *pausable) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
