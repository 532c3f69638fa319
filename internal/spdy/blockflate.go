package spdy

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// syncFlush is what each block on the wire ends with: an empty stored block.
const syncFlush = "\x00\x00\xff\xff"

const flateWindow = 32 << 10

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

// Errors of a block whose compression is broken: the session cannot go on,
// since no later block could be read.
var (
	errBlockHeader = errors.New("header block: not a zlib stream with SPDY/3's dictionary")
	errBlockFlush  = errors.New("header block does not end on a flush")
	errBlockFinal  = errors.New("header block ends the zlib stream")
	errBlockBomb   = errors.New("header block inflates without end")
)
