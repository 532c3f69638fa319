package spdytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDictionary(t *testing.T) {
	d := Dictionary()
	const want = "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
	if got := hex.EncodeToString(func() []byte { s := sha256.Sum256(d); return s[:] }()); len(d) != 1423 || got != want {
		t.Errorf("dictionary: got %d bytes, SHA-256 %s, want 1423 and %s", len(d), got, want)
	}
}

// What the two blocks of vectorBlocks hold.
var vectorPairs = [2][]Pair{
	Request("GET", "/"),
	append(Request("GET", "/x?y=1"), Pair{"x-two", "a\x00b"}),
}

// Two blocks of one direction, at level 6 and at level 0.
var vectorBlocks = map[string][2]string{
	"level 6": {
		"78bbe3c6a7c2026525507ab442a45a77d71090a8554122b86c62d40725522bec0996d50a5a90b025ea95a48259ec56c5c04233175cb2669494141403000000ffff",
		"02c9e2b7824dbfc2bed2d690727b582b744bcaf3c1453b4312000000ffff",
	},
	"level 0": {
		`783fe3c6a7c20063009cff00000005000000073a6d6574686f6400000003474554000000053a70617468000000012f000000083a76657273696f6e
		00000008485454502f312e31000000053a686f737400000006612e74657374000000073a736368656d65000000056874747073000000ffff`,
		`00780087ff00000006000000073a6d6574686f6400000003474554000000053a70617468000000062f783f793d31000000083a76657273696f6e
		00000008485454502f312e31000000053a686f737400000006612e74657374000000073a736368656d6500000005687474707300000005782d74776f00000003610062000000ffff`,
	},
}

func TestInflaterReadsVectors(t *testing.T) {
	for name, blocks := range vectorBlocks {
		var d Inflater
		for i, block := range blocks {
			got, err := d.Inflate(unhex(t, block))
			if err != nil || !reflect.DeepEqual(got, vectorPairs[i]) {
				t.Errorf("%s, block %d: got %q, %v, want %q", name, i+1, got, err, vectorPairs[i])
			}
		}
	}
}

func TestInflaterReadsEveryLevel(t *testing.T) {
	for level := 0; level <= 9; level++ {
		w, r := NewDeflater(level), new(Inflater)
		for i := range 300 { // some 60 KiB: past zlib's window
			pairs := append(Request("GET", "/"+strings.Repeat("x", i)), Pair{"cookie", "a\x00b"})
			got, err := r.Inflate(w.Deflate(AppendBlock(nil, pairs...)))
			if err != nil || !reflect.DeepEqual(got, pairs) {
				t.Fatalf("level %d, block %d: got %q, %v, want %q", level, i, got, err, pairs)
			}
		}
	}
}

func TestInflaterRefuses(t *testing.T) {
	block := AppendBlock(nil, Request("GET", "/")...)
	two := func(first []byte) func(*Inflater) error {
		return func(r *Inflater) error {
			w := NewDeflater(6)
			if _, err := r.Inflate(w.Deflate(first)); err != nil {
				return err
			}
			_, err := r.Inflate(w.Deflate(block))
			return err
		}
	}
	for name, f := range map[string]func(*Inflater) error{
		"no flush": func(r *Inflater) error {
			_, err := r.Inflate(NewDeflater(6).Finish(block))
			return err
		},
		"no dictionary": func(r *Inflater) error {
			_, err := r.Inflate(NewDeflaterDict(6, nil).Deflate(block))
			return err
		},
		"other dictionary": func(r *Inflater) error {
			_, err := r.Inflate(NewDeflaterDict(6, []byte("other")).Deflate(block))
			return err
		},
		"surplus bytes":  two(append(bytes.Clone(block), 0xff, 0xff, 0xff)),
		"short of bytes": two(block[:len(block)-1]),
	} {
		if err := f(new(Inflater)); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// The bytes of section 10 of the protocol's reference.
var frameVectors = []struct {
	frame Frame
	wire  string
}{
	{Settings(7, 65536), "80030004 0000000c 00000001 00000007 00010000"},
	{Ping(1), "80030006 00000004 00000001"},
	{Rst(1, 5), "80030003 00000008 00000001 00000005"},
	{GoAway(3, 0), "80030007 00000008 00000003 00000000"},
	{WindowUpdate(0, 65536), "80030009 00000008 00000000 00010000"},
	{Data(1, "ok", Fin), "00000001 01000002 6f6b"},
	{Frame{Type: TypeSynStream, ID: 1, Flags: Fin, Priority: 3, Pairs: Request("GET", "/")},
		"80030001 0100004b 00000001 00000000 6000" + vectorBlocks["level 6"][0]},
}

func TestFrameVectors(t *testing.T) {
	for _, v := range frameVectors {
		wire := unhex(t, v.wire)
		var block []byte
		if at, ok := hasBlock(v.frame.Type); ok {
			block = wire[8+at:]
		}
		if got := v.frame.Append(nil, block); !bytes.Equal(got, wire) {
			t.Errorf("%v: encoded as %x, want %x", v.frame, got, wire)
		}
		got, err := new(reader).parse(wire)
		if err != nil || !v.frame.matches(got) {
			t.Errorf("%x: read as %v, %v, want %v", wire, got, err, v.frame)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	for name, wire := range map[string]string{
		"version 2":              "80020006 00000004 00000001",
		"PING of 8 bytes":        "80030006 00000008 00000001 00000000",
		"RST_STREAM of 4":        "80030003 00000004 00000001",
		"SETTINGS, count 2 of 1": "80030004 0000000c 00000002 00000007 00010000",
		"SYN_STREAM of 9":        "80030001 00000009 00000001 00000000 60",
		"a slot":                 "80030001 0100004b 00000001 00000000 6001" + vectorBlocks["level 6"][0],
		"unused priority bits":   "80030001 0100004b 00000001 00000000 6100" + vectorBlocks["level 6"][0],
		"PING with flags":        "80030006 01000004 00000001",
		"type 11":                "8003000b 00000000",
		"RST_STREAM, status 0":   "80030003 00000008 00000001 00000000",
		"DATA on stream 0":       "00000000 00000001 78",
	} {
		if f, err := new(reader).parse(unhex(t, wire)); err == nil {
			t.Errorf("%s: read as %v, want an error", name, f)
		}
	}
}

// What one codec writes the other reads, all kinds of frames in one session.
func TestCodecsAgree(t *testing.T) {
	frames := []Frame{
		Settings(4, 100, 7, 65536),
		{Type: TypeSynStream, ID: 1, Flags: Fin, Priority: 7, Pairs: vectorPairs[1]},
		SynReply(1, 0, append(Response("200 OK"), Pair{"set-cookie", "a\x00b"}, Pair{"empty", ""})...),
		Headers(1, Fin, Pair{"x-sum", "1"}),
		Data(1, strings.Repeat("x", 70000), 0), Data(1, "", Fin),
		Rst(1, 5), Ping(7), GoAway(3, 1), WindowUpdate(0, 1<<31-1),
		{Type: TypeSynStream, ID: 2, Assoc: 1, Flags: Unidirectional, Pairs: Request("GET", "/pushed")},
	}
	conn, _ := Pipe(PipeConfig{})
	p, moby := NewPeer(t, conn), NewMobyWriter()
	r, second := new(reader), new(reader)
	for _, f := range frames {
		if got, err := r.parse(p.Encode(f)); err != nil || !f.matches(got) {
			t.Errorf("own codec: %v is read as %v, %v", f, got, err)
		}
		wire, err := moby.Encode(f)
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		if got, err := second.parse(wire); err != nil || !f.matches(got) || len(got.Pairs) != len(f.Pairs) {
			t.Errorf("moby's framer: %v is read as %v, %v", f, got, err)
		}
	}
}
