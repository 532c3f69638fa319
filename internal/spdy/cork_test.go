package spdy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a connection that keeps what is written to it, write by write.
type sink struct {
	net.Conn
	writes [][]byte
	err    error
	half   bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *sink) CloseWrite() error {
	s.half = true
	return nil
}

func TestCork(t *testing.T) {
	s := new(sink)
	c := Corkable(s)
	k := corkOf(c)
	if k == nil || corkOf(tls.Client(c, &tls.Config{})) != k || corkOf(s) != nil {
		t.Fatal("corkOf does not find the connection, or finds one that is not there")
	}
	write := func(n int) {
		t.Helper()
		if m, err := c.Write(bytes.Repeat([]byte{byte(n)}, n)); m != n || err != nil {
			t.Fatalf("Write of %d bytes: got %d, %v", n, m, err)
		}
	}
	want := func(what string, sizes ...int) {
		t.Helper()
		got := []int{}
		for _, w := range s.writes {
			got = append(got, len(w))
		}
		if len(got) != len(sizes) {
			t.Fatalf("%s: got writes of %v bytes, want %v", what, got, sizes)
		}
		for i := range got {
			if got[i] != sizes[i] {
				t.Fatalf("%s: got writes of %v bytes, want %v", what, got, sizes)
			}
		}
		s.writes = nil
	}
	write(10)
	write(20)
	want("nobody collects", 10, 20)
	k.cork()
	write(10)
	write(20)
	want("collected")
	if err := k.uncork(); err != nil {
		t.Fatal(err)
	}
	want("together", 30)
	write(5)
	want("and no more is collected", 5)
	k.cork()
	write(corkSize - 1)
	write(2)
	want("what does not fit goes out first", corkSize-1)
	write(corkSize + 1)
	want("in the order of the writes", 2, corkSize+1)
	if err := k.uncork(); err != nil {
		t.Fatal(err)
	}
	want("nothing was left")
	if c.(interface{ CloseWrite() error }).CloseWrite(); !s.half {
		t.Error("CloseWrite does not reach the connection")
	}

	s.err = errors.New("broken")
	k.cork()
	write(10)
	if err := k.uncork(); err != s.err {
		t.Errorf("uncork: got %v, want %v", err, s.err)
	}
	k.cork()
	write(10)
	if _, err := c.Write(make([]byte, corkSize)); err != s.err {
		t.Errorf("a Write that has no room: got %v, want %v", err, s.err)
	}
}

// On a slow line fewer bytes are collected at once.
func TestCorkLimit(t *testing.T) { synctest.Test(t, testCorkLimit) }

func testCorkLimit(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	s := newSession(Corkable(near), nil, nil)
	read := make(chan struct{})
	go func() { // ends when near is closed, and is waited for
		defer close(read)
		b := make([]byte, maxRecord)
		for {
			n, err := far.Read(b)
			if err != nil {
				return
			}
			<-time.After(time.Duration(n) * time.Microsecond) // 1 MB/s
		}
	}()
	for range 4 {
		if err := s.write(make([]byte, maxRecord)); err != nil {
			t.Fatal(err)
		}
	}
	if s.corked != 4*maxRecord || s.corkLimit != 4*maxRecord {
		t.Errorf("got %d bytes collected of %d, want all of %d", s.corked, s.corkLimit, 4*maxRecord)
	}
	if err := s.uncork(); err != nil {
		t.Fatal(err)
	}
	// The pipe gives each piece to its reader at once, but the last three wait
	// for 16 ms each.
	if s.corked != 0 || s.corkLimit > maxRecord {
		t.Errorf("got %d bytes collected, %d allowed, want 0, and at most %d: 64 KiB took 48 ms", s.corked, s.corkLimit, maxRecord)
	}
	near.Close()
	<-read
}
