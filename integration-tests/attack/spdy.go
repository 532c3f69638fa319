package main

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The frames of SPDY/3.1 that an attacker writes, by hand: no library writes
// wrong ones.
const (
	spdySynStream    = 1
	spdySynReply     = 2
	spdyRstStream    = 3
	spdySettings     = 4
	spdyPing         = 6
	spdyGoAway       = 7
	spdyHeaders      = 8
	spdyWindowUpdate = 9

	spdyFin = 1
)

// controlFrame appends a control frame.
func controlFrame(b []byte, kind uint16, flags byte, payload ...[]byte) []byte {
	all := bytes.Join(payload, nil)
	b = binary.BigEndian.AppendUint16(b, 0x8003)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(len(all)))
	return append(b, all...)
}

// dataFrame appends a DATA frame.
func dataFrame(b []byte, id uint32, flags byte, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(len(payload)))
	return append(b, payload...)
}

func u32(list ...uint32) (b []byte) {
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// blocks compresses header blocks, as one zlib stream with the protocol's
// dictionary, of which nothing is ever used.
type blocks struct {
	out bytes.Buffer
	w   *flate.Writer
}

func newBlocks(level int) *blocks {
	b := new(blocks)
	// 78 bb: deflate, a preset dictionary; then the Adler-32 of SPDY/3's.
	b.out.Write([]byte{0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2})
	b.w, _ = flate.NewWriter(&b.out, level)
	return b
}

// raw compresses bytes that may be no header block at all.
func (b *blocks) raw(text []byte) []byte {
	b.w.Write(text)
	b.w.Flush()
	out := bytes.Clone(b.out.Bytes())
	b.out.Reset()
	return out
}

// of compresses a header block of names and values.
func (b *blocks) of(pairs ...string) []byte {
	text := u32(uint32(len(pairs) / 2))
	for _, s := range pairs {
		text = append(append(text, u32(uint32(len(s)))...), s...)
	}
	return b.raw(text)
}

func (b *blocks) request(method, path string) []byte {
	return b.of(":method", method, ":path", path, ":version", "HTTP/1.1", ":host", "localhost", ":scheme", "https")
}

// spdyConn is one connection of an attacker.
type spdyConn struct {
	net.Conn
	mu sync.Mutex // of writes
	*blocks
	next uint32
}

func (t *target) dialSPDY(ctx context.Context, from string) (*spdyConn, error) {
	conn, err := t.visit(ctx, from, "spdy/3.1")
	if err != nil {
		return nil, err
	}
	return &spdyConn{Conn: conn, blocks: newBlocks(1), next: 1}, nil
}

func (c *spdyConn) send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, err := c.Write(b)
	return err
}

// open appends a request.
func (c *spdyConn) open(b []byte, flags byte, method, path string) []byte {
	id := c.next
	c.next += 2
	return controlFrame(b, spdySynStream, flags, u32(id, 0), []byte{0, 0}, c.request(method, path))
}

// spdyFrame is what an attacker looks at of a frame that p sent.
type spdyFrame struct {
	kind  uint16 // 0 of DATA
	flags byte
	id    uint32 // of a stream, or PING; else meaningless
}

// read reads frames until the connection ends, and answers PINGs of p.
func (c *spdyConn) read(on func(spdyFrame)) error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		left := int64(binary.BigEndian.Uint32(head[4:]) & 0xffffff)
		f := spdyFrame{flags: head[4], id: binary.BigEndian.Uint32(head[:])}
		if head[0]&0x80 != 0 {
			f.kind, f.id = binary.BigEndian.Uint16(head[2:]), 0
			if left >= 4 {
				var id [4]byte
				if _, err := io.ReadFull(c, id[:]); err != nil {
					return err
				}
				f.id, left = binary.BigEndian.Uint32(id[:]), left-4
			}
		}
		if _, err := io.CopyN(io.Discard, c, left); err != nil {
			return err
		}
		if f.kind == spdyPing {
			c.send(controlFrame(nil, spdyPing, 0, u32(f.id)))
		}
		if on != nil {
			on(f)
		}
	}
}

func spdyAttacks() []attack {
	return []attack{
		{name: "spdy-floods", about: "endless frames of each kind, zlib bombs, windows that overflow; nothing is read", lasts: 5 * time.Second, strike: spdyFloods},
		{name: "spdy-junk", about: "frames of any type, length and content", lasts: 5 * time.Second, strike: spdyJunk},
		{name: "spdy-no-window", about: "10 290 answers of which not a byte is taken, from one address", lasts: 12 * time.Second,
			prepare: func(s *site) error { s.stallSoon(); return nil }, strike: spdyNoWindow, after: wantStalled},
	}
}

// flood sends one kind of frame on a connection for as long as p takes it. first
// is sent once, again is sent for ever.
type flood struct {
	first func(c *spdyConn) []byte
	again func(c *spdyConn, n uint32) []byte
}

func spdyFrameFloods() []flood {
	zeros := make([]byte, 1<<20)
	get := func(c *spdyConn) []byte { return c.open(nil, spdyFin, "GET", "/"+bigFile) }
	post := func(c *spdyConn) []byte { return c.open(nil, 0, "POST", "/"+smallFile) }
	return []flood{
		{nil, func(c *spdyConn, n uint32) []byte { return c.open(nil, spdyFin, "GET", "/"+smallFile) }},
		{nil, func(c *spdyConn, n uint32) []byte {
			id := c.next
			return controlFrame(c.open(nil, spdyFin, "GET", "/"+bigFile), spdyRstStream, 0, u32(id, 5))
		}},
		{nil, func(c *spdyConn, n uint32) []byte {
			id := c.next
			c.next += 2
			return controlFrame(nil, spdySynStream, spdyFin, u32(id, 0), []byte{0, 0}, c.raw(zeros)) // a thousand times as long
		}},
		{post, func(c *spdyConn, n uint32) []byte {
			return controlFrame(nil, spdyHeaders, 0, u32(1), c.of("x", string(zeros[:1<<16])))
		}},
		{get, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyWindowUpdate, 0, u32(1, 0x7fffffff)) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyWindowUpdate, 0, u32(0, 0x7fffffff)) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyWindowUpdate, 0, u32(0, 1)) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyPing, 0, u32(2*n+1)) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdySettings, 0, u32(1, 7, n)) }},
		{nil, func(c *spdyConn, n uint32) []byte {
			return controlFrame(nil, spdySettings, 0, u32(100_000), make([]byte, 800_000))
		}},
		{nil, func(c *spdyConn, n uint32) []byte { return dataFrame(nil, 2*n+1, 0, zeros[:100]) }},
		{post, func(c *spdyConn, n uint32) []byte { return dataFrame(nil, 1, 0, nil) }},
		{post, func(c *spdyConn, n uint32) []byte { return dataFrame(nil, 1, 0, zeros[:100_000]) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyRstStream, 0, u32(2*n+1, 1)) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, spdyGoAway, 0, u32(0, 0)) }},
		{nil, func(c *spdyConn, n uint32) []byte {
			return controlFrame(nil, spdySynReply, 0, u32(2*n+1), c.of(":status", "200", ":version", "HTTP/1.1"))
		}},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, 5, 0) }},
		{nil, func(c *spdyConn, n uint32) []byte { return controlFrame(nil, 999, 0, zeros[:10_000]) }},
		{nil, func(c *spdyConn, n uint32) []byte { return u32(0x80030001, 0x00ffffff) }}, // of 16 MB, all of it promised
	}
}

// pour sends a flood on a connection until p closes it.
func (f flood) pour(ctx context.Context, t *target, c *spdyConn) error {
	if f.first != nil {
		if err := c.send(f.first(c)); err != nil {
			return err
		}
	}
	sent, n := t.counter("frames"), uint32(0)
	for ctx.Err() == nil {
		var b []byte
		begun := n
		for len(b) < 16<<10 {
			b = append(b, f.again(c, n)...)
			n++
		}
		if err := c.send(b); err != nil {
			if ctx.Err() == nil {
				t.count("closed by p", 1)
			}
			return err
		}
		sent.Add(int64(n - begun))
	}
	return ctx.Err()
}

func spdyFloods(ctx context.Context, t *target) {
	floods := spdyFrameFloods()
	crowd(ctx, len(floods), func(ctx context.Context, i int) error {
		c, err := t.dialSPDY(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		return floods[i].pour(ctx, t, c)
	})
}

func spdyJunk(ctx context.Context, t *target) {
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		c, err := t.dialSPDY(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		go c.read(nil) // ends with the connection
		b := c.open(nil, spdyFin, "GET", "/"+bigFile)
		b = c.open(b, 0, "POST", "/"+smallFile)
		for {
			for range rand.IntN(20) {
				payload := make([]byte, rand.IntN(200))
				for j := range payload {
					payload[j] = byte(rand.IntN(256)) >> rand.IntN(8)
				}
				if rand.IntN(2) == 0 && len(payload) >= 4 {
					copy(payload, u32(uint32(rand.IntN(6)))) // a stream that may be there
				}
				b = controlFrame(b, uint16(rand.IntN(13)), byte(rand.IntN(256))>>rand.IntN(8), payload)
			}
			if err := c.send(b); err != nil {
				return err
			}
			t.count("bytes", int64(len(b)))
			b = b[:0]
		}
	})
}

func spdyNoWindow(ctx context.Context, t *target) {
	crowd(ctx, holdConns, func(ctx context.Context, i int) error {
		if err := inTurn(ctx, i); err != nil {
			return err
		}
		c, err := t.dialSPDY(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		held := newHoldings(t)
		b := controlFrame(nil, spdySettings, 0, u32(1, 7, 0))
		// Ends with ctx, which ends with this connection's turn.
		go held.keep(ctx, func(n int) (ids []uint32) {
			for range n {
				ids = append(ids, c.next)
				b = c.open(b, spdyFin, "GET", "/"+bigFile)
			}
			c.send(b)
			b = b[:0]
			return ids
		})
		return c.read(func(f spdyFrame) {
			switch f.kind {
			case spdyRstStream:
				t.count("resets", 1)
				held.end(f.id)
			case spdySynReply:
				t.count("heads", 1)
			}
			if f.flags&spdyFin != 0 {
				held.end(f.id)
			}
		})
	})
}
