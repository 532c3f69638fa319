package registry

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// epochLength is that of what newEpoch returns: the time and a random number.
const epochLength = 16 + 8

// newEpoch returns what tells one run of a node from another. Of two, the later one's
// is greater.
func newEpoch(now time.Time) string {
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x", uint64(now.UnixNano())) + hex.EncodeToString(b[:])
}

// stamp is a time of a node's clock, in microseconds since 1970.
func stamp(t time.Time) int64 { return t.UnixMicro() }
