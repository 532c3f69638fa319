package spdy

import (
	"errors"
	"io"
	"net"
	"testing"
)

// keeps is a writer that fails, or lies about how much it took, and goes on
// reading what it was given, as the writer of an HTTP/2 response may.
type keeps struct {
	n   int
	err error
	p   []byte
}

func (k *keeps) Write(p []byte) (int, error) {
	k.p = p
	return k.n, k.err
}

// What a body's WriteTo gave to a writer that failed is not used for another body.
func TestWriteToFails(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		what string
		w    keeps
		n    int64
		err  error
	}{
		{"nothing written", keeps{err: broken}, 0, broken},
		{"a part written", keeps{n: 3, err: broken}, 3, broken},
		{"all written, and an error", keeps{n: 10, err: broken}, 10, broken},
		{"more written than there is", keeps{n: 11}, 0, errInvalidWrite},
		{"less than nothing written", keeps{n: -1}, 0, errInvalidWrite},
	} {
		near, far := net.Pipe()
		s := newSession(near, nil, nil)
		st := s.newStream()
		copy(st.recv.buf.reserve(false), "0123456789")
		st.recv.buf.commit(10)
		st.recv.buf.end(io.EOF)
		c := st.recv.buf.list.head
		if n, err := st.writeBodyTo(&test.w); n != test.n || !errors.Is(err, test.err) {
			t.Errorf("%s: got %d, %v, want %d, %v", test.what, n, err, test.n, test.err)
		}
		if left := st.recv.buf.list.size; left != 10-int(test.n) {
			t.Errorf("%s: got %d bytes left, want %d", test.what, left, 10-test.n)
		}
		st.writeBodyTo(io.Discard) // does not change that
		st.recv.buf.abort(errBodyClosed)
		if !c.keep {
			t.Errorf("%s: the memory is free for another body, want it left to the writer", test.what)
		}
		s.Close()
		far.Close()
	}
}
