package spdy_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy/spdytest"
)

// What is written while the response's FIN goes out is not sent after it.
func TestNoDataAfterFin(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		r, w := io.Pipe()
		copied := make(chan error, 1)
		h.mux.HandleFunc("/late", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			rw.WriteHeader(200)
			// Outlives the handler, as it must not.
			go func() {
				_, err := io.Copy(rw, r)
				copied <- err
			}()
			synctest.Wait()
		})
		h.p.Send(post(1, "/late"))
		h.collect("the response", 1)
		io.WriteString(w, "late")
		w.Close()
		if err := <-copied; err == nil {
			h.Errorf("a write after the end: got no error")
		}
		h.p.WantIdle("nothing after FIN")
		h.alive(3)
	})
}

// The two directions of an upgraded stream are a connection: any number of
// goroutines may write to it.
func TestConcurrentWrites(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "count")
		w.WriteHeader(http.StatusSwitchingProtocols)
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	}))
	req := request(t, "GET", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "count")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	defer rw.Close()
	const writers, size = 8, 1 << 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			if n, err := rw.Write(make([]byte, size)); n != size || err != nil {
				t.Errorf("Write: got %d, %v, want %d", n, err, size)
			}
		})
	}
	wg.Wait()
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(rw); string(b) != fmt.Sprint(writers*size, " ", nil) || err != nil {
		t.Errorf("got %q, %v, want %d bytes to have come", b, err, writers*size)
	}
}

// What was flushed is not held back again by a small write behind it, though the window
// lets it out only then: nobody else would send it before the next Flush.
func TestFlushedIsNotHeldAgain(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
			w.Write(bytesOf(6000))
			w.(http.Flusher).Flush()
			w.Write([]byte("x"))
			io.Copy(io.Discard, r.Body)
		})
		h.p.Send(set(7, 0), post(1, "/events"))
		h.p.Want("the head", spdytest.SynReply(1, 0))
		h.p.WantIdle("there is no window")
		h.p.Send(wu(1, 65536))
		h.p.Want("what was flushed, and may take along what is behind it", data(1, string(bytesOf(6000))+"x"))
		h.p.Send(data(1, "", fin))
		h.p.Want("the end", data(1, "", fin))
	})
}
