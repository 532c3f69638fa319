package agent_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/agent"
)

// uplink is C's end of a connection over a slow line.
type uplink struct {
	*spdytest.Conn
	bytesPerSecond int
}

func (u uplink) Write(b []byte) (int, error) {
	<-time.After(time.Duration(len(b)) * time.Second / time.Duration(u.bytesPerSecond))
	return u.Conn.Write(b)
}

// One visitor with twenty downloads gets no more of C's line than another with
// one; and an urgent request of a third goes before both.
func TestVisitorsShareTheUplink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20
		p, c := spdytest.Pipe(spdytest.PipeConfig{})
		cfg := &spdy.Config{FairKey: agent.Visitor}
		server := cfg.NewServerSession(uplink{c, 1 << 20}, &http.Server{Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				n, _ := strconv.Atoi(r.URL.Query().Get("n"))
				w.Header().Set("Content-Length", strconv.Itoa(n))
				w.Write(make([]byte, n))
			})})
		client := (*spdy.Config)(nil).NewClientSession(net.Conn(p))
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve() })
		serving.Go(func() { client.Serve() })

		fetch := func(visitor string, n int, priority uint8, got *atomic.Int64) error {
			req, err := http.NewRequestWithContext(spdy.WithPriority(t.Context(), priority), "GET", fmt.Sprint("http://c.test/?n=", n), nil)
			if err != nil {
				return err
			}
			req.Header.Set("X-Forwarded-For", visitor)
			resp, err := client.RoundTrip(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			buf := make([]byte, 16<<10)
			for {
				m, err := resp.Body.Read(buf)
				got.Add(int64(m))
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		}

		var greedy, modest, urgent atomic.Int64
		var downloads sync.WaitGroup
		for range 20 {
			downloads.Go(func() { fetch("192.0.2.1", size, 3, &greedy) })
		}
		synctest.Wait() // the twenty are under way
		before := greedy.Load()
		start := time.Now()
		if err := fetch("192.0.2.2", size, 3, &modest); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		share := float64(modest.Load()) / float64(modest.Load()+greedy.Load()-before)
		t.Logf("beside twenty downloads, one of 4 MiB had %.1f %% of the line and took %v", 100*share, took)
		if share < 0.45 {
			t.Errorf("a visitor with one download got %.1f %% of the line beside one with twenty, want half", 100*share)
		}

		start = time.Now()
		if err := fetch("192.0.2.3", 256<<10, 0, &urgent); err != nil {
			t.Fatal(err)
		}
		// 256 KiB take a quarter of a second of this line; what the windows and
		// buffers already hold of the others goes before.
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("an urgent 256 KiB took %v of a line that moves them in 250ms", took)
		}

		client.Close()
		server.Close()
		downloads.Wait()
		serving.Wait()
	})
}
