package spdytest

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var _ net.Conn = (*Conn)(nil)

func readString(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read: got %q, %v, want %q", b, err, want)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); err != nil || n != len(s) {
		t.Fatalf("write of %d bytes: got %d, %v", len(s), n, err)
	}
}

func TestPipe(t *testing.T) {
	for _, test := range []struct {
		name   string
		config PipeConfig
		run    func(t *testing.T, a, b *Conn)
	}{
		{"both ways", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			write(t, a, "one")
			write(t, a, "two")
			write(t, b, "three")
			readString(t, b, "onetwo")
			readString(t, a, "three")
		}},
		{"read waits for a write", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			got := make(chan string)
			go func() {
				p := make([]byte, 10)
				n, _ := b.Read(p)
				got <- string(p[:n])
			}()
			synctest.Wait()
			write(t, a, "x")
			if s := <-got; s != "x" {
				t.Errorf("got %q, want x", s)
			}
		}},
		{"half close", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			write(t, a, "x")
			a.CloseWrite()
			readString(t, b, "x")
			if _, err := b.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read: got %v, want EOF", err)
			}
			write(t, b, "y")
			readString(t, a, "y")
			if _, err := a.Write([]byte("z")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after CloseWrite: got %v, want net.ErrClosed", err)
			}
		}},
		{"close delivers what was written", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			write(t, a, "x")
			a.Close()
			readString(t, b, "x")
			if _, err := b.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read: got %v, want EOF", err)
			}
			if _, err := b.Write([]byte("y")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write to a closed end: got %v, want EPIPE", err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read of a closed end: got %v, want net.ErrClosed", err)
			}
		}},
		{"close with unread input resets", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			write(t, b, "unread")
			write(t, a, "lost")
			a.Close()
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: got %v, want ECONNRESET", err)
			}
		}},
		{"reset", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			write(t, a, "lost")
			a.Reset()
			for _, c := range []*Conn{a, b} {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read: got %v, want ECONNRESET", err)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("write: got %v, want ECONNRESET", err)
				}
			}
		}},
		{"deadlines", PipeConfig{Buffer: 4}, func(t *testing.T, a, b *Conn) {
			start := time.Now()
			a.SetDeadline(start.Add(time.Hour))
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: got %v, want a timeout", err)
			}
			if d := time.Since(start); d != time.Hour {
				t.Errorf("read timed out after %v, want 1h", d)
			}
			a.SetWriteDeadline(start.Add(2 * time.Hour))
			n, err := a.Write([]byte("abcdef"))
			var timeout net.Error
			if n != 4 || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("write: got %d, %v, want 4 and a timeout", n, err)
			}
			readString(t, b, "abcd")
			a.SetDeadline(time.Time{})
			write(t, a, "g")
			readString(t, b, "g")
		}},
		{"a full buffer", PipeConfig{Buffer: 10}, func(t *testing.T, a, b *Conn) {
			big := strings.Repeat("0123456789abc", 100)
			done := make(chan error)
			go func() {
				_, err := io.WriteString(a, big)
				done <- err
			}()
			synctest.Wait()
			if n := b.Unread(); n != 10 {
				t.Errorf("got %d bytes in the buffer, want 10", n)
			}
			readString(t, b, big)
			if err := <-done; err != nil {
				t.Errorf("write: %v", err)
			}
		}},
		{"delay", PipeConfig{Delay: 25 * time.Millisecond}, func(t *testing.T, a, b *Conn) {
			start := time.Now()
			write(t, a, "x")
			readString(t, b, "x")
			write(t, b, "y")
			b.CloseWrite()
			readString(t, a, "y")
			if d := time.Since(start); d != 50*time.Millisecond {
				t.Errorf("round trip: got %v, want 50ms", d)
			}
			if _, err := a.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read: got %v, want EOF", err)
			}
		}},
		{"freeze", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			b.Freeze(true)
			write(t, a, "x")
			b.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read of a frozen end: got %v, want a timeout", err)
			}
			b.SetReadDeadline(time.Time{})
			b.Freeze(false)
			readString(t, b, "x")
		}},
		{"byte by byte", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			b.SetReadMax(1)
			write(t, a, "xyz")
			if n, err := b.Read(make([]byte, 3)); n != 1 || err != nil {
				t.Errorf("read: got %d, %v, want 1", n, err)
			}
		}},
		{"the writer's buffer is its own again", PipeConfig{}, func(t *testing.T, a, b *Conn) {
			p := []byte("x")
			a.Write(p)
			p[0] = 'y'
			readString(t, b, "x")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := Pipe(test.config)
				test.run(t, a, b)
			})
		})
	}
}

// Two scripted peers talk to each other.
func TestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(PipeConfig{})
		p, q := NewPeer(t, a), NewPeer(t, b)
		p.ByteByByte = true
		b.SetReadMax(1)
		p.Send(Settings(4, 0), WindowUpdate(0, 1000))
		if pre := q.WantPreface(); pre != (Preface{0, 65536, 66536}) {
			t.Errorf("preface: got %+v", pre)
		}
		req := SynStream(1, Fin, Request("GET", "/")...)
		p.Send(req, Ping(1))
		q.Want("in order", req, Ping(1))
		q.WantIdle("nothing more")

		q.Moby = NewMobyWriter()
		reply := SynReply(1, 0, Response("200")...)
		q.Send(reply, Data(1, "ok", Fin))
		p.Want("an answer", reply, Data(1, "ok", Fin))
		q.Close()
		p.WantEOF("closed")
	})
}

// A reset is of both ways at once: who sees it and says a last word is not heard.
func TestResetIsOfBothWays(t *testing.T) {
	a, b := Pipe(PipeConfig{})
	a.out.mu.Lock() // so that Reset has to wait in the middle
	var seen atomic.Bool
	var ends sync.WaitGroup
	ends.Go(a.Reset)
	ends.Go(func() { // ends with the reset
		_, err := a.Read(make([]byte, 1))
		seen.Store(true)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: got %v, want a reset", err)
		}
	})
	for range 10_000 {
		runtime.Gosched()
	}
	if seen.Load() {
		t.Error("one way is reset, and the other is not")
	}
	a.out.mu.Unlock()
	ends.Wait()
	if n, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end: got %d bytes, %v, want a reset", n, err)
	}
}
