package spdytest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// How long Peer waits, in the bubble's time if there is one.
const (
	Limit    = 5 * time.Second        // for a frame that has to come
	Idle     = 300 * time.Millisecond // for one that must not
	EOFLimit = 2 * time.Second        // for the end of a connection
)

// Peer is a scripted SPDY peer. It sends what it is told to and nothing else:
// no credit, no echo, no preface. It reads from its connection only inside the
// methods that ask for frames, so that a bounded Pipe fills up while it does
// not. A failed expectation ends the test.
//
// A Peer belongs to one goroutine.
type Peer struct {
	// Conn is the peer's end of the connection.
	Conn net.Conn
	// Deflater compresses the blocks that are sent. If nil, one of level 6 is
	// made for the first of them.
	Deflater *Deflater
	// NoSecond leaves out the second reading by moby's framer, which is slow to
	// set up: for fuzzing.
	NoSecond bool
	// Moby, if not nil, encodes the frames that are sent, in place of the
	// peer's own codec and of Deflater.
	Moby *MobyWriter
	// ByteByByte makes Send write one byte at a time.
	ByteByByte bool
	// Answer, if not nil, sees each frame before it is returned or compared;
	// true means that it is dealt with. EchoPings is one.
	Answer func(Frame) bool
	// Sent and Received count frames.
	Sent, Received int

	t       testing.TB
	reader  *reader
	buf     []byte
	partial []byte // read from Conn, not yet a whole frame
	err     error  // what ended reading
}

// NewPeer returns a peer on conn whose failures are t's.
func NewPeer(t testing.TB, conn net.Conn) *Peer {
	return &Peer{Conn: conn, t: t, reader: new(reader)}
}

// Encode returns f as it is on the wire. Encoding a frame with a block moves
// the zlib state: it has to be sent.
func (p *Peer) Encode(f Frame) []byte {
	p.t.Helper()
	if p.Moby != nil && f.Wire == nil {
		b, err := p.Moby.Encode(f)
		if err != nil {
			p.t.Fatalf("encode %v: %v", f, err)
		}
		return b
	}
	block := f.Block
	if _, ok := hasBlock(f.Type); ok && block == nil && f.Wire == nil {
		plain := f.Plain
		if plain == nil {
			plain = AppendBlock(nil, f.Pairs...)
		}
		if p.Deflater == nil {
			p.Deflater = NewDeflater(6)
		}
		block = p.Deflater.Deflate(plain)
	}
	return f.Append(nil, block)
}

// Send sends frames, in one write.
func (p *Peer) Send(frames ...Frame) {
	p.t.Helper()
	if err := p.TrySend(frames...); err != nil {
		p.t.Fatalf("send %v: %v", frames, err)
	}
}

// TrySend is Send for a connection that the other side may have ended.
func (p *Peer) TrySend(frames ...Frame) error {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, p.Encode(f)...)
		p.Sent++
	}
	if !p.ByteByByte {
		_, err := p.Conn.Write(b)
		return err
	}
	for i := range b {
		if _, err := p.Conn.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// ErrTimeout is what TryNext returns when no whole frame came in time.
var ErrTimeout = errors.New("no frame came")

// next returns the next frame that comes within d.
func (p *Peer) next(d time.Duration) (Frame, error) {
	deadline := time.Now().Add(d)
	for {
		f, ok, err := p.cut()
		if err != nil {
			return f, err
		}
		if ok {
			p.Received++
			if p.Answer != nil && p.Answer(f) {
				continue
			}
			return f, nil
		}
		if p.err != nil {
			return Frame{}, p.err
		}
		if p.buf == nil {
			p.buf = make([]byte, 32<<10)
		}
		p.Conn.SetReadDeadline(deadline)
		n, err := p.Conn.Read(p.buf)
		p.partial = append(p.partial, p.buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return Frame{}, ErrTimeout
		}
		if err == io.EOF && len(p.partial) > 0 && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		p.err = err
	}
}

// cut takes a whole frame off what was read.
func (p *Peer) cut() (f Frame, ok bool, err error) {
	if len(p.partial) < 8 {
		return f, false, nil
	}
	n := 8 + int(binary.BigEndian.Uint32(p.partial[4:])&0xffffff)
	if len(p.partial) < n {
		return f, false, nil
	}
	wire := append([]byte(nil), p.partial[:n]...)
	p.partial = p.partial[n:]
	p.reader.alone = p.reader.alone || p.NoSecond
	f, err = p.reader.parse(wire)
	return f, err == nil, err
}

// Next returns the next frame, which has to come.
func (p *Peer) Next(why string) Frame {
	p.t.Helper()
	f, err := p.next(Limit)
	if err != nil {
		p.t.Fatalf("%s: reading a frame: %v", why, err)
	}
	return f
}

// Poll returns the next frame if one comes within d.
func (p *Peer) Poll(d time.Duration) (f Frame, ok bool) {
	p.t.Helper()
	f, err := p.next(d)
	if err != nil && err != ErrTimeout {
		p.t.Fatalf("reading a frame: %v", err)
	}
	return f, err == nil
}

// TryNext returns the next frame that comes within d, or ErrTimeout, or the error
// of the connection or of a frame that is not sound.
func (p *Peer) TryNext(d time.Duration) (Frame, error) { return p.next(d) }

// Want reads as many frames as there are in want, and fails unless they are
// these, in this order. Frames with a block match if type, id, flags and the
// wanted pairs do; all others byte for byte.
func (p *Peer) Want(why string, want ...Frame) {
	p.t.Helper()
	for i, w := range want {
		got, err := p.next(Limit)
		if err != nil {
			p.t.Fatalf("%s: got %v, want frame %d of %d: %v", why, err, i+1, len(want), w)
		}
		if !w.matches(got) {
			p.t.Fatalf("%s: frame %d of %d:\n got %v\nwant %v", why, i+1, len(want), got, w)
		}
	}
}

// WantIdle fails if a frame comes within 300 ms, or the connection ends.
func (p *Peer) WantIdle(why string) {
	p.t.Helper()
	f, err := p.next(Idle)
	if err == nil {
		p.t.Fatalf("%s: got %v, want nothing", why, f)
	}
	if err != ErrTimeout {
		p.t.Fatalf("%s: got %v, want nothing on an open connection", why, err)
	}
}

// WantEOF fails unless the connection ends cleanly within 2 s, without another
// frame.
func (p *Peer) WantEOF(why string) {
	p.t.Helper()
	f, err := p.next(EOFLimit)
	if err == nil {
		p.t.Fatalf("%s: got %v, want the end of the connection", why, f)
	}
	if err != io.EOF {
		p.t.Fatalf("%s: got %v, want the end of the connection", why, err)
	}
}

// EchoPings is an Answer: it echoes the PINGs that the other side begins, whose
// ids are odd from a client.
func (p *Peer) EchoPings(fromClient bool) func(Frame) bool {
	return func(f Frame) bool {
		if f.Type != TypePing || fromClient != (f.ID%2 == 1) {
			return false
		}
		p.Send(Ping(f.ID))
		return true
	}
}

// Preface is what a session of this project says first.
type Preface struct {
	MaxStreams    uint32 // the largest uint32: not said
	StreamWindow  int
	SessionWindow int
}

// WantPreface reads SETTINGS, and a WINDOW_UPDATE of the session's window if
// there is one, and checks them as case 77 of the conformance list has it.
func (p *Peer) WantPreface() Preface {
	p.t.Helper()
	f := p.Next("SETTINGS come first")
	pre := Preface{MaxStreams: ^uint32(0), StreamWindow: 64 << 10, SessionWindow: 64 << 10}
	if f.Type != TypeSettings || f.Flags != 0 || len(f.Settings) == 0 {
		p.t.Fatalf("first frame: got %v, want SETTINGS without flags", f)
	}
	for i, s := range f.Settings {
		if s.Flags != 0 || i > 0 && s.ID <= f.Settings[i-1].ID {
			p.t.Fatalf("SETTINGS: got %v, want growing ids and no flags", f)
		}
		switch s.ID {
		case SettingMaxConcurrentStreams:
			pre.MaxStreams = s.Value
		case SettingInitialWindowSize:
			pre.StreamWindow = int(s.Value)
		}
	}
	for {
		f, ok := p.Poll(Idle)
		if !ok {
			return pre
		}
		if f.Type != TypeWindowUpdate || f.ID != 0 {
			p.t.Fatalf("after the first SETTINGS: got %v, want WINDOW_UPDATE of the session or nothing", f)
		}
		pre.SessionWindow += int(f.Value)
	}
}

// Close ends the peer's side of the connection at once.
func (p *Peer) Close() { p.Conn.Close() }
