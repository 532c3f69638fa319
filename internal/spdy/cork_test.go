package spdy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
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
	c = Corkable(s)
	k = corkOf(c)
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
	total := slowly(far)
	write := func() {
		t.Helper()
		if err := s.write(make([]byte, maxRecord)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		write()
	}
	if s.writer.corked != 3*maxRecord || s.writer.corkLimit != 4*maxRecord {
		t.Errorf("got %d bytes collected of %d, want %d of %d", s.writer.corked, s.writer.corkLimit, 3*maxRecord, 4*maxRecord)
	}
	write()
	// The pipe gives each piece to its reader at once, but the last three wait
	// for 16 ms each.
	if s.writer.corked != 0 || s.writer.corkLimit > maxRecord {
		t.Errorf("got %d bytes collected, %d allowed, want 0, and at most %d: 64 KiB took 48 ms", s.writer.corked, s.writer.corkLimit, maxRecord)
	}
	near.Close()
	<-total
}

// slowly reads conn at 1 MB/s until it is closed, and sends the count of bytes.
func slowly(conn net.Conn) <-chan int {
	total := make(chan int, 1)
	go func() { // ends when conn is closed; total is waited for
		n, b := 0, make([]byte, maxRecord)
		for {
			m, err := conn.Read(b)
			n += m
			if err != nil {
				total <- n
				return
			}
			<-time.After(time.Duration(m) * time.Microsecond)
		}
	}()
	return total
}

// Config.WriteTimeout is for a piece of some 64 KiB, not for all that is there to
// be written when the writer starts.
func TestCorkWriteTimeout(t *testing.T) { synctest.Test(t, testCorkWriteTimeout) }

func testCorkWriteTimeout(t *testing.T) {
	near, far := net.Pipe()
	s := newSession(Corkable(near), nil, &Config{WriteTimeout: 200 * time.Millisecond})
	total := slowly(far)
	ctx, cancel := context.WithCancel(context.Background())
	const requests, size = 16, 60000
	var calls sync.WaitGroup
	for range requests {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://host/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Large", strings.Repeat("x", size))
		calls.Go(func() { s.RoundTrip(req) })
	}
	synctest.Wait()
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	<-time.After(requests * size * time.Microsecond * 2)
	if err := s.Err(); err != nil {
		t.Errorf("the peer read 64 KiB in 64 ms, all the time: got %v", err)
	}
	cancel()
	far.Close()
	s.Close()
	calls.Wait()
	<-served
	if n := <-total; n < requests*size {
		t.Errorf("the peer got %d bytes, want %d and more", n, requests*size)
	}
}

// brittle is a layer above a cork whose writes fail after the first, as those of
// TLS do once it has sent an alert.
type brittle struct {
	net.Conn
	writes int
}

func (b *brittle) NetConn() net.Conn { return b.Conn }

func (b *brittle) Write(p []byte) (int, error) {
	if b.writes++; b.writes > 1 {
		return 0, errors.New("an alert was sent")
	}
	return b.Conn.Write(p)
}

// What was collected goes out even if nothing can follow it.
func TestCorkSendsWhatItHas(t *testing.T) { synctest.Test(t, testCorkSendsWhatItHas) }

func testCorkSendsWhatItHas(t *testing.T) {
	near, far := net.Pipe()
	s := newSession(&brittle{Conn: Corkable(near)}, nil, nil)
	total := slowly(far)
	var calls sync.WaitGroup
	for range 2 {
		req, err := http.NewRequest("GET", "http://host/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Large", strings.Repeat("x", 20000))
		calls.Go(func() { s.RoundTrip(req) })
	}
	synctest.Wait()
	s.Serve()
	calls.Wait()
	far.Close()
	if n := <-total; n < 20000 {
		t.Errorf("the peer got %d bytes, want the 20000 and more of the write that did not fail", n)
	}
}

// After a gap nothing more is sent: it would be read as something else.
func TestCorkEndsWithGap(t *testing.T) {
	s := &sink{err: errors.New("broken")}
	c := Corkable(s)
	k := corkOf(c)
	k.cork()
	if _, err := c.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := k.uncork(); err != s.err {
		t.Fatalf("uncork: got %v, want %v", err, s.err)
	}
	broken := s.err
	s.err = nil
	if _, err := c.Write([]byte("alert")); err != broken || len(s.writes) > 0 {
		t.Errorf("a Write after collected bytes were lost: got %v, and %q on the connection, want %v and nothing", err, s.writes, broken)
	}
}
