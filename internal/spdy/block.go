package spdy

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A name/value block (draft 3.1, 2.6.10) travels in one zlib stream a
// direction, shared by all frames of the session that carry one, and ends on a
// SYNC_FLUSH.

// field is one name/value pair of a block; value holds NUL between its parts.
type field struct{ name, value string }

// syncFlush is what each block on the wire ends with: an empty stored block.
const syncFlush = "\x00\x00\xff\xff"

const flateWindow = 32 << 10

// A block may inflate to bombFactor times MaxHeaderBytes, and at least to bombLeast
// and to twice its own size, into nothing beyond MaxHeaderBytes, before the session
// is ended.
const (
	bombFactor = 16
	bombLeast  = 1 << 20
)

// Errors of a block whose compression is broken: the session cannot go on,
// since no later block could be read.
var (
	errBlockHeader = errors.New("header block: not a zlib stream with SPDY/3's dictionary")
	errBlockFlush  = errors.New("header block does not end on a flush")
	errBlockFinal  = errors.New("header block ends the zlib stream")
	errBlockBomb   = errors.New("header block inflates without end")
)

// inflater is the receiving half of one direction's zlib stream.
// Owned by the session's reader.
type inflater struct {
	started bool   // the zlib header was seen
	history []byte // all output so far, or at least its last 32 KiB
	out     []byte // the block decoded last
	fr      io.ReadCloser
	src     bytes.Reader
	whole   []byte
	tmp     []byte
}

// inflate decodes one block. The result is valid until the next call. tooLarge
// says that the block was above limit and is not returned; the zlib state is
// sound all the same. An error is a session error.
func (d *inflater) inflate(block []byte, limit int) (out []byte, tooLarge bool, err error) {
	if len(block) == 0 {
		return nil, false, nil
	}
	if !d.started {
		// RFC 1950: CMF, FLG, dictionary id.
		if len(block) < 6 || block[0]&0x0f != 8 || block[0]>>4 > 7 || block[1]&0x20 == 0 ||
			(uint(block[0])<<8|uint(block[1]))%31 != 0 ||
			binary.BigEndian.Uint32(block[2:]) != dictionaryID {
			return nil, false, errBlockHeader
		}
		block = block[6:]
		d.started = true
		d.history = append(make([]byte, 0, 4<<10), dictionary...)
	}
	if !bytes.HasSuffix(block, []byte(syncFlush)) {
		return nil, false, errBlockFlush
	}
	out, ok := d.stored(block, limit)
	if ok {
		return out, false, nil
	}
	return d.compressed(block, limit)
}

// stored decodes a block that consists of stored deflate blocks only, which is
// all that a sender at level 0 makes. It needs no decompressor. It reports
// false, having changed nothing, if there is anything else in the block.
func (d *inflater) stored(block []byte, limit int) ([]byte, bool) {
	out := d.out[:0]
	for len(block) > 0 {
		if len(block) < 5 || block[0]&7 != 0 {
			return nil, false
		}
		n := int(binary.LittleEndian.Uint16(block[1:]))
		if binary.LittleEndian.Uint16(block[3:]) != ^uint16(n) || len(block) < 5+n || len(out)+n > limit {
			return nil, false
		}
		out = append(out, block[5:5+n]...)
		block = block[5+n:]
	}
	d.out = out
	d.remember(out)
	return out, true
}

// lastBlock is an empty stored block that ends a deflate stream.
const lastBlock = "\x01\x00\x00\xff\xff"

// compressed decodes any block. compress/flate keeps an error for ever once
// its input ran dry, so each block gets a reset reader whose dictionary is the
// last 32 KiB of output, and an end of its own: one that is not reached, or
// reached early, shows a block that does not end on its flush.
func (d *inflater) compressed(block []byte, limit int) (out []byte, tooLarge bool, err error) {
	d.whole = append(append(d.whole[:0], block...), lastBlock...)
	d.src.Reset(d.whole)
	window := d.history[max(0, len(d.history)-flateWindow):]
	if d.fr == nil {
		d.fr = flate.NewReaderDict(&d.src, window)
		d.tmp = make([]byte, 4<<10)
	} else {
		d.fr.(flate.Resetter).Reset(&d.src, window)
	}
	out = d.out[:0]
	for total := 0; ; {
		n, err := d.fr.Read(d.tmp)
		total += n
		d.remember(d.tmp[:n])
		if total <= limit {
			out = append(out, d.tmp[:n]...)
		}
		if total > max(bombFactor*limit, bombLeast, 2*len(block)) {
			return nil, true, errBlockBomb
		}
		switch err {
		case nil:
			continue
		case io.EOF:
			if d.src.Len() > 0 {
				return nil, false, errBlockFinal
			}
			if bytes.HasSuffix(d.history, []byte(lastBlock)) && cutShort(block) {
				// A final stored block took our end for its content.
				return nil, false, errBlockFlush
			}
		case io.ErrUnexpectedEOF:
			return nil, false, errBlockFlush
		default:
			return nil, false, fmt.Errorf("header block: %w", err)
		}
		d.out = out
		if cap(d.whole) > 16<<10 {
			d.whole = nil // not kept for a session's life
		}
		return out, total > limit, nil
	}
}

// cutShort reports whether block holds the lengths of a stored block (RFC 1951,
// 3.2.4) that ends just so many bytes behind it as lastBlock has.
func cutShort(block []byte) bool {
	for p := 0; p+4 <= len(block); p++ {
		n := binary.LittleEndian.Uint16(block[p:])
		if binary.LittleEndian.Uint16(block[p+2:]) == ^n && p+4+int(n) == len(block)+len(lastBlock) {
			return true
		}
	}
	return false
}

// remember appends p to the history, of which at least the last 32 KiB stay.
func (d *inflater) remember(p []byte) {
	if len(p) > flateWindow {
		d.history, p = d.history[:0], p[len(p)-flateWindow:]
	}
	if len(d.history)+len(p) > 2*flateWindow && len(d.history) > flateWindow {
		n := copy(d.history, d.history[len(d.history)-flateWindow:])
		d.history = d.history[:n]
	}
	d.history = append(d.history, p...)
}

// dictionaryID is the Adler-32 of the dictionary.
const dictionaryID = 0xe3c6a7c2

// Errors of a block that is sound zlib but not a sound list of pairs: they end
// the stream, not the session.
var (
	errBlockLength = malformed("header block: counts and lengths do not fit its size")
	errBlockPairs  = fmt.Errorf("%w: too many names or values", ErrHeaderTooLarge)
	errBlockSize   = fmt.Errorf("%w: too many bytes", ErrHeaderTooLarge)
	errBlockName   = fmt.Errorf("%w: a name of too many bytes", ErrHeaderTooLarge)
	errNameTwice   = malformed("header block: a name stands twice")
	errName        = malformed("header block: bad name")
	errValue       = malformed("header block: bad value")
)

// parsePairs splits a decoded block and checks names, of maxName bytes at most, and
// values. The fields are appended to dst and share block's memory.
func parsePairs(dst []field, block string, maxPairs, maxName int) ([]field, error) {
	if len(block) == 0 {
		return dst, nil
	}
	count, rest, ok := cutUint32(block)
	// A pair takes at least its two lengths and one byte of name.
	if !ok || uint64(count)*9 > uint64(len(rest)) {
		return dst, errBlockLength
	}
	if int(count) > maxPairs {
		return dst, errBlockPairs
	}
	first, parts := len(dst), 0
	var bad error
	for range count {
		var f field
		if f.name, rest, ok = cutString(rest); !ok {
			return dst, errBlockLength
		}
		if f.value, rest, ok = cutString(rest); !ok {
			return dst, errBlockLength
		}
		parts += 1 + strings.Count(f.value, "\x00") // each becomes a line
		if parts > maxPairs {
			bad = errBlockPairs
		} else if len(f.name) > maxName {
			bad = errBlockName
		} else if !validName(f.name) && bad == nil {
			bad = errName
		} else if !validValue(f.value) && bad == nil {
			bad = errValue
		}
		dst = append(dst, f)
	}
	if len(rest) != 0 {
		return dst, errBlockLength
	}
	if bad != nil {
		return dst, bad
	}
	if repeatsName(dst[first:]) {
		return dst, errNameTwice
	}
	return dst, nil
}

func cutUint32(s string) (v uint32, rest string, ok bool) {
	if len(s) < 4 {
		return 0, s, false
	}
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3]), s[4:], true
}

// cutString takes a 32-bit length and that many bytes off the front of s.
func cutString(s string) (v, rest string, ok bool) {
	n, s, ok := cutUint32(s)
	if !ok || uint64(n) > uint64(len(s)) {
		return "", s, false
	}
	return s[:n], s[n:], true
}

// validName: printable ASCII, no upper case, a colon only in front. Draft 3.1,
// 2.6.10 asks for lower case; the rest keeps a name from becoming another
// header's line on an HTTP/1.1 connection behind us.
func validName(name string) bool {
	if name == "" || name == ":" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' || c == ':' && i > 0 {
			return false
		}
	}
	return true
}

// validValue: parts of at least one byte, one NUL between them, or nothing at
// all (draft 3.1, 2.6.10); no other control byte than TAB.
func validValue(v string) bool {
	nul := true // as if one stood in front
	for i := range len(v) {
		c := v[i]
		if c == 0 {
			if nul {
				return false
			}
			nul = true
			continue
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
		nul = false
	}
	return !nul || v == ""
}

// repeatsName reports whether a name stands twice.
func repeatsName(fields []field) bool {
	if len(fields) <= 32 {
		for i, f := range fields {
			for _, g := range fields[:i] {
				if f.name == g.name {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(fields))
	for _, f := range fields {
		if _, twice := seen[f.name]; twice {
			return true
		}
		seen[f.name] = struct{}{}
	}
	return false
}

// pairs is a decoded block under construction: its count, then the pairs.
type pairs struct {
	b []byte
	n uint32
}

func (p *pairs) reset() {
	p.b = append(p.b[:0], 0, 0, 0, 0)
	p.n = 0
}

// add appends a pair whose name is in lower case.
func (p *pairs) add(name, value string) {
	p.b = binary.BigEndian.AppendUint32(p.b, uint32(len(name)))
	p.b = append(p.b, name...)
	p.b = binary.BigEndian.AppendUint32(p.b, uint32(len(value)))
	p.b = append(p.b, value...)
	p.n++
	binary.BigEndian.PutUint32(p.b, p.n)
}

// deflater is the sending half of one direction's zlib stream.
// Owned by the session's writer.
type deflater struct {
	level   int
	started bool
	zw      *zlib.Writer // nil at level 0
	buf     bytes.Buffer
}

// appendBlock appends the compressed form of block to dst. At level 0 the
// stored blocks are written straight out: no compressor is needed.
func (d *deflater) appendBlock(dst, block []byte) []byte {
	if d.level == 0 {
		if !d.started {
			d.started = true
			dst = append(dst, 0x78, 0x3f)
			dst = binary.BigEndian.AppendUint32(dst, dictionaryID)
		}
		for len(block) > 0 {
			n := min(len(block), 0xffff)
			dst = append(dst, 0)
			dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
			dst = binary.LittleEndian.AppendUint16(dst, ^uint16(n))
			dst = append(dst, block[:n]...)
			block = block[n:]
		}
		dst = append(dst, 0)
		return append(dst, syncFlush...)
	}
	if d.zw == nil {
		// Config has made the level one of zlib's.
		d.zw, _ = zlib.NewWriterLevelDict(&d.buf, d.level, []byte(dictionary))
	}
	d.buf.Reset()
	d.zw.Write(block) // a bytes.Buffer takes everything
	d.zw.Flush()
	return append(dst, d.buf.Bytes()...)
}

// describeBlock renders a decoded block for a trace, with secrets hidden.
func describeBlock(block string) string {
	fields, err := parsePairs(nil, block, len(block), len(block))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch f.name {
		case "cookie", "set-cookie", "authorization", "proxy-authorization":
			fmt.Fprintf(&b, "%s=(%d bytes hidden)", f.name, len(f.value))
		default:
			fmt.Fprintf(&b, "%s=%q", f.name, f.value)
		}
	}
	return b.String()
}
