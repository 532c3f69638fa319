package front

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"github.com/amahi/spdy-proxy/internal/accesslog"
)

func TestAccessLogOfRequests(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	s := newStage(t, func(c *Config) {
		c.AccessLog = accesslog.New(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return out.Write(p)
		}), accesslog.JSON)
	})
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		id := v.get(t, "/x").seen(t).Header.Get("X-Request-Id")
		rec := s.record(t)
		mu.Lock()
		defer mu.Unlock()
		var got struct {
			ID, Origin, URI, Proto string
			Stream                 uint32
			Session                uint64
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if got.ID != id || got.Origin != "@" || got.URI != "/x" || got.Stream == 0 || got.Stream != rec.Stream || got.Session != 1 {
			t.Errorf("got %+v, want the id %s and the stream %d", got, id, rec.Stream)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
