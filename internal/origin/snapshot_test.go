package origin

import (
	"slices"
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

// One origin's sessions are those that a snapshot of all has of it.
func TestSessions(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		for _, name := range []Name{"films", "films", "", "books"} {
			b.register(name, "", newFake("f"))
		}
		synctest.Wait()
		infos := b.Snapshot()
		if len(infos) != 3 {
			t.Fatalf("%d origins, want 3", len(infos))
		}
		for _, info := range infos {
			if got := b.Sessions(info.Name); !slices.Equal(got, info.Sessions) || len(got) == 0 {
				t.Errorf("%s: got %v, want %v", info.Name, got, info.Sessions)
			}
		}
		if got := b.Sessions("nobody"); got != nil {
			t.Errorf("of nobody: %v", got)
		}
	})
}
