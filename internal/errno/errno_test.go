package errno

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

// What the system itself says is told by its name.
func TestIs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_, inUse := net.Listen("tcp", addr)
	ln.Close()
	_, refused := net.Dial("tcp", addr)
	_, elsewhere := net.Listen("tcp", "192.0.2.1:0")
	for _, tc := range []struct {
		err  error
		is   syscall.Errno
		want bool
	}{
		{inUse, syscall.EADDRINUSE, true},
		{refused, syscall.ECONNREFUSED, true},
		{elsewhere, syscall.EADDRNOTAVAIL, true},
		{fmt.Errorf("on the way: %w", refused), syscall.ECONNREFUSED, true},
		{fmt.Errorf("made: %w", syscall.ENOSPC), syscall.ENOSPC, true},
		{refused, syscall.EADDRINUSE, false},
		{io.EOF, syscall.EPIPE, false},
		{errors.New("connection refused"), syscall.ECONNREFUSED, false},
		{nil, syscall.EPIPE, false},
	} {
		if got := Is(tc.err, tc.is); got != tc.want {
			t.Errorf("Is(%v, %v) is %t", tc.err, tc.is, got)
		}
	}
}
