package spdy_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// seen is what a handler finds in a request.
type seen struct {
	method, uri, host, proto string
	header                   http.Header
}

// capture adds a handler for path that hands over what it sees.
func (h *serverTest) capture(path string) chan seen {
	c := make(chan seen, 10)
	h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		c <- seen{r.Method, r.RequestURI, r.Host, r.Proto, r.Header.Clone()}
		fmt.Fprint(w, "ok")
	})
	return c
}

// The two blocks of SPEC.md, section 6, level 6.
const (
	vector1 = "78bbe3c6a7c2026525507ab442a45a77d71090a8554122b86c62d40725522bec0996d50a5a90b025ea95a48259ec56c5c04233175cb2669494141403000000ffff"
	vector2 = "02c9e2b7824dbfc2bed2d690727b582b744bcaf3c1453b4312000000ffff"
)

var (
	vectorPairs1 = spdytest.Request("GET", "/")
	vectorPairs2 = append(spdytest.Request("GET", "/x?y=1"), nv("x-two", "a\x00b"))
)

// afterVectors is a deflater whose window is what the two blocks leave.
func afterVectors() *spdytest.Deflater {
	d := spdytest.NewDeflater(6)
	d.Deflate(spdytest.AppendBlock(nil, vectorPairs1...))
	d.Deflate(spdytest.AppendBlock(nil, vectorPairs2...))
	return d
}

// badBlock is a row: a block that is sound zlib, but no list of pairs, ends its
// stream and nothing else.
func badBlock(id int, what string, plain []byte) conformanceCase {
	return server(id, what, func(h *serverTest) {
		f := req(1, "/ok")
		f.Plain = plain
		h.p.Send(f)
		h.wantSE("2.6.10: "+what, 1, spdy.ProtocolError)
		h.alive(3)
	})
}

// badPair is badBlock for a request with one more pair.
func badPair(id int, what string, p spdytest.Pair) conformanceCase {
	return badBlock(id, what, requestBlock(0, p))
}

// requestBlock is the decoded block of a request to /ok, with more in its count
// than there are pairs.
func requestBlock(more int, pairs ...spdytest.Pair) []byte {
	all := append(spdytest.Request("GET", "/ok"), pairs...)
	b := spdytest.AppendBlock(nil, all...)
	binary.BigEndian.PutUint32(b, uint32(len(all)+more))
	return b
}

// brokenZlib is a row: a first block that no inflater takes ends the session.
func brokenZlib(id int, what string, block func() []byte) conformanceCase {
	return server(id, what, func(h *serverTest) {
		f := req(1, "/ok")
		f.Block = block()
		h.p.Send(f)
		h.wantXE("2.6.10.1: "+what, 0)
	})
}

// broken is the next block of d, with its first deflate block's type made the
// one that does not exist.
func broken(d *spdytest.Deflater, pairs []spdytest.Pair) []byte {
	b := d.Deflate(spdytest.AppendBlock(nil, pairs...))
	b[0] |= 6
	return b
}

var headerCases = []conformanceCase{
	{41, "server", "zlib levels 0, 1, 6, 9", func(t *testing.T) {
		var want seen
		for i, level := range []int{0, 1, 6, 9} {
			h := newServerTest(t, setup{})
			got := h.capture("/see")
			h.p.Deflater = spdytest.NewDeflater(level)
			h.p.Send(req(1, "/see?a=b", nv("x-long", strings.Repeat("abc", 1000)), nv("cookie", "a=b\x00c=d"), nv("accept", "*/*")))
			h.wantResponse("any level", 1, "200", "ok")
			s := <-got
			if i == 0 {
				want = s
			}
			if !reflect.DeepEqual(s, want) || s.uri != "/see?a=b" || len(s.header) != 3 || s.header.Get("Cookie") != "a=b; c=d" {
				t.Errorf("level %d: got %+v, want %+v as at level 0", level, s, want)
			}
			h.alive(3)
			h.finish()
		}
	}},
	server(42, "the vector's blocks decode", func(h *serverTest) {
		root, x := h.capture("/{$}"), h.capture("/x")
		a, b := req(1, ""), req(3, "")
		a.Block, b.Block = unhex(vector1), unhex(vector2)
		h.p.Send(a)
		h.wantResponse("block 1", 1, "200", "ok")
		h.p.Send(b)
		h.wantResponse("block 2", 3, "200", "ok")
		want := seen{"GET", "/", "a.test", "HTTP/1.1", http.Header{}}
		if got := <-root; !reflect.DeepEqual(got, want) {
			h.Errorf("block 1: got %+v, want %+v", got, want)
		}
		want = seen{"GET", "/x?y=1", "a.test", "HTTP/1.1", http.Header{"X-Two": {"a", "b"}}}
		if got := <-x; !reflect.DeepEqual(got, want) {
			h.Errorf("block 2: got %+v, want %+v", got, want)
		}
		h.p.Deflater = afterVectors()
		h.alive(5)
	}),
	client(42, "the vector's blocks decode", func(h *clientTest) {
		// The blocks are requests: as pushes they are refused as well-formed ones
		// are, which they would not be without their names.
		c, id := h.open("/")
		for i, block := range []string{vector1, vector2} {
			f := spdytest.SynStream(uint32(2+2*i), spdytest.Unidirectional)
			f.Assoc, f.Block = id, unhex(block)
			h.p.Send(f)
			h.wantSE("3.3.1: a push that is not wanted", f.ID, spdy.RefusedStream)
		}
		h.p.Deflater = afterVectors()
		h.answer(c, id)
		h.alive()
	}),
	brokenZlib(43, "a zlib stream without dictionary", func() []byte {
		return spdytest.NewDeflaterDict(6, nil).Deflate(requestBlock(0))
	}),
	brokenZlib(44, "another dictionary", func() []byte {
		return spdytest.NewDeflaterDict(6, []byte("another dictionary")).Deflate(requestBlock(0))
	}),
	server(45, "a broken third block", func(h *serverTest) {
		h.alive(1)
		h.alive(3)
		f := req(5, "/ok")
		f.Block = broken(h.p.Deflater, f.Pairs)
		h.p.Send(f)
		h.wantXE("2.6.10.1: inflate fails", 3)
	}),
	client(45, "a broken third block", func(h *clientTest) {
		h.alive()
		h.alive()
		c, id := h.open("/")
		f := rep(id)
		f.Block = broken(h.p.Deflater, f.Pairs)
		h.p.Send(f)
		h.wantXE("2.6.10.1: inflate fails", 0)
		wantSessionError(h.session, c.failure(), spdy.GoAwayProtocolError, false)
	}),
	brokenZlib(46, "a block that ends the zlib stream", func() []byte {
		return spdytest.NewDeflater(6).Finish(requestBlock(0))
	}),
	brokenZlib(46, "a block that ends the zlib stream, with a flush behind", func() []byte {
		return append(spdytest.NewDeflater(6).Finish(requestBlock(0)), 0, 0, 0, 0xff, 0xff)
	}),
	brokenZlib(46, "a block that ends within a deflate block, on a flush's bytes", func() []byte {
		plain := requestBlock(0)
		n := uint16(len(plain) + 10) // of which only 4 come: 00 00 ff ff
		b := append(unhex("783fe3c6a7c2"), 0, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
		return append(append(b, plain...), 0, 0, 0xff, 0xff)
	}),
	brokenZlib(46, "a last block that is cut short", func() []byte {
		plain := requestBlock(0)
		n := uint16(len(plain) + 4 + 5) // of which only 4 come: 00 00 ff ff
		b := append(unhex("783fe3c6a7c2"), 1, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
		return append(append(b, plain...), 0, 0, 0xff, 0xff)
	}),
	badPair(47, "an upper-case name", nv("X-A", "1")),
	badPair(47, "an empty name", nv("", "1")),
	badBlock(47, "a name twice", requestBlock(0, nv("a", "1"), nv("b", "2"), nv("a", "1"))),
	badPair(48, "a NUL in front of a value", nv("a", "\x00a")),
	badPair(48, "a NUL behind a value", nv("a", "a\x00")),
	badPair(48, "two NULs in a value", nv("a", "a\x00\x00b")),
	badPair(49, "CR LF in a value", nv("a", "a\r\nb: c")),
	badPair(49, "byte 01 in a value", nv("a", "a\x01")),
	badPair(49, "LF in a name", nv("a\nb", "c")),
	server(50, "an empty value, and two parts", func(h *serverTest) {
		got := h.capture("/see")
		h.p.Send(req(1, "/see", nv("x-empty", ""), nv("x-two", "b\x00a")))
		h.wantResponse("both are right", 1, "200", "ok")
		want := http.Header{"X-Empty": {""}, "X-Two": {"b", "a"}}
		if s := <-got; !reflect.DeepEqual(s.header, want) {
			h.Errorf("got %q, want %q", s.header, want)
		}
		h.alive(3)
	}),
	badBlock(51, "a count above the pairs", requestBlock(1)),
	badBlock(51, "a count below the pairs", requestBlock(-1)),
	server(52, "a value length of 2^31-1", func(h *serverTest) {
		b := requestBlock(1)
		b = append(b, 0, 0, 0, 1, 'a', 0x7f, 0xff, 0xff, 0xff, 'x')
		f := req(1, "/ok")
		f.Plain = b[:min(len(b), 200)]
		wire := spdytest.Raw(h.p.Encode(f))
		allocated := allocation(func() {
			h.p.Send(wire)
			h.p.Want("2.6.10: a length beyond the block", rst(1, spdy.ProtocolError))
		})
		if allocated >= 1<<20 {
			h.Errorf("got %d bytes allocated, want less than 1 MiB", allocated)
		}
		h.p.WantIdle("one RST_STREAM")
		h.alive(3)
	}),
	server(52, "a count of 2^32-1", func(h *serverTest) {
		f := req(1, "/ok")
		f.Plain = append([]byte{0xff, 0xff, 0xff, 0xff}, requestBlock(0)[4:]...)
		wire := spdytest.Raw(h.p.Encode(f))
		allocated := allocation(func() {
			h.p.Send(wire)
			h.p.Want("2.6.10: a count beyond the block", rst(1, spdy.ProtocolError))
		})
		if allocated >= 1<<20 {
			h.Errorf("got %d bytes allocated, want less than 1 MiB", allocated)
		}
		h.alive(3)
	}),
	server(53, "pseudo headers last", func(h *serverTest) {
		for i, order := range [][]int{{5, 0, 1, 2, 3, 4}, {5, 4, 3, 2, 1, 0}, {2, 5, 0, 4, 1, 3}} {
			pairs := append(spdytest.Request("GET", "/ok"), nv("accept", "*/*"))
			f := spdytest.SynStream(uint32(1+2*i), fin)
			for _, j := range order {
				f.Pairs = append(f.Pairs, pairs[j])
			}
			h.p.Send(f)
			h.wantResponse("2.6.10: no order among names", f.ID, "200", "ok")
		}
		h.alive(7)
	}),
	{54, "server", "1000 replies decode", func(t *testing.T) { // the peer's inflater is the judge
		for _, level := range []int{0, 9} {
			h := newServerTest(t, setup{config: spdy.Config{CompressionLevel: level}})
			h.mux.HandleFunc("/many/{n}", func(w http.ResponseWriter, r *http.Request) {
				for k, v := range untidyHeader(r.PathValue("n")) {
					w.Header()[k] = v
				}
				w.WriteHeader(200)
			})
			for i := range 1000 {
				id := uint32(1 + 2*i)
				h.p.Send(req(id, fmt.Sprint("/many/", i)))
				f := h.p.Next("SYN_REPLY")
				if f.Type != spdytest.TypeSynReply || f.ID != id || f.Flags != fin {
					t.Fatalf("got %v, want SYN_REPLY %d with FIN", f, id)
				}
				checkTidy(t, f, fmt.Sprint(i), ":status", ":version")
			}
			h.alive(2001)
			h.finish()
		}
	}},
	{54, "client", "1000 requests decode", func(t *testing.T) {
		for _, level := range []int{0, 9} {
			h := newClientTest(t, setup{config: spdy.Config{CompressionLevel: level}})
			for i := range 1000 {
				r := h.request("GET", fmt.Sprint("/", i), nil)
				r.Header = untidyHeader(fmt.Sprint(i))
				before := r.Header.Clone()
				c := h.start(r)
				f := h.wantSyn("SYN_STREAM")
				checkTidy(t, f, fmt.Sprint(i), ":method", ":path", ":version", ":host", ":scheme")
				h.p.Send(withFlags(rep(f.ID), fin))
				c.wantBody("an answer", 200, "")
				if !reflect.DeepEqual(r.Header, before) {
					t.Fatalf("the caller's header was changed: got %q, want %q", r.Header, before)
				}
			}
			h.alive()
			h.finish()
		}
	}},
	{55, "client", "a cookie and a path that guesses it", func(t *testing.T) {
		const secret = "session=5a1cbf23e01d9944"
		var want int
		for _, guess := range []string{"session=5a1cbf23e01d9944", "session=5a1cbf2300000000", "zzzzzzzz0000000000000000"} {
			h := newClientTest(t, setup{})
			// The two equal requests of the case, then the guess.
			for i, path := range []string{"/?" + guess, "/?" + guess, "/a?" + guess} {
				r := h.request("GET", path, nil)
				r.Header.Set("Cookie", secret)
				c := h.start(r)
				f := h.wantSyn("a request")
				if i == 0 {
					want = max(want, len(f.Wire))
				}
				// The first block of a session has the stream's header, 6 bytes,
				// in front, and the third path is one byte longer.
				got := len(f.Wire)
				if i > 0 {
					got += 6
				}
				if i == 2 {
					got--
				}
				if got != want {
					t.Errorf("guess %q, request %d: got a frame as long as %d bytes, want %d as for every guess", guess, i+1, got, want)
				}
				h.answer(c, f.ID)
			}
			h.finish()
		}
	}},
}

// untidyHeader is what HTTP/1.1 code may put into a header, and SPDY forbids to
// send.
func untidyHeader(n string) http.Header {
	return http.Header{
		"X-Number": {n}, "x-number-low": {n}, "X-Two": {"a", "b"}, "Empty": {""}, "Date": {"today"},
		"Connection": {"close, X-Hop"}, "Keep-Alive": {"timeout=5"}, "Proxy-Connection": {"close"}, "Transfer-Encoding": {"chunked"},
	}
}

// checkTidy fails unless the frame has those pseudo headers and the rest of
// untidyHeader as draft 3.1 wants it.
func checkTidy(t *testing.T, f frame, n string, pseudo ...string) {
	t.Helper()
	var names []string
	for _, p := range f.Pairs {
		if p.Name != strings.ToLower(p.Name) || p.Name == "" {
			t.Errorf("got name %q, want lower case", p.Name)
		}
		if slices.Contains(names, p.Name) {
			t.Errorf("got name %q twice", p.Name)
		}
		switch p.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "host":
			t.Errorf("got name %q, which is never sent", p.Name)
		}
		names = append(names, p.Name)
	}
	for _, name := range pseudo {
		if !slices.Contains(names, name) {
			t.Errorf("got no %q", name)
		}
	}
	for _, want := range []spdytest.Pair{nv("x-number", n), nv("x-number-low", n), nv("x-two", "a\x00b"), nv("empty", "")} {
		if v, ok := f.Get(want.Name); !ok || v != want.Value {
			t.Errorf("got %s: %q, want %q", want.Name, v, want.Value)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// What is bad in a header block whose compression is sound ends its stream at
// most, whatever frame it comes in, and however it was compressed.
func TestBadPairsEndTheirStreamAlone(t *testing.T) {
	bad := []spdytest.Pair{
		nv("a", "a\x01\x00\x00\xff\xff"), // what the inflater puts behind a block
		nv("a", "\x01\x00\x00\xff\xff"),
		nv("a", "a\x00\x00\xff\xff"), // what each block ends with
		nv("a", strings.Repeat("a\x01\x00\x00\xff\xff", 10000)),
		nv("a", strings.Repeat("\x00\x00\xff\xff", 100)),
		nv("\x01\x00\x00\xff\xff", ""),
		nv("a\x00", "a"), nv("", "a"), nv(":", "a"), nv("A", "a"), nv("a", "a\x00"), nv("a", "\r\n"),
	}
	for _, level := range []int{0, 1, 6, 9} {
		onServer(t, setup{}, func(h *serverTest) {
			h.p.Deflater = spdytest.NewDeflater(level)
			id := uint32(1)
			for _, p := range bad {
				h.p.Send(req(id, "/ok", p))
				h.wantSE("SYN_STREAM", id, badStatus(p))
				h.p.Send(post(id+2, "/block"), headers(id+2, 0, p))
				h.wantSE("HEADERS", id+2, badStatus(p))
				h.p.Send(headers(id+2, 0, p))
				h.p.WantIdle("HEADERS on a stream that has ended")
				id += 4
			}
			h.alive(id)
		})
		onClient(t, setup{}, func(h *clientTest) {
			h.p.Deflater = spdytest.NewDeflater(level)
			for i, p := range bad {
				c, id := h.open("/")
				h.p.Send(rep(id, p))
				h.wantSE("SYN_REPLY", id, badStatus(p))
				c.wantReset("SYN_REPLY", badStatus(p), false)
				c, id = h.open("/")
				h.p.Send(rep(id), headers(id, 0, p))
				h.wantSE("HEADERS", id, badStatus(p))
				c.wantReset("HEADERS", badStatus(p), false)
				push := spdytest.SynStream(uint32(2+2*i), spdytest.Unidirectional, p)
				h.p.Send(push)
				h.wantSE("a push", push.ID, badStatus(p))
			}
			h.alive()
		})
	}
}

// badStatus is that of a stream with such a pair.
func badStatus(p spdytest.Pair) spdy.Status {
	if strings.Count(p.Value, "\x00") > 512 {
		return spdy.FrameTooLarge
	}
	return spdy.ProtocolError
}

// allocation returns how many bytes the process allocates while f runs.
func allocation(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
