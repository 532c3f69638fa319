package serve

import (
	"testing"
	"time"

	"github.com/amahi/spdy/spdytest"
)

func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){
		"file of 1 KiB, kept in memory": func(b *testing.B) { benchmarkGet(b, 1<<10, 16<<10, time.Hour) },
		"file of 1 KiB":                 func(b *testing.B) { benchmarkGet(b, 1<<10, 16<<10, -time.Hour) },
		"file of 16 MiB":                func(b *testing.B) { benchmarkGet(b, 16<<20, 64<<10, time.Hour) },
	})
}
