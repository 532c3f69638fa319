package spdytest

import (
	"bytes"
	"compress/zlib"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	moby "github.com/moby/spdystream/spdy"
)

//go:embed dictionary.hex
var dictionaryHex string

// Dictionary returns the preset dictionary of header compression (draft 3.1,
// 2.6.10.1).
func Dictionary() []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(dictionaryHex), ""))
	if err != nil {
		panic("spdytest: dictionary.hex: " + err.Error()) // the file is part of this package
	}
	return b
}

// Deflater is the sending half of a direction's zlib stream: one zlib.Writer
// with the dictionary, flushed after each block.
type Deflater struct {
	buf bytes.Buffer
	zw  *zlib.Writer
}

// NewDeflater returns the start of a stream at a level of compress/zlib, 0 to 9.
func NewDeflater(level int) *Deflater {
	return NewDeflaterDict(level, Dictionary())
}

// NewDeflaterDict is NewDeflater with any dictionary, nil for none.
func NewDeflaterDict(level int, dict []byte) *Deflater {
	d := new(Deflater)
	zw, err := zlib.NewWriterLevelDict(&d.buf, level, dict)
	if err != nil {
		panic("spdytest: " + err.Error()) // a level that does not exist
	}
	d.zw = zw
	return d
}

// Deflate compresses a block.
func (d *Deflater) Deflate(plain []byte) []byte {
	d.buf.Reset()
	d.zw.Write(plain) // a bytes.Buffer takes everything
	d.zw.Flush()
	return bytes.Clone(d.buf.Bytes())
}

// Reset begins a new stream, at the same level and with the same dictionary.
func (d *Deflater) Reset() {
	d.buf.Reset()
	d.zw.Reset(&d.buf)
}

// Finish compresses a block and ends the stream, which SPDY forbids.
func (d *Deflater) Finish(plain []byte) []byte {
	d.buf.Reset()
	d.zw.Write(plain)
	d.zw.Close()
	return bytes.Clone(d.buf.Bytes())
}

// Inflater is the receiving half of a direction's zlib stream: one zlib.Reader
// over all blocks, that is never asked for more than the blocks hold.
type Inflater struct {
	in bytes.Buffer
	zr io.Reader
}

var (
	errNoFlush      = errors.New("block does not end with 00 00 ff ff")
	errNoDictionary = errors.New("zlib stream has no preset dictionary")
)

// Inflate decompresses and parses one block. A block without a byte has no
// pairs.
func (d *Inflater) Inflate(block []byte) (pairs []Pair, err error) {
	if len(block) == 0 {
		return nil, nil
	}
	if !bytes.HasSuffix(block, []byte{0, 0, 0xff, 0xff}) {
		return nil, errNoFlush
	}
	if d.in.Len() > 5 {
		return nil, fmt.Errorf("%d bytes of the block before hold more than its pairs", d.in.Len())
	}
	d.in.Write(block)
	if d.zr == nil {
		if block[1]&0x20 == 0 {
			return nil, errNoDictionary
		}
		d.zr, err = zlib.NewReaderDict(&d.in, Dictionary())
		if err != nil {
			return nil, err
		}
	}
	count, err := d.uint32()
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	for i := range count {
		name, err := d.string()
		if err != nil {
			return pairs, fmt.Errorf("name %d of %d: %w", i+1, count, err)
		}
		value, err := d.string()
		if err != nil {
			return pairs, fmt.Errorf("value %d of %d: %w", i+1, count, err)
		}
		pairs = append(pairs, Pair{name, value})
	}
	return pairs, nil
}

func (d *Inflater) uint32() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(d.zr, b[:])
	return binary.BigEndian.Uint32(b[:]), err
}

func (d *Inflater) string() (string, error) {
	n, err := d.uint32()
	if err != nil {
		return "", err
	}
	if n > 1<<24 {
		return "", fmt.Errorf("length %d", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(d.zr, b)
	return string(b), err
}

// reader parses received frames, and has each of them read by moby's framer
// too.
type reader struct {
	inflate Inflater
	alone   bool // moby's framer is not asked, or has lost its place
	second  *moby.Framer
	feed    bytes.Buffer
}

// parse decodes a whole frame.
func (r *reader) parse(wire []byte) (Frame, error) {
	f := Frame{Wire: wire}
	p := wire[8:]
	f.Flags = wire[4]
	if wire[0]&0x80 == 0 {
		f.Type, f.ID, f.Data = TypeData, binary.BigEndian.Uint32(wire), p
		return f, r.compare(f)
	}
	if v := binary.BigEndian.Uint16(wire) & 0x7fff; v != 3 {
		return f, fmt.Errorf("version %d", v)
	}
	f.Type = Type(binary.BigEndian.Uint16(wire[2:]))
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(p[at:]) }
	want := -1 // the payload's length
	switch f.Type {
	case TypeRstStream, TypeGoAway, TypeWindowUpdate:
		if want = 8; len(p) == want {
			f.ID, f.Value = u32(0), u32(4)
		}
	case TypePing:
		if want = 4; len(p) == want {
			f.ID = u32(0)
		}
	case TypeSettings:
		if len(p) < 4 {
			want = 4
			break
		}
		if want = 4 + 8*int(u32(0)); len(p) == want {
			for at := 4; at < len(p); at += 8 {
				f.Settings = append(f.Settings, Setting{Flags: p[at], ID: u32(at) & 0xffffff, Value: u32(at + 4)})
			}
		}
	case TypeSynStream, TypeSynReply, TypeHeaders:
		at, _ := hasBlock(f.Type)
		if len(p) < at {
			return f, fmt.Errorf("%v of length %d", f.Type, len(p))
		}
		f.ID = u32(0)
		if f.Type == TypeSynStream {
			f.Assoc, f.Priority = u32(4), p[8]>>5
			if p[8]&0x1f != 0 || p[9] != 0 {
				return f, fmt.Errorf("%v: unused bits or slot not 0: %x", f.Type, p[8:10])
			}
		}
		f.Block = p[at:]
		var err error
		if f.Pairs, err = r.inflate.Inflate(f.Block); err != nil {
			return f, fmt.Errorf("%v: block: %w", f.Type, err)
		}
	default:
		f.Data = p
		return f, fmt.Errorf("%v was sent", f.Type)
	}
	if want >= 0 && len(p) != want {
		return f, fmt.Errorf("%v of length %d, want %d", f.Type, len(p), want)
	}
	return f, r.compare(f)
}

// compare has moby's framer read the frame.
func (r *reader) compare(f Frame) error {
	if f.Type == TypePing && f.ID == 0 {
		return nil // right as an echo, but not to moby's framer
	}
	if r.inflate.in.Len() > 0 {
		// The block's last byte filled zlib's window of 32 KiB, and was handed
		// out before the flush behind it was read. moby's framer takes that for
		// an error, and loses its place.
		r.alone = true
	}
	if r.alone {
		return nil
	}
	if r.second == nil {
		f, err := moby.NewFramer(io.Discard, &r.feed)
		if err != nil {
			panic("spdytest: " + err.Error()) // a fixed dictionary and level
		}
		r.second = f
	}
	r.feed.Write(f.Wire)
	second, err := r.second.ReadFrame()
	if err != nil {
		return fmt.Errorf("%v: moby's framer: %w", f, err)
	}
	var s Frame
	var headers map[string][]string
	switch m := second.(type) {
	case *moby.DataFrame:
		s = Frame{Type: TypeData, ID: uint32(m.StreamId), Flags: uint8(m.Flags), Data: m.Data}
	case *moby.SynStreamFrame:
		s = Frame{Type: TypeSynStream, ID: uint32(m.StreamId), Flags: uint8(m.CFHeader.Flags), Assoc: uint32(m.AssociatedToStreamId), Priority: m.Priority}
		headers = m.Headers
	case *moby.SynReplyFrame:
		s = Frame{Type: TypeSynReply, ID: uint32(m.StreamId), Flags: uint8(m.CFHeader.Flags)}
		headers = m.Headers
	case *moby.HeadersFrame:
		s = Frame{Type: TypeHeaders, ID: uint32(m.StreamId), Flags: uint8(m.CFHeader.Flags)}
		headers = m.Headers
	case *moby.RstStreamFrame:
		s = Rst(uint32(m.StreamId), uint32(m.Status))
		s.Flags = uint8(m.CFHeader.Flags)
	case *moby.SettingsFrame:
		s = Frame{Type: TypeSettings, Flags: uint8(m.CFHeader.Flags)}
		for _, e := range m.FlagIdValues {
			s.Settings = append(s.Settings, Setting{uint8(e.Flag), uint32(e.Id), e.Value})
		}
	case *moby.PingFrame:
		s = Ping(m.Id)
	case *moby.GoAwayFrame:
		s = GoAway(uint32(m.LastGoodStreamId), uint32(m.Status))
	case *moby.WindowUpdateFrame:
		s = WindowUpdate(uint32(m.StreamId), m.DeltaWindowSize)
	}
	for name, values := range headers {
		s.Pairs = append(s.Pairs, Pair{strings.ToLower(name), strings.Join(values, "\x00")})
	}
	if len(s.Pairs) != len(f.Pairs) || !s.matches(f) {
		return fmt.Errorf("moby's framer reads %v where %v was read", s, f)
	}
	return nil
}

// MobyWriter encodes frames with moby's framer in place of Peer's own codec:
// well-formed ones only, pairs in no order.
type MobyWriter struct {
	framer *moby.Framer
	buf    bytes.Buffer
}

// NewMobyWriter returns a writer at the start of a session.
func NewMobyWriter() *MobyWriter {
	w := new(MobyWriter)
	f, err := moby.NewFramer(&w.buf, eof{})
	if err != nil {
		panic("spdytest: " + err.Error())
	}
	w.framer = f
	return w
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Encode returns f as moby's framer writes it.
func (w *MobyWriter) Encode(f Frame) ([]byte, error) {
	headers := make(map[string][]string, len(f.Pairs))
	for _, p := range f.Pairs {
		headers[p.Name] = strings.Split(p.Value, "\x00")
	}
	h := moby.ControlFrameHeader{Flags: moby.ControlFlags(f.Flags)}
	id := moby.StreamId(f.ID)
	var m moby.Frame
	switch f.Type {
	case TypeData:
		m = &moby.DataFrame{StreamId: id, Flags: moby.DataFlags(f.Flags), Data: f.Data}
	case TypeSynStream:
		m = &moby.SynStreamFrame{CFHeader: h, StreamId: id, AssociatedToStreamId: moby.StreamId(f.Assoc), Priority: f.Priority, Headers: headers}
	case TypeSynReply:
		m = &moby.SynReplyFrame{CFHeader: h, StreamId: id, Headers: headers}
	case TypeHeaders:
		m = &moby.HeadersFrame{CFHeader: h, StreamId: id, Headers: headers}
	case TypeRstStream:
		m = &moby.RstStreamFrame{StreamId: id, Status: moby.RstStreamStatus(f.Value)}
	case TypePing:
		m = &moby.PingFrame{Id: f.ID}
	case TypeGoAway:
		m = &moby.GoAwayFrame{LastGoodStreamId: id, Status: moby.GoAwayStatus(f.Value)}
	case TypeWindowUpdate:
		m = &moby.WindowUpdateFrame{StreamId: id, DeltaWindowSize: f.Value}
	case TypeSettings:
		s := &moby.SettingsFrame{CFHeader: h}
		for _, e := range f.Settings {
			s.FlagIdValues = append(s.FlagIdValues, moby.SettingsFlagIdValue{Flag: moby.SettingsFlag(e.Flags), Id: moby.SettingsId(e.ID), Value: e.Value})
		}
		m = s
	default:
		return nil, fmt.Errorf("spdytest: moby's framer has no %v", f.Type)
	}
	w.buf.Reset()
	if err := w.framer.WriteFrame(m); err != nil {
		return nil, err
	}
	return bytes.Clone(w.buf.Bytes()), nil
}
