package http1

import (
	"testing"
	"unsafe"
)

// There are thousands of both, and a word more has each take what is next in the
// allocator's sizes.
func TestSizes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("words are not of 8 bytes")
	}
	if n := unsafe.Sizeof(conn{}); n > 512 {
		t.Errorf("a connection has %d bytes, want at most 512", n)
	}
	if n := unsafe.Sizeof(exchange{}); n > 768 {
		t.Errorf("an exchange has %d bytes, want at most 768", n)
	}
}
