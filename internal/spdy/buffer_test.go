package spdy

import (
	"errors"
	"io"
	"testing"
)

// An end that is known comes with the last bytes, so that nobody has to ask for it
// again; an error comes behind them, by itself.
func TestEndComesWithTheLastBytes(t *testing.T) {
	lost := errors.New("lost")
	for _, end := range []error{io.EOF, lost} {
		var b recvBuffer
		b.init()
		b.commit(copy(b.reserve(false), "abc"))
		b.end(end)
		p := make([]byte, 2)
		if n, _, err := b.read(p); n != 2 || err != nil {
			t.Errorf("before %v: %d bytes, %v; want 2 and no error", end, n, err)
		}
		wantErr := error(nil)
		if end == io.EOF {
			wantErr = io.EOF
		}
		if n, _, err := b.read(p); n != 1 || err != wantErr {
			t.Errorf("the last byte before %v: %d, %v; want 1, %v", end, n, err, wantErr)
		}
		if n, _, err := b.read(p); n != 0 || err != end {
			t.Errorf("behind it: %d, %v; want 0, %v", n, err, end)
		}
	}
}
