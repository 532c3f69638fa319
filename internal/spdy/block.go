package spdy

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A block may inflate to bombFactor times MaxHeaderBytes, and at least to bombLeast
// and to twice its own size, into nothing beyond MaxHeaderBytes, before the session
// is ended.
const (
	bombFactor = 16
	bombLeast  = 1 << 20
)

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

// A name/value block (draft 3.1, 2.6.10) travels in one zlib stream a
// direction, shared by all frames of the session that carry one, and ends on a
// SYNC_FLUSH.

// field is one name/value pair of a block; value holds NUL between its parts.
type field struct{ name, value string }

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
