package front

import (
	"strings"
	"sync"
	"testing"
)

func TestRequestIDs(t *testing.T) {
	seen := make(map[string]bool)
	var mu sync.Mutex // of seen
	var making sync.WaitGroup
	for range 4 {
		// Ends after its ids, and is waited for.
		making.Go(func() {
			var ids requestIDs
			for range 1000 {
				id := ids.next()
				mu.Lock()
				if seen[id] || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || !validRequestID(id) {
					t.Errorf("id %q: 32 hexadecimal digits that were not there before are wanted", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	making.Wait()
}
