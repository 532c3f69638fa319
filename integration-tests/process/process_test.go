package process

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("42 (a (b) c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 9 9 20 0 5 0 1000 0 0\n"))
	if err != nil || s.parent != 7 || s.cpu != 2*time.Second {
		t.Errorf("got %+v, %v; want parent 7 and 2 s", s, err)
	}
	for _, text := range []string{"", "42", "42 (x) S 7", "42 (x) S p 42 42 0 -1 4194560 100 0 0 0 150 50 9"} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v, want an error", text, s)
		}
	}
}

func TestParseSockstat(t *testing.T) {
	n, err := parseSockstat([]byte("sockets: used 42\nTCP: inuse 5 orphan 0 tw 9 alloc 7 mem 12\nUDP: inuse 1 mem 3\n"))
	if want := int64(12 * os.Getpagesize()); n != want || err != nil {
		t.Errorf("got %d, %v; want %d", n, err, want)
	}
	for _, text := range []string{"", "TCP:", "TCP: mem", "TCP: mem x", "UDP: inuse 1 mem 3\n"} {
		if n, err := parseSockstat([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d bytes, want an error", text, n)
		}
	}
}
