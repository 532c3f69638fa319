package front

import (
	"testing"
	"time"
)

func TestRare(t *testing.T) {
	var r rare
	start := time.Now()
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {1, 0}, {59 * time.Second, 0}, {time.Minute, 3}, {time.Minute + 1, 0}, {time.Hour, 2}} {
		if got := r.happened(start.Add(c.at)); got != c.want {
			t.Errorf("at %v: a line about %d, want %d (0: no line)", c.at, got, c.want)
		}
	}
}
