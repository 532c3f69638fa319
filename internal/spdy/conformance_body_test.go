package spdy_test

import (
	"io"
	"sync/atomic"
	"testing/synctest"

	"github.com/amahi/spdy"
)

// countedBody counts what is read of a body, and how often somebody tried.
type countedBody struct {
	io.Reader
	reads, bytes atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	n, err := b.Reader.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// wantRead fails unless n bytes were read, and none was tried where n is 0.
func (b *countedBody) wantRead(h *session, why string, n int64) {
	h.Helper()
	synctest.Wait()
	if got := b.bytes.Load(); got != n {
		h.Errorf("%s: got %d bytes read of the body, want %d", why, got, n)
	}
	if got := b.reads.Load(); n == 0 && got != 0 {
		h.Errorf("%s: got %d reads of the body, want none", why, got)
	}
}

// upload starts a call with a body of n bytes, and reads its SYN_STREAM.
func (h *clientTest) upload(n int, announced bool) (*call, *countedBody, uint32) {
	h.Helper()
	body := &countedBody{Reader: &zeroBody{n}}
	r := h.request("POST", "/", body)
	if announced {
		r.ContentLength = int64(n)
	}
	c := h.start(r)
	return c, body, h.wantSyn("the upload").ID
}

// rest reads a stream to its end, whose first frame was read.
func (h *clientTest) rest(why string, id uint32) *message {
	h.Helper()
	c := newCollector()
	c.stream(id).head = frame{Wire: []byte{}}
	h.collectInto(c, why, id)
	return c.stream(id)
}

// zeroBody is n bytes, whose end is told by a Read of its own.
type zeroBody struct{ left int }

func (z *zeroBody) Read(p []byte) (int, error) {
	n := min(len(p), z.left)
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	z.left -= n
	return n, nil
}

var bodyCases = []conformanceCase{
	client(116, "a body is not read ahead of its window", func(h *clientTest) {
		h.p.Send(set(7, 0))
		h.p.WantIdle("SETTINGS are not answered")
		c, body, id := h.upload(5000, false)
		h.p.WantIdle("2.6.8: no window")
		body.wantRead(h.session, "no window", 0)
		h.p.Send(wu(id, 1000))
		h.wantBytes("2.6.8: the window", map[uint32]int{id: 1000})
		body.wantRead(h.session, "a window of 1000", 1000)
		h.p.Send(wu(id, 10000))
		h.wantBytes("2.6.8: window enough", map[uint32]int{id: 4000})
		h.answer(c, id)
		h.alive()
	}),
	client(117, "the end of a body needs no window", func(h *clientTest) {
		h.p.Send(wu(0, 1<<20))
		c, _, id := h.upload(65536, true)
		if m := h.rest("the announced body", id); len(m.body) != 65536 || !m.fin {
			h.Errorf("got %d bytes, FIN %v, want 65536 with FIN", len(m.body), m.fin)
		}
		h.answer(c, id)
		c, body, id := h.upload(65536, false)
		h.wantBytes("2.6.8: as much as the window", map[uint32]int{id: 65536})
		body.wantRead(h.session, "who knows what else there is", 65536)
		h.p.Send(wu(id, 1))
		if m := h.rest("the end", id); len(m.body) != 0 || !m.fin {
			h.Errorf("got %d bytes, FIN %v, want FIN alone", len(m.body), m.fin)
		}
		h.answer(c, id)
		h.alive()
	}),
	client(118, "a refused request keeps its body", func(h *clientTest) {
		h.p.Send(set(7, 0))
		h.p.WantIdle("SETTINGS are not answered")
		c, body, id := h.upload(5000, true)
		h.p.Send(rst(id, spdy.RefusedStream))
		if _, err := c.wait(); !spdy.Retryable(err) {
			h.Errorf("the call: got %v, want one that is retryable", err)
		}
		body.wantRead(h.session, "refused", 0)
		h.alive()
	}),
}
