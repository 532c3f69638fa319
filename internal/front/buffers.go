package front

import "sync"

const (
	// copyBuffer is what a body is copied through. A whole copy costs less than
	// the system calls for the engine's smaller pieces.
	copyBuffer = 32 << 10

	// smallBuffer is for a body that is announced to fit into it: ten thousand at once
	// are most of what P holds then.
	smallBuffer = 4 << 10

	// largeBuffer is the same for a visitor who has taken much: what it holds
	// fits into one packet of the system's (45 segments of 1448 bytes, one of
	// loopback's), which costs as much as a packet of half of it. That is for
	// HTTP/1 without TLS; the others' own pieces are smaller. A slow visitor
	// gets there too, if it stays: it then holds 32 KiB more.
	largeBuffer = 64<<10 - 512
	largeAfter  = 1 << 20

	// frameBuffer is for a visitor whose connection has frames: with a frame's header (RFC
	// 9113, 4.1; SPDY/3.1, 2.2.2) it fills a record of TLS (RFC 8446, 5.1). A longer write
	// is sent in frames of 16 KiB, the last of which takes a record and a system call for
	// a few bytes; and what does not fit into a visitor's window is held meanwhile, by
	// thousands of streams at once.
	frameBuffer = 16<<10 - 9
)

// buffers are for the bodies that are under way.
type buffers struct{ small, frame, usual, large sync.Pool }

// get returns one of smallBuffer, frameBuffer, copyBuffer or largeBuffer bytes.
func (b *buffers) get(size int) []byte {
	switch size {
	case smallBuffer:
		return take[[smallBuffer]byte](&b.small)[:]
	case frameBuffer:
		return take[[frameBuffer]byte](&b.frame)[:]
	case largeBuffer:
		return take[[largeBuffer]byte](&b.large)[:]
	}
	return take[[copyBuffer]byte](&b.usual)[:]
}

func take[T any](pool *sync.Pool) *T {
	if p, ok := pool.Get().(*T); ok {
		return p
	}
	return new(T)
}

func (b *buffers) put(buf []byte) {
	switch len(buf) {
	case smallBuffer:
		b.small.Put((*[smallBuffer]byte)(buf))
	case frameBuffer:
		b.frame.Put((*[frameBuffer]byte)(buf))
	case largeBuffer:
		b.large.Put((*[largeBuffer]byte)(buf))
	default:
		b.usual.Put((*[copyBuffer]byte)(buf))
	}
}
