package front

import (
	"strings"
	"sync"
	"testing"
)

func TestIDs(t *testing.T) {
	seen := make(map[string]bool)
	var mu sync.Mutex // of seen
	for range 2 {
		var source ids
		source.seed()
		var making sync.WaitGroup
		for range 4 {
			// Ends after its ids, and is waited for.
			making.Go(func() {
				for range 1000 {
					id := source.next()
					mu.Lock()
					if seen[id] || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || !validID(id) {
						t.Errorf("id %q: 32 hexadecimal digits that were not there before are wanted", id)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		making.Wait()
	}
}
