package spdy

import (
	"net/http"
	"testing"
	"time"
)

// Names beyond the limit are not looked at, good or bad: 70 000 of them are 200 bytes on
// the wire.
func TestTrailerNamesLookedAt(t *testing.T) {
	for value, want := range map[string]int{
		"a, a, b, c":               3,
		"a, (, ), b, c":            2,
		"(, ), content-length, ,a": 0,
	} {
		var trailer http.Header
		h := http.Header{"Trailer": {value, "z"}}
		announceTrailer(h, &trailer, 4)
		if len(trailer) != want || h["Trailer"] != nil {
			t.Errorf("%q: got %v, want %d names", value, trailer, want)
		}
	}
}

// Who echoes a PING late does not get windows for a line that long.
func TestLongestRoundTrip(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: 0, time.Microsecond: leastRTT, 50 * time.Millisecond: 50 * time.Millisecond, 10 * time.Second: longestRTT,
	} {
		p := pings{least: took}
		if got := p.roundTrip(); got != want {
			t.Errorf("a PING took %v: got %v, want %v", took, got, want)
		}
	}
}
