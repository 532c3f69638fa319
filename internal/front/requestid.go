package front

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// newRequestID returns 128 random bits in hexadecimal digits. An id opens
// nothing: a visitor that guesses another's can confuse a log at most, and only a
// trusted proxy's are taken.
func newRequestID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	var text [32]byte
	return string(hex.AppendEncode(text[:0], id[:]))
}

// validRequestID reports whether a request id of someone else's can be passed on and
// logged.
func validRequestID(s string) bool {
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
