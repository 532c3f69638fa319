package front

import (
	"testing"
	"unsafe"
)

// Of ten thousand requests at once each has an exchange, and a word more has it take
// what is next in the allocator's sizes: a fifth of a KiB.
func TestExchangeSize(t *testing.T) {
	if n := unsafe.Sizeof(exchange{}); unsafe.Sizeof(uintptr(0)) == 8 && n > 1536 {
		t.Errorf("an exchange has %d bytes, want at most 1536", n)
	}
}
