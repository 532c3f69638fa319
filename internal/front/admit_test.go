package front

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/amahi/spdy-proxy/internal/origin"
)

func TestConnect405(t *testing.T) {
	s := newStage(t, nil)
	got := s.raw(t, "CONNECT a.b:80 HTTP/1.1\r\nHost: a.b:80\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 405 ") || !strings.Contains(got, "\r\nAllow: ") {
		t.Errorf("CONNECT: %q, want 405", got)
	}
}

func TestMaxRequests(t *testing.T) {
	s := newStage(t, func(c *Config) { c.MaxRequests = 1 })
	started, finish := make(chan bool, 2), make(chan bool)
	block := func(w http.ResponseWriter, r *http.Request) {
		started <- true
		<-finish
	}
	s.connect(t, "", "", block)
	v := s.visitors[0]
	answer := make(chan reply, 1)
	// Ends with its request, and is waited for.
	go func() { answer <- v.do(t, v.request(t, "GET", "/", nil)) }()
	await(t, "the request", started)
	v.get(t, "/").wantRefusal(t, 503, reasonLimit)
	close(finish)
	if got := await(t, "the answer", answer); got.StatusCode != 200 {
		t.Errorf("the first: %d", got.StatusCode)
	}
	for range 2 {
		s.record(t) // written when its place is free again
	}
	if got := v.get(t, "/"); got.StatusCode != 200 {
		t.Errorf("after the first: %d %q", got.StatusCode, got.body)
	}
}

// One address holds what it may of an origin, and another is served at once.
func TestShareOfStreams(t *testing.T) {
	const streams = 80
	gone := make(chan string, 100)
	inBubble(t, streams, func(c *Config) { c.ResponseTimeout = 100 * time.Second }, endless(gone), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for range streams {
			v.get("/film")
		}
		time.Sleep(time.Second)
		if n := len(v.frames); n != streams/sharePart {
			b.Errorf("%d of %d requests of one address are served, want an eighth of the streams", n, streams)
		}
		for range len(v.frames) {
			<-v.frames
		}
		other := b.h2("192.0.2.2", 1<<20)
		defer other.conn.Close()
		if status, _ := other.status(other.get("/small")); status != "200" {
			b.Errorf("another address got %s", status)
		}
		// As its first ones are given up, the next ones of the same address go.
		time.Sleep(70 * time.Second)
		resets, heads := 0, 0
		for range len(v.frames) {
			switch (<-v.frames).(type) {
			case *http2.RSTStreamFrame:
				resets++
			case *http2.MetaHeadersFrame:
				heads++
			}
		}
		if resets != streams/sharePart || heads != streams/sharePart {
			b.Errorf("after a minute: %d streams reset, %d more served; want %d of each", resets, heads, streams/sharePart)
		}
		// Those that did not have their turn within the response's time get 504.
		time.Sleep(40 * time.Second)
		late := 0
		for range len(v.frames) {
			if f, ok := (<-v.frames).(*http2.MetaHeadersFrame); ok && f.PseudoValue("status") == "504" {
				late++
			}
		}
		if want := streams - 2*streams/sharePart; late != want {
			b.Errorf("%d were answered 504, want %d", late, want)
		}
	})
}

// A request that waits for its turn goes with its visitor, and with a stop.
func TestWaitForTurnEnds(t *testing.T) {
	inBubble(t, 8, nil, endless(make(chan string, 10)), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		v.status(v.get("/film"))
		waits := v.get("/film")
		if f := v.within(time.Second); f != nil {
			b.Fatalf("got %v, want the second to wait", f)
		}
		v.WriteRSTStream(waits, http2.ErrCodeCancel)
		if r := <-b.records; r.Status != statusLeft {
			b.Errorf("the visitor left: record of %d, want %d", r.Status, statusLeft)
		}
		waits = v.get("/film")
		b.h.Stop()
		if status, _ := v.status(waits); status != "503" {
			b.Errorf("at the stop: %s, want 503", status)
		}
	})
}

// Above its share an address gets 429, without a body where a body would wait
// for a window, and is not even answered if it does not read that.
func TestOverShare(t *testing.T) {
	inBubble(t, 1000, func(c *Config) { c.MaxRequests = 16 }, endless(make(chan string, 10)), func(b *bubble) {
		b.conn = &fakeConn{crowded: true}
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for range 2 {
			v.status(v.get("/film"))
		}
		for range 5 {
			if status, whole := v.status(v.get("/film")); status != "429" || !whole {
				b.Fatalf("above the share: %s, whole %v, want 429 without a body", status, whole)
			}
			if r := <-b.records; !r.OverShare || r.Status != 429 || r.Aborted {
				b.Errorf("record: over share %v, status %d, aborted %v", r.OverShare, r.Status, r.Aborted)
			}
		}
		plain := b.dial("192.0.2.1")
		defer plain.Close()
		io.WriteString(plain, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(plain)
		for _, part := range []string{"HTTP/1.1 429 ", "\r\nRetry-After: 1\r\n", "\r\nProxy-Status: spdy-proxy; error=connection_limit_reached; ", "\r\n\r\n429 "} {
			if err != nil || !strings.Contains(string(got), part) {
				b.Errorf("HTTP/1: %q, %v; want %q in it", got, err, part)
			}
		}
		for _, from := range []string{"192.0.2.2", "127.0.0.1"} {
			other := b.h2(from, 1<<20)
			if status, _ := other.status(other.get("/small")); status != "200" {
				b.Errorf("%s got %s", from, status)
			}
			other.conn.Close()
		}
	})
}

// few is a Policy by which four requests may be in flight.
type few struct{ notYet }

func (few) MaxRequests() int { return 4 }

// One address cannot take all that a table allows.
func TestOverShareOfTable(t *testing.T) {
	inBubble(t, 1000, func(c *Config) {
		c.Policy = func(origin.Name, netip.Addr, bool) Policy { return few{} }
	}, endless(make(chan string, 10)), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for _, want := range []string{"200", "200", "429"} {
			if status, _ := v.status(v.get("/film")); status != want {
				b.Errorf("one address got %s, want %s", status, want)
			}
		}
		for _, want := range []string{"200", "503"} {
			other := b.h2("192.0.2.2", 0)
			defer other.conn.Close()
			if status, _ := other.status(other.get("/film")); status != want {
				b.Errorf("another got %s, want %s", status, want)
			}
		}
		local := b.h2("127.0.0.1", 0)
		defer local.conn.Close()
		for _, want := range []string{"200", "503"} {
			if status, _ := local.status(local.get("/film")); status != want {
				b.Errorf("one in nobody's share got %s, want %s", status, want)
			}
		}
	})
}

// once is a Policy by whose rate one request may go on.
type once struct {
	notYet
	had *atomic.Bool
}

func (o once) Enter(netip.Addr, time.Time) time.Duration {
	if o.had.Swap(true) {
		return time.Second
	}
	return 0
}

// Who is above a table's rate does not stand in line first, and keeps no place there.
func TestOverRate(t *testing.T) {
	policy := once{had: new(atomic.Bool)}
	inBubble(t, 8, func(c *Config) {
		c.Policy = func(origin.Name, netip.Addr, bool) Policy { return policy }
	}, endless(make(chan string, 10)), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for _, want := range []string{"200", "429"} { // for the second, there is no stream
			if status, _ := v.status(v.get("/film")); status != want {
				b.Errorf("got %s, want %s", status, want)
			}
		}
		b.h.shares.mu.Lock()
		defer b.h.shares.mu.Unlock()
		if c := b.h.shares.crowds[""]; c.open != 1 || len(c.waiting) != 0 {
			b.Errorf("%d places are taken, and %d addresses wait for one; want one and none", c.open, len(c.waiting))
		}
	})
}

// This machine's own two addresses have no bounds, others of 127.0.0.0/8 have;
// behind a trusted proxy it is the client that counts.
func TestWhoShares(t *testing.T) {
	h, err := New(Config{Origins: origin.NewTable(origin.Config{}), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "192.0.2.9", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
		{"[2001:db8::1:2:3:4]:1", "", "2001:db8::"},
		{"127.0.0.1:1", "", ""},
		{"[::1]:1", "", ""},
		{"127.0.0.2:1", "", "127.0.0.2"},
		{"10.0.0.1:1", "", ""},
		{"10.0.0.1:1", "192.0.2.9, 10.0.0.2", "192.0.2.9"},
		{"10.0.0.1:1", "2001:db8::9", "2001:db8::"},
		{"10.0.0.1:1", "127.0.0.1", ""},
		{"@", "", ""},
	} {
		r, err := http.NewRequest("GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = test.remote
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		e := h.begin(nowhere{make(http.Header)}, r)
		got := ""
		if e.who.IsValid() {
			got = e.who.String()
		}
		if got != test.want {
			t.Errorf("%s for %q: share of %q, want %q", test.remote, test.forwarded, got, test.want)
		}
		e.finished = true
		e.end()
	}
	if len(h.shares.open.one) != 0 {
		t.Errorf("left over: %v", h.shares.open)
	}
}
