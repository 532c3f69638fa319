package origin

import (
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
)

func TestTotals(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		for range 2 {
			f := newFake("f")
			f.stats = spdy.Stats{StreamsOpened: 2, BytesSent: 10, BytesReceived: 100}
			f.stats.ResetsReceived[spdy.Cancel] = 3
			b.register("films", "", f)
			synctest.Wait()
		}
		got := b.Totals()
		if got.Streams != 4 || got.BytesSent != 20 || got.BytesReceived != 200 || got.ResetsReceived[spdy.Cancel] != 6 {
			t.Errorf("Totals of one that ended and one that did not: %+v", got)
		}
	})
}
