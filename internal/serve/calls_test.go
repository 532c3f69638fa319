package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// Where the disk does not answer, those that come wait without a thread each, and go on
// when it does.
func TestStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "a.txt", "alpha")
		h := newHandler(t, Config{Root: root})
		stalled := h.serve.(*folder).root.calls
		for range maxCalls {
			stalled.begin()
		}
		const visitors = 3 * maxCalls
		codes := make(chan int, visitors)
		for range visitors {
			// Ends with its answer; the bubble waits for it.
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/a.txt", nil))
				codes <- w.Code
			}()
		}
		synctest.Wait()
		if n := len(codes); n != 0 {
			t.Errorf("%d have an answer from a disk that gives none", n)
		}
		for range maxCalls {
			stalled.end()
		}
		for range visitors {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("got %d, want 200", code)
			}
		}
		if n := len(stalled); n != 0 {
			t.Errorf("%d calls are under way at the end", n)
		}
	})
}
