package front

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"sync"
)

// ids makes request ids: 128 bits of ChaCha8, which nobody guesses from others,
// at a fraction of what the system's source costs.
type ids struct {
	mu     sync.Mutex
	source rand.ChaCha8 // guarded by mu
}

// seed is called once, before next.
func (i *ids) seed() {
	var seed [32]byte
	cryptorand.Read(seed[:])
	i.source.Seed(seed)
}

func (i *ids) next() string {
	i.mu.Lock()
	high, low := i.source.Uint64(), i.source.Uint64()
	i.mu.Unlock()
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], high)
	binary.BigEndian.PutUint64(id[8:], low)
	var text [32]byte
	hex.Encode(text[:], id[:])
	return string(text[:])
}

// validID reports whether a request id of someone else's can be passed on and
// logged.
func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && strings.IndexByte("-._~:/+=@", c) < 0 {
			return false
		}
	}
	return true
}
