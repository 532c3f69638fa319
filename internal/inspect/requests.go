package inspect

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRequests is how many requests are remembered.
const maxRequests = 2000

// Request is what is known of a request when it has ended, or so far. Cookies,
// credentials and the values in a query are not.
type Request struct {
	Seq    uint64 // from 1, in the order of their ends; 0: it has not ended
	Time   time.Time
	ID     string // X-Request-Id
	Client netip.Addr
	User   string // of Basic authentication
	Method string
	Scheme string
	Host   string
	Target string // the request target; see Cut
	Proto  string
	Agent  string // User-Agent

	Origin  string // "@" for the default one; whatever the visitor asked for if not Known
	Known   bool   // there was such an origin
	Session uint64 // that answered, last; 0: none
	Stream  uint32
	Status  int    // 0: none was sent
	Reason  string // Proxy-Status' error type
	Detail  string // the same in words
	Phase   string // of one that has not ended: what it waits for

	Failed    bool   // not for the visitor's sake
	Aborted   bool   // broken off, or left by the visitor
	Stalled   bool   // broken off because the visitor read nothing
	Upgraded  bool   // WebSocket
	OverShare bool   // refused because its address had its share
	Refused   string // why it was not let through, one of RequestRefusals; "" if it was, or for another reason

	In, Out int64 // bytes of bodies

	// How long after Time the steps were, or how long they took; 0: there was none.
	Queued   time.Duration // waited for its address's turn
	Held     time.Duration // waited for the origin
	Opened   time.Duration // until its stream was opened, the last one
	Headers  time.Duration // until the response's headers
	Duration time.Duration // until the end
	Replayed int
	Resumed  int
	Attempts []Attempt // those that failed before another was made; few
}

// Attempt is one that failed.
type Attempt struct {
	Session uint64
	Stream  uint32
	After   time.Duration // since the request's Time
	Why     string
}

// class is the index in Classes.
func (r *Request) class() int {
	if !r.Aborted && r.Status >= 100 && r.Status <= 599 {
		return r.Status/100 - 1
	}
	return len(Classes) - 1
}

// Class says how the request ended, one of Classes.
func (r *Request) Class() string { return Classes[r.class()] }

// maxBare is how long a piece of a query may be that has no value, to be shown: longer
// ones, and those with a digit, may be one themselves.
const maxBare = 8

// hideValues puts an asterisk in the place of each value in a target's query: links
// that let somebody in have their secret there. The name and the password before the host
// of a whole URL, which is no target to be served, go as well.
func hideValues(target string) string {
	path, query, ok := strings.Cut(target, "?")
	path = hideUser(path)
	if !ok {
		return path
	}
	var b strings.Builder
	b.WriteString(path)
	for sep := byte('?'); ; sep = '&' {
		pair, rest, more := strings.Cut(query, "&")
		b.WriteByte(sep)
		name, value, _ := strings.Cut(pair, "=")
		// What ends in "=" and has no value may be in base64.
		if bare := strings.Trim(value, "=") == ""; bare && (len(name) > maxBare || strings.ContainsAny(name, "0123456789")) {
			b.WriteByte('*')
		} else if b.WriteString(name); value != "" {
			b.WriteString("=*")
		}
		if query = rest; !more {
			return b.String()
		}
	}
}

// hideUser puts an asterisk in the place of what stands before the host of a URL.
func hideUser(path string) string {
	scheme, rest, ok := strings.Cut(path, "://")
	if strings.HasPrefix(path, "/") || !ok {
		return path
	}
	host, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(host, '@')
	if at < 0 {
		return path
	}
	return scheme + "://*" + rest[at:]
}

// texts are the strings of a request that its visitor or origin has a say in, and
// how much of each is kept, in bytes.
const texts = 10

func (r *Request) texts() [texts]*string {
	return [...]*string{&r.ID, &r.User, &r.Method, &r.Host, &r.Target, &r.Agent, &r.Origin, &r.Detail, &r.Proto, &r.Scheme}
}

var maxText = [texts]int{128, 64, 24, 255, 512, 160, 255, 200, 12, 8}

// Cut has r as it is remembered when it has ended: without the values in its query, and of
// each text no more than the beginning.
func (r *Request) Cut() {
	r.Target = hideValues(r.Target[:min(len(r.Target), 4*maxText[4])])
	for i, s := range r.texts() {
		if len(*s) > maxText[i] {
			*s = (*s)[:maxText[i]] + "..."
		}
	}
}

// maxAttempts bounds Request.Attempts, maxWhy in bytes what any reason says.
const (
	maxAttempts = 4
	maxWhy      = 200
)

// requestRing keeps the last requests. Each has a place with a lock of its own, so
// that those that end at once do not wait for each other; what is there before is
// written over, and nothing is allocated that a visitor could make large.
type requestRing struct {
	next   atomic.Uint64 // Seq of the last one
	places [maxRequests]requestPlace
}

type requestPlace struct {
	mu sync.Mutex
	// Guarded by mu.
	r    Request // without its texts
	text []byte  // these, one after another
	ends [texts]uint16
}

// add keeps r, as Cut leaves it.
func (q *requestRing) add(r *Request) {
	seq := q.next.Add(1)
	p := &q.places[seq%maxRequests]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r.Seq > seq {
		return // it took so long that another has the place
	}
	p.r = *r
	p.r.Seq = seq
	p.r.Cut()
	p.text = p.text[:0]
	for i, s := range p.r.texts() {
		p.text = append(p.text, *s...)
		p.ends[i] = uint16(len(p.text))
		*s = ""
	}
	if len(r.Attempts) > 0 {
		p.r.Attempts = make([]Attempt, 0, min(len(r.Attempts), maxAttempts))
		for _, a := range r.Attempts[:min(len(r.Attempts), maxAttempts)] {
			a.Why = strings.Clone(a.Why[:min(len(a.Why), maxWhy)])
			p.r.Attempts = append(p.r.Attempts, a)
		}
	}
}

// get returns the request of that Seq, if it is there.
func (q *requestRing) get(seq uint64) (r Request, ok bool) {
	p := &q.places[seq%maxRequests]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r.Seq != seq {
		return r, false
	}
	r = p.r
	all, from := string(p.text), uint16(0)
	for i, s := range r.texts() {
		*s = all[from:p.ends[i]]
		from = p.ends[i]
	}
	return r, true
}

// Filter chooses requests. The zero value takes all.
type Filter struct {
	Origin string        // its name, "@" for the default one
	Status string        // "404", "5xx", "aborted", or "failed"
	Method string        // in capitals
	Text   string        // in the host, target, client, User-Agent or id, in any case
	Slow   time.Duration // took at least that long
}

// TakesOpen reports whether f takes a request that has not ended. While it asks for a
// status, it does not: they have no status yet.
func (f *Filter) TakesOpen(r *Request) bool { return f.Status == "" && f.takes(r) }

func (f *Filter) takes(r *Request) bool {
	switch {
	case f.Origin != "" && r.Origin != f.Origin,
		f.Method != "" && r.Method != f.Method,
		r.Duration < f.Slow,
		!f.takesStatus(r):
		return false
	case f.Text == "":
		return true
	}
	text := strings.ToLower(f.Text)
	for _, s := range []string{r.Host, r.Target, r.Agent, r.ID, r.Client.String(), r.User} {
		if strings.Contains(strings.ToLower(s), text) {
			return true
		}
	}
	return false
}

func (f *Filter) takesStatus(r *Request) bool {
	switch {
	case f.Status == "":
		return true
	case f.Status == "failed":
		return r.Failed
	case len(f.Status) == 3 && f.Status[1:] != "xx":
		return r.Status == int(f.Status[0]-'0')*100+int(f.Status[1]-'0')*10+int(f.Status[2]-'0')
	}
	return r.Class() == f.Status
}

// Requests returns the last requests that f takes, at most max, the latest first.
// before, if not 0, leaves out those from that Seq on.
func (b *Board) Requests(f Filter, before uint64, max int) []Request {
	last := b.requests.next.Load()
	if before > 0 && before <= last {
		last = before - 1
	}
	var found []Request
	for seq := last; seq > 0 && seq+maxRequests > last && len(found) < max; seq-- {
		if r, ok := b.requests.get(seq); ok && f.takes(&r) {
			found = append(found, r)
		}
	}
	return found
}

// LastRequest is the Seq of the request that ended last.
func (b *Board) LastRequest() uint64 { return b.requests.next.Load() }

// RequestsAfter returns the requests after the one with that Seq which f takes, the
// earliest first and at most max, the Seq to go on from, and how many were left out
// because there were more.
func (b *Board) RequestsAfter(f Filter, after uint64, max int) (found []Request, last, missed uint64) {
	last = b.requests.next.Load()
	if after+maxRequests < last {
		missed = last - maxRequests - after
		after = last - maxRequests
	}
	for seq := after + 1; seq <= last; seq++ {
		r, ok := b.requests.get(seq)
		if !ok || !f.takes(&r) {
			continue
		}
		if len(found) == max {
			missed++
			continue
		}
		found = append(found, r)
	}
	return found, last, missed
}
