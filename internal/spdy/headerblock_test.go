package spdy_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/amahi/spdy"
)

// A level that zlib does not have is brought to the nearest that it has.
func TestCompressionLevelOutOfRange(t *testing.T) {
	for _, level := range []int{-5, 10} {
		c := &spdy.Config{CompressionLevel: level}
		client, _ := pair(t, c, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
		resp, err := client.RoundTrip(request(t, "GET", "/", nil))
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "ok" || err != nil {
			t.Errorf("level %d: got %q, %v, want ok", level, b, err)
		}
	}
}
