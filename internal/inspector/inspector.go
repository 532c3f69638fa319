// Package inspector shows who develops a service behind C what its visitors asked for
// and were answered, and has the service answer again: a page on a port of this machine.
//
// It keeps the heads and the begin of the bodies of the last requests in memory, as they
// passed, cookies and passwords included: whoever can use this machine can look at them.
package inspector

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/tap"
)

// What is kept: in all some 30 MB at most.
const (
	maxExchanges = 100
	maxBody      = 64 << 10 // of each body, in bytes
	maxHead      = 64 << 10 // of each head: of its names and values, in bytes
)

// Inspector keeps the last requests of one C, whichever of its origins they were for.
// All methods may be called at once.
type Inspector struct {
	log *slog.Logger // fixed

	mu sync.Mutex
	// Guarded by mu, which is taken before an exchange's.
	handlers map[string]http.Handler // of the origins, by their names
	kept     []*exchange             // the oldest first
	last     uint64                  // id of the newest
	version  uint64                  // counts the changes of what is kept
	watchers map[chan<- struct{}]struct{}
	replays  int // under way
}

// New returns an inspector that has seen nothing. log is told of a service that panics.
func New(log *slog.Logger) *Inspector {
	return &Inspector{log: log, handlers: make(map[string]http.Handler), watchers: make(map[chan<- struct{}]struct{})}
}

// Handler is next, which answers the visitors of origin, with the inspector looking on.
// A replay is answered by next alone.
func (i *Inspector) Handler(origin string, next http.Handler) http.Handler {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handlers[origin] = next
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serve(origin, next, w, r, 0) })
}

// serve has next answer r, which is kept; again is the id of what it repeats, 0 if it is
// a visitor's.
func (i *Inspector) serve(origin string, next http.Handler, w http.ResponseWriter, r *http.Request, again uint64) {
	x := i.begin(origin, r, again)
	returned := false
	var e tap.Exchange
	defer func() { // it also runs while the handler panics
		x.mu.Lock()
		x.done, x.duration = true, time.Since(x.began)
		x.aborted = !returned || r.Context().Err() != nil
		x.mu.Unlock()
		i.changed(x)
	}()
	e.Serve(next, w, r, x)
	returned = true
}

// begin keeps a new exchange, in the place of the oldest if there are many.
func (i *Inspector) begin(origin string, r *http.Request, again uint64) *exchange {
	x := &exchange{
		in: i, began: time.Now(), origin: origin, again: again,
		proto: r.Proto, length: r.ContentLength,
	}
	room := maxHead
	for _, part := range []struct {
		to   *string
		from string
	}{{&x.method, r.Method}, {&x.host, r.Host}, {&x.target, r.RequestURI}} {
		n := min(len(part.from), room)
		room -= n
		*part.to = strings.Clone(part.from[:n])
		x.headCut = x.headCut || n < len(part.from)
	}
	var cut bool
	x.header, cut = cloneHead(r.Header, room)
	x.headCut = x.headCut || cut
	i.mu.Lock()
	i.last++
	x.id = i.last
	var old *exchange
	if len(i.kept) == maxExchanges {
		old = i.kept[0]
		i.kept = slices.Delete(i.kept, 0, 1)
	}
	i.kept = append(i.kept, x)
	i.mu.Unlock()
	if old != nil {
		old.forget()
	}
	i.changed(x)
	return x
}

// changed tells those who watch that there is something new about x.
func (i *Inspector) changed(x *exchange) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.version++
	x.version = i.version
	for w := range i.watchers {
		select {
		case w <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

// since returns what has changed after a version, the oldest first, and the version of
// now. What is kept of them is theirs to change.
func (i *Inspector) since(version uint64) (changed []summary, now uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, x := range i.kept {
		if x.version > version {
			changed = append(changed, x.summary())
		}
	}
	return changed, i.version
}

// get returns one that is kept, nil if it is not.
func (i *Inspector) get(id uint64) *exchange {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, x := range i.kept {
		if x.id == id {
			return x
		}
	}
	return nil
}

// maxWatchers bounds who follows what happens; each page that is open is one.
const maxWatchers = 16

// watch returns a channel that has something after each change, until stop; nil if too
// many watch.
func (i *Inspector) watch() (changes <-chan struct{}, stop func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.watchers) >= maxWatchers {
		return nil, nil
	}
	c := make(chan struct{}, 1)
	i.watchers[c] = struct{}{}
	return c, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.watchers, c)
	}
}

// clear forgets all.
func (i *Inspector) clear() {
	i.mu.Lock()
	old := i.kept
	i.kept = nil
	i.mu.Unlock()
	for _, x := range old {
		x.forget()
	}
}
