package front

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// requestIDs are some that were made at once, and are given out one after another: one
// string less for each request. The zero value makes some when it is asked.
type requestIDs struct{ left string }

// idLength is that of 128 random bits in hexadecimal digits. idsAtOnce are as many as a
// log that keeps one may keep for it.
const (
	idLength  = 32
	idsAtOnce = 8
)

// next returns an id. It opens nothing: a visitor that guesses another's can confuse a
// log at most, and only a trusted proxy's are taken.
func (r *requestIDs) next() string {
	if r.left == "" {
		var ids [idsAtOnce * idLength / 2]byte
		for i := 0; i < len(ids); i += 8 {
			binary.BigEndian.PutUint64(ids[i:], rand.Uint64())
		}
		var text [idsAtOnce * idLength]byte
		hex.Encode(text[:], ids[:])
		r.left = string(text[:])
	}
	id := r.left[:idLength]
	r.left = r.left[idLength:]
	return id
}

// validRequestID reports whether a request id of someone else's can be passed on and
// logged.
func validRequestID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !httpfield.IsAlnum(c) && strings.IndexByte("-._~:/+=@", c) < 0 {
			return false
		}
	}
	return true
}
