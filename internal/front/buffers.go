package front

import "sync"

const (
	// copyBuffer is what a body is copied through. A whole copy costs less than
	// the system calls for the engine's smaller pieces.
	copyBuffer = 32 << 10

	// largeBuffer is the same for a visitor who has taken much: what it holds
	// fits into one packet of the system's (45 segments of 1448 bytes, one of
	// loopback's), which costs as much as a packet of half of it. That is for
	// HTTP/1 without TLS; the others' own pieces are smaller. A slow visitor
	// gets there too, if it stays: it then holds 32 KiB more.
	largeBuffer = 64<<10 - 512
	largeAfter  = 1 << 20
)

// buffers are for the bodies that are under way.
type buffers struct{ small, large sync.Pool }

func (b *buffers) get(large bool) []byte {
	if large {
		if p, ok := b.large.Get().(*[largeBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, largeBuffer)
	}
	if p, ok := b.small.Get().(*[copyBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, copyBuffer)
}

func (b *buffers) put(buf []byte) {
	if len(buf) == largeBuffer {
		b.large.Put((*[largeBuffer]byte)(buf))
	} else {
		b.small.Put((*[copyBuffer]byte)(buf))
	}
}
