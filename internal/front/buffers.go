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

	// h2Piece is the most that is written to an h2 visitor at once: with the header of
	// its frame (RFC 9113, 4.1) it fills a record of TLS (RFC 8446, 5.1). A longer write
	// is sent in frames of 16 KiB, each of which takes a record of 9 bytes more, and a
	// system call for that.
	h2Piece = 16<<10 - 9
)

// buffers are for the bodies that are under way.
type buffers struct{ small, usual, large sync.Pool }

// get returns one of smallBuffer, copyBuffer or largeBuffer bytes.
func (b *buffers) get(size int) []byte {
	switch size {
	case smallBuffer:
		return take[[smallBuffer]byte](&b.small)[:]
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
	case largeBuffer:
		b.large.Put((*[largeBuffer]byte)(buf))
	default:
		b.usual.Put((*[copyBuffer]byte)(buf))
	}
}
