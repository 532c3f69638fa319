package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// period is the length of the block that every body repeats. It is a prime, so
// that a frame or record which is lost, doubled or moved shifts what follows.
const period = 65521

// A pattern is what bodies are made of: the byte at position n of any of them is
// that at n modulo period of one block of noise.
type pattern struct {
	twice []byte // the block two times, so that any stretch of up to one period is in one piece
	send  []byte // several whole blocks, for few and long writes
}

func newPattern() *pattern {
	block := make([]byte, period)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range block {
		// xorshift64: noise that is the same on every machine.
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		block[i] = byte(x >> 32)
	}
	return &pattern{twice: bytes.Repeat(block, 2), send: bytes.Repeat(block, 8)}
}

// check compares b with what stands at position at of a body.
func (p *pattern) check(b []byte, at int64) error {
	for len(b) > 0 {
		from := int(at % period)
		n := min(len(b), period)
		if !bytes.Equal(b[:n], p.twice[from:from+n]) {
			for i := range b[:n] {
				if b[i] != p.twice[from+i] {
					return &wrongBodyError{fmt.Sprintf("byte %d is %#02x, want %#02x", at+int64(i), b[i], p.twice[from+i])}
				}
			}
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// writeTo writes a body of size bytes.
func (p *pattern) writeTo(w io.Writer, size int64) error {
	for size > 0 {
		n := min(size, int64(len(p.send)))
		if _, err := w.Write(p.send[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// file makes a file of size bytes.
func (p *pattern) file(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := p.writeTo(f, size); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// wrongBodyError is a body that is not what was sent: the one thing that a fast
// program must not do.
type wrongBodyError struct{ what string }

func (e *wrongBodyError) Error() string { return "a wrong body: " + e.what }
