//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// headSize is what a body says about itself, in bytes: its seed and its size.
const headSize = 16

// A body is noise that begins with what it is: whoever has one can tell whether it
// is whole, and which it is.
type body struct {
	seed uint64
	size int64 // in bytes, headSize at least
}

// reader returns the body from its beginning.
func (b body) reader() io.Reader {
	head := binary.BigEndian.AppendUint64(nil, b.seed)
	head = binary.BigEndian.AppendUint64(head, uint64(b.size))
	var seed [32]byte
	copy(seed[:], head)
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(rand.NewChaCha8(seed), b.size-headSize))
}

// file makes a file of the body that looks as if it had lain there for an hour: one
// of today's may change while it is sent.
func (b body) file(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, b.reader())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	past := time.Now().Add(-time.Hour)
	return os.Chtimes(name, past, past)
}

// wrong is an answer that looked right and was not: what must never be.
type wrong struct{ what string }

func (e *wrong) Error() string { return e.what }

func wrongf(format string, a ...any) error { return &wrong{fmt.Sprintf(format, a...)} }

// compare reads r to its end. Its error is a *wrong if a byte is not the body's, or
// if r has come to an end in good order before the body's or after it; else r's own.
func (b body) compare(r io.Reader) error {
	want := b.reader()
	got, due := make([]byte, 32<<10), make([]byte, 32<<10)
	var at int64
	for {
		n, err := r.Read(got)
		if at+int64(n) > b.size {
			return wrongf("there is more than the %d bytes of the body", b.size)
		}
		if _, err := io.ReadFull(want, due[:n]); err != nil {
			return err
		}
		if !bytes.Equal(got[:n], due[:n]) {
			return wrongf("bytes %d to %d of %d are not what was sent", at, at+int64(n)-1, b.size)
		}
		at += int64(n)
		switch {
		case err == io.EOF && at < b.size:
			return wrongf("it ends in good order after %d of %d bytes", at, b.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// identify reads r to its end, whatever body it is, and returns which. The error
// is as compare's.
func identify(r io.Reader) (body, error) {
	head := make([]byte, headSize)
	// Not by io.ReadFull, whose error for a short end is HTTP's for a broken body.
	for n := 0; n < headSize; {
		m, err := r.Read(head[n:])
		n += m
		if err == io.EOF && n < headSize {
			return body{}, wrongf("it ends in good order after %d bytes", n)
		}
		if err != nil && err != io.EOF {
			return body{}, err
		}
	}
	b := body{binary.BigEndian.Uint64(head), int64(binary.BigEndian.Uint64(head[8:]))}
	if b.size < headSize {
		return b, wrongf("it does not begin as any body does")
	}
	return b, b.compare(io.MultiReader(bytes.NewReader(head), r))
}

// identifyFile is identify for a file.
func identifyFile(name string) (body, error) {
	f, err := os.Open(name)
	if err != nil {
		return body{}, err
	}
	defer f.Close()
	return identify(f)
}
