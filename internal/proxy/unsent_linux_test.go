package proxy

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A slow reader gets little of its download into the kernel, beyond what is
// under way to it. A real socket: the kernel is what is asked.
func TestUnsent(t *testing.T) {
	ln, err := bind("front", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	slow, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slow.(*net.TCPConn).SetReadBuffer(4096)
	total := 0
	for {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Write(make([]byte, 16<<10))
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if limit := 1 << 20; total > limit {
		t.Errorf("%d bytes were taken for a reader who reads nothing, want at most %d", total, limit)
	}
}
