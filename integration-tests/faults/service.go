//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// A service is what lies behind c's --to. It judges what reaches it.
type service struct {
	// Fixed by newService.
	tally *tally
	ln    net.Listener
	http  *http.Server
	done  chan struct{} // closed when it serves no more

	// Guarded by mu.
	mu    sync.Mutex
	acted map[string]int // how often each POST was acted on
	idle  map[net.Conn]bool
}

func newService(t *tally, ln net.Listener) *service {
	s := &service{tally: t, ln: ln, done: make(chan struct{}), acted: map[string]int{}, idle: map[net.Conn]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("POST /sink", s.sink)
	mux.HandleFunc("POST /once", s.once)
	mux.HandleFunc("GET /socket", s.socket)
	s.http = &http.Server{Handler: mux, ConnState: func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.idle, c)
		if state == http.StateIdle {
			s.idle[c] = true
		}
	}}
	// Ends with close, which waits for it.
	go func() { defer close(s.done); s.http.Serve(ln) }()
	return s
}

func (s *service) close() {
	s.http.Close()
	<-s.done
}

// closeIdle closes the connections that c keeps for later: they are not to be counted
// among what it uses.
func (s *service) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.idle {
		c.Close()
	}
}

// stream answers with a body of no announced length, a piece at a time.
func (s *service) stream(w http.ResponseWriter, r *http.Request) {
	b, err := bodyAsked(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	flow := http.NewResponseController(w)
	from := b.reader()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := io.CopyN(w, from, b.size/20+1)
		flow.Flush()
		if n == 0 || err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// bodyAsked is the body that the query names.
func bodyAsked(r *http.Request) (b body, err error) {
	q := r.URL.Query()
	seed, err1 := strconv.ParseUint(q.Get("seed"), 10, 64)
	size, err2 := strconv.ParseInt(q.Get("size"), 10, 64)
	return body{seed, size}, errors.Join(err1, err2)
}

// sink takes a body of no announced length. One that ends in good order must be whole.
func (s *service) sink(w http.ResponseWriter, r *http.Request) {
	b, err := identify(r.Body)
	if _, bad := errors.AsType[*wrong](err); bad {
		s.tally.wrongf(sink, "the service got a body that is not what was sent: %v", err)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "got %d", b.seed)
}

// once acts on a POST, and must see it once.
func (s *service) once(w http.ResponseWriter, r *http.Request) {
	if _, err := io.ReadAll(r.Body); err != nil {
		return
	}
	id := r.URL.Query().Get("id")
	s.mu.Lock()
	s.acted[id]++
	n := s.acted[id]
	s.mu.Unlock()
	if n > 1 {
		s.tally.wrongf(once, "the service was made to act twice on one POST")
	}
	fmt.Fprintf(w, "acted on %s", id)
}

// socket echoes messages until the peer has had enough.
func (s *service) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(maxMessage)
	for {
		// The request's own context ends with the upgrade.
		t, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if c.Write(context.Background(), t, message) != nil {
			return
		}
	}
}
