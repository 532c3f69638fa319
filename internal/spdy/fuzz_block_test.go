package spdy

import (
	"bytes"
	"compress/zlib"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/amahi/spdy/spdytest"
)

// FuzzHeaderBlock feeds the inflater two blocks of any bytes, behind one that
// is sound or as the first ones, and the parser what comes out. The judge is
// one compress/zlib reader over the whole stream.
func FuzzHeaderBlock(f *testing.F) {
	plain := spdytest.AppendBlock(nil, spdytest.Request("GET", "/x?y=1")...)
	for _, level := range []int{0, 1, 6, 9} {
		d := spdytest.NewDeflater(level)
		f.Add(false, d.Deflate(plain), d.Deflate(spdytest.AppendBlock(nil, spdytest.Response("200")...)))
		d.Reset()
		d.Deflate(plain)
		f.Add(true, d.Deflate(plain), d.Deflate(plain))
	}
	d := spdytest.NewDeflater(9)
	f.Add(false, d.Deflate(plain), d.Deflate(make([]byte, 2<<20)))
	d.Reset()
	f.Add(false, d.Finish(plain), []byte{0, 0, 0, 0xff, 0xff})
	f.Add(false, spdytest.NewDeflaterDict(6, nil).Deflate(plain), []byte{})
	f.Add(true, []byte{}, []byte{0, 0, 0, 0xff, 0xff})
	// What looks like the end of a block, as a value, and what a final block that is
	// cut short makes of it.
	end := spdytest.AppendBlock(nil, spdytest.Pair{Name: "x-end", Value: "a\x01\x00\x00\xff\xff"})
	d.Reset()
	f.Add(false, d.Deflate(end), d.Deflate(end))
	f.Add(true, []byte("\x01\x0a\x00\xf5\xffa\x00\x00\xff\xff"), []byte("\x01\x09\x00\xf6\xff\x00\x00\xff\xff"))

	const limit = 64 << 10
	first := spdytest.NewDeflater(6).Deflate(plain)
	f.Fuzz(func(t *testing.T, after bool, one, two []byte) {
		var d inflater
		var wire, out []byte
		blocks := [][]byte{one, two}
		if after {
			blocks = [][]byte{first, one, two}
		}
		for _, block := range blocks {
			got, tooLarge, err := d.inflate(block, limit)
			if err != nil {
				return // the session ends
			}
			if len(got) > limit || cap(d.history) > 8*flateWindow || cap(d.out) > 4*limit {
				t.Fatalf("got %d bytes, history of %d, buffer of %d: beyond the limit of %d", len(got), cap(d.history), cap(d.out), limit)
			}
			if tooLarge {
				return // got is not all of it: nothing to compare any more
			}
			wire = append(wire, block...)
			out = append(out, got...)
			checkParsed(t, string(got))
		}
		if len(wire) == 0 {
			return
		}
		zr, err := zlib.NewReaderDict(bytes.NewReader(wire), spdytest.Dictionary())
		if err != nil {
			t.Fatalf("compress/zlib takes not even the header of what was inflated: %v", err)
		}
		want, err := io.ReadAll(zr)
		if err != io.ErrUnexpectedEOF {
			t.Errorf("compress/zlib: got %v, want an end in the midst of the stream", err)
		}
		if !bytes.Equal(out, want) {
			t.Errorf("inflated %x, compress/zlib has %x", out, want)
		}
	})
}

// checkParsed parses a block and, if that is sound, makes it anew.
func checkParsed(t *testing.T, block string) {
	t.Helper()
	const limit = 512
	fields, err := parsePairs(nil, block, limit, 1<<10)
	if cap(fields) > 2*limit {
		t.Fatalf("got room for %d pairs, want %d at most", cap(fields), limit)
	}
	if err != nil || block == "" {
		return
	}
	var p pairs
	p.reset()
	names := make(map[string]bool)
	for _, f := range fields {
		if names[f.name] || f.name == "" || f.name != strings.ToLower(f.name) || strings.ContainsAny(f.value, "\r\n") {
			t.Errorf("got pair %q", f)
		}
		names[f.name] = true
		p.add(f.name, f.value)
	}
	if string(p.b) != block {
		t.Errorf("%q is made anew as %q", block, p.b)
	}
	for _, level := range []int{0, 1} {
		out := &deflater{level: level}
		var in inflater
		for range 2 {
			got, tooLarge, err := in.inflate(out.appendBlock(nil, p.b), 1<<20)
			if err != nil || tooLarge || string(got) != block {
				t.Errorf("level %d: %q comes back as %q, %v, %v", level, block, got, tooLarge, err)
			}
		}
	}
	again, err := parsePairs(nil, string(p.b), limit, 1<<10)
	if err != nil || !reflect.DeepEqual(again, fields) {
		t.Errorf("parsed anew: got %q, %v, want %q", again, err, fields)
	}
}
