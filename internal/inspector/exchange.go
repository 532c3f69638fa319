package inspector

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// exchange is a request with its response, of which the begin is kept. It is the
// tap.Viewer of its handler.
type exchange struct {
	// Fixed by Inspector.begin.
	in      *Inspector
	id      uint64
	again   uint64 // id of what it repeats, 0 if it is a visitor's
	began   time.Time
	origin  string
	method  string
	target  string // as it was sent
	host    string
	proto   string
	header  http.Header
	headCut bool  // there was more of the head
	length  int64 // of the request's body as announced, -1: unknown

	version uint64 // guarded by Inspector.mu: that of the last change

	mu sync.Mutex
	// Guarded by mu.
	forgotten   bool // nothing more is kept of it
	status      int  // 0 while there is no response
	respHeader  http.Header
	respHeadCut bool
	headers     time.Duration // until the response's head
	duration    time.Duration // until the end
	done        bool
	aborted     bool // the visitor left, or the answer was broken off
	request     capture
	response    capture
}

// capture is the begin of a body.
type capture struct {
	begin []byte
	bytes int64 // that passed in all
}

func (c *capture) add(p []byte, keep bool) {
	c.bytes += int64(len(p))
	if room := maxBody - len(c.begin); keep && room > 0 {
		c.begin = append(c.begin, p[:min(len(p), room)]...)
	}
}

// RequestBody implements tap.Viewer.
func (x *exchange) RequestBody(p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.request.add(p, !x.forgotten)
}

// ResponseBody implements tap.Viewer.
func (x *exchange) ResponseBody(p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.response.add(p, !x.forgotten)
}

// Head implements tap.Viewer.
func (x *exchange) Head(status int, h http.Header) {
	header, cut := cloneHead(h, maxHead)
	x.mu.Lock()
	x.status, x.headers = status, time.Since(x.began)
	if !x.forgotten {
		x.respHeader, x.respHeadCut = header, cut
	}
	x.mu.Unlock()
	x.in.changed(x)
}

// forget gives back what is kept of the bodies of one that goes on.
func (x *exchange) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgotten = true
	x.respHeader, x.request.begin, x.response.begin = nil, nil, nil
}

// cloneHead copies a header, but for what is beyond most bytes.
func cloneHead(h http.Header, most int) (clone http.Header, cut bool) {
	clone = make(http.Header, len(h))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			if size += len(name) + len(v); size > most {
				return clone, true
			}
			clone[name] = append(clone[name], v)
		}
	}
	return clone, false
}

// summary is what the list shows of an exchange.
type summary struct {
	ID       uint64    `json:"id"`
	Again    uint64    `json:"again,omitempty"`
	Time     time.Time `json:"time"`
	Origin   string    `json:"origin"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Target   string    `json:"target"`
	Status   int       `json:"status,omitempty"`
	Done     bool      `json:"done"`
	Aborted  bool      `json:"aborted,omitempty"`
	Headers  float64   `json:"headers_ms,omitempty"`
	Duration float64   `json:"duration_ms,omitempty"`
	In       int64     `json:"bytes_in"`
	Out      int64     `json:"bytes_out"`
}

// maxShown bounds a text in a summary, in bytes.
const maxShown = 2 << 10

func (x *exchange) summary() summary {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.summaryLocked()
}

func (x *exchange) summaryLocked() summary {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return summary{
		ID: x.id, Again: x.again, Time: x.began, Origin: x.origin, Method: shown(x.method), Host: shown(x.host), Target: shown(x.target),
		Status: x.status, Done: x.done, Aborted: x.aborted, Headers: ms(x.headers), Duration: ms(x.duration),
		In: x.request.bytes, Out: x.response.bytes,
	}
}

func shown(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "..."
	}
	return s
}

// detail is all that is kept of an exchange.
type detail struct {
	summary
	Proto    string  `json:"proto"`
	Request  message `json:"request"`
	Response message `json:"response"`
	// Why it cannot be replayed, empty if it can.
	NoReplay string `json:"no_replay,omitempty"`
}

// message is one of the two.
type message struct {
	Head    string `json:"head"`     // a line a field
	HeadCut bool   `json:"head_cut"` // there was more
	Body    string `json:"body"`     // as text, if it is some
	Binary  bool   `json:"binary"`   // it is none
	Bytes   int64  `json:"bytes"`    // of the body that passed
	Kept    int    `json:"kept"`     // bytes of those
	Unzip   bool   `json:"unzipped"` // Body is what was compressed
}

func (x *exchange) detail() detail {
	x.mu.Lock()
	defer x.mu.Unlock()
	target := x.target
	d := detail{
		summary: x.summaryLocked(), Proto: x.proto, NoReplay: x.noReplayLocked(),
		Request: newMessage(x.header, x.headCut, x.request), Response: newMessage(x.respHeader, x.respHeadCut, x.response),
	}
	d.Target = target // all of it
	return d
}

// noReplayLocked says why x cannot be replayed.
func (x *exchange) noReplayLocked() string {
	switch {
	case x.headCut:
		return "its head is not kept whole"
	case x.status == http.StatusSwitchingProtocols:
		return "it became a WebSocket"
	case !x.done && x.length != 0:
		return "its body may still be coming"
	case x.request.bytes > int64(len(x.request.begin)), x.length > x.request.bytes:
		return "its body is not kept whole"
	}
	return ""
}
