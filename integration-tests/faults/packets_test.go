//go:build linux

package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"
)

// sample is a packet from 10.77.1.2 port 40000 to 10.77.1.1 port 443 that carries
// "hello". Its checksums are of another program.
func sample(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString("4500002d000040004006242f0a4d01020a4d0101" + "9c4001bb00000001000000015018ffffb75b0000" + "68656c6c6f")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestChecksums(t *testing.T) {
	b := sample(t)
	if checksum(b[:20], 0) != 0 {
		t.Errorf("the sample's own header sums up to %#x", checksum(b[:20], 0))
	}
	p, ok := parsePacket(b)
	if !ok || string(p.payload()) != "hello" {
		t.Fatalf("not understood: %v, %q", ok, p.payload())
	}
	p.sum()
	if want := sample(t); !bytes.Equal(b, want) {
		t.Errorf("got  %x\nwant %x", b, want)
	}
	for n := range b {
		parsePacket(b[:n]) // must not panic
	}
	for _, bad := range [][]byte{nil, make([]byte, 60), append(sample(t), 0)} {
		if _, ok := parsePacket(bad); ok {
			t.Errorf("%x is taken", bad)
		}
	}
}

// lineEnd is a file that takes what a line writes.
func lineEnd(t *testing.T) (write *os.File, read func() []byte) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, func() []byte {
		r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		got, _ := io.ReadAll(r)
		return got
	}
}

func TestPacketLine(t *testing.T) {
	addr := netip.MustParseAddr
	line := func() *packetLine {
		return &packetLine{own: addr("10.77.1.2"), outside: addr("10.77.1.100"), rand: rand.New(rand.NewPCG(1, 1))}
	}
	translated := sample(t)
	p, _ := parsePacket(translated)
	p.setAddr(12, addr("10.77.1.100"))
	p.sum()
	to, read := lineEnd(t)

	l := line()
	l.one(up, to, sample(t))
	if got := read(); !bytes.Equal(got, translated) {
		t.Errorf("up came\n%x, want\n%x", got, translated)
	}
	back := sample(t)
	p, _ = parsePacket(back)
	p.setAddr(12, addr("10.77.1.1"))
	p.setAddr(16, addr("10.77.1.100"))
	l.one(down, to, bytes.Clone(back))
	if got, ok := parsePacket(read()); !ok || got.addr(16) != l.own {
		t.Errorf("down came %v, want a packet to c's own address", got)
	}
	l.rebind(addr("10.77.1.101"))
	l.one(down, to, bytes.Clone(back))
	l.lose(addr("10.77.1.1"))
	l.one(up, to, sample(t))
	l.lose(netip.Addr{})
	l.set(weather{dark: true})
	l.one(up, to, sample(t))
	l.set(weather{lose: 1})
	l.one(up, to, sample(t))
	if got := read(); len(got) > 0 {
		t.Errorf("%x came of what has no way", got)
	}
	l.set(weather{twice: 1})
	l.one(up, to, sample(t))
	if got := read(); len(got) != 2*len(translated) {
		t.Errorf("%d bytes came, want two packets", len(got))
	}
	l.set(weather{falsify: 1})
	l.one(up, to, sample(t))
	if got, ok := parsePacket(read()); !ok || string(got.payload()) == "hello" || checksum(got.b[:20], 0) != 0 {
		t.Errorf("%q came, want another payload", got.payload())
	}
	l.set(weather{late: 1})
	l.one(up, to, sample(t))
	l.all.Wait()
	if got := read(); len(got) != len(translated) {
		t.Errorf("%d bytes came late, want a packet", len(got))
	}
}
