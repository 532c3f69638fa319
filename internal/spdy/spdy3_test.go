package spdy_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
)

// SPDY/3 between two sessions: no session window, either way.
func TestSPDY3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := spdy.Config{Version: spdy.SPDY3}
		l := link(t, longLine, c, c, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		body := bytesOf(1 << 20)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				got, err := io.ReadAll(l.fetch("POST", "/", bytes.NewReader(body)).Body)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("got %d bytes, %v, want the 1 MiB that was sent", len(got), err)
				}
			})
		}
		wg.Wait()
	})
}
