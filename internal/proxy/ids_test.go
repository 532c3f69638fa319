package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// lastStreamIDs is the id with which a session starts that has n left.
func lastStreamIDs(n uint32) uint32 { return 1<<31 - 2*n + 1 }

// Stream ids run out while visitors ask, and one downloads: C is back on a new
// session before the old one has ended, and not one request is lost.
func TestStreamIDsRunOut(t *testing.T) {
	const workers, each = 8, 60
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.Drain = 100 * time.Millisecond })
	x.StartSessionsAt(lastStreamIDs(150))
	arrived, release := make(chan struct{}), make(chan struct{})
	y := startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/download" {
			w.Write(pattern(100_000))
			http.NewResponseController(w).Flush()
			close(arrived)
			<-release
			w.Write(pattern(100_000))
			return
		}
		hello("c").ServeHTTP(w, r)
	}), nil)

	download := async(deadline(t), transport(t, nil, false), "GET", x.url("/download"), nil)
	<-arrived

	rt := transport(t, nil, false)
	var asking sync.WaitGroup
	for i := range workers {
		asking.Go(func() { // ends when each has its answer
			for j := range each {
				path := fmt.Sprintf("/%d/%d", i, j)
				if j%2 == 0 {
					want(t, "a GET", fetch(deadline(t), rt, "GET", x.url(path), nil, nil), 200, "c GET "+path+" 0")
					continue
				}
				body := strings.Repeat("x", 1000+j)
				want(t, "a POST", fetch(deadline(t), rt, "POST", x.url(path), strings.NewReader(body), nil), 200, fmt.Sprintf("c POST %s %d", path, len(body)))
			}
		})
	}
	asking.Wait()
	if n := y.wire.dials(); n < 4 {
		t.Errorf("C dialled %d times, want once for each 150 requests", n)
	}
	if n := x.log.count("its stream ids are used up"); n < 3 || x.log.count("origin is leaving") != n {
		t.Errorf("P said %d times that stream ids are used up, and %d times that an origin leaves; want 3 of each or more", n, x.log.count("origin is leaving"))
	}
	if n := x.log.count("level=WARN") + y.log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings, want none", n)
	}
	if n := x.log.count("replaced by"); n != 0 {
		t.Errorf("%d sessions were replaced, and had a limit to finish", n)
	}

	close(release)
	a := <-download
	same(t, "the download of the first session", a.body, append(pattern(100_000), pattern(100_000)...))
	if a.err != nil {
		t.Errorf("the download of the first session: %v", a)
	}
}

// Until C is back, /readyz says so, and requests wait.
func TestReadyzWhenStreamIDsRanOut(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	x.StartSessionsAt(lastStreamIDs(2))
	arrived, release := make(chan struct{}), make(chan struct{})
	y := startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open" {
			close(arrived)
			<-release
		}
		hello("c").ServeHTTP(w, r)
	}), nil)
	open := async(deadline(t), transport(t, nil, false), "GET", x.url("/open"), nil)
	<-arrived
	y.wire.fail(errors.New("no way to P"))
	want(t, "the last request of the session", x.get("/last"), 200, "c GET /last")
	waitFor(t, "P not ready for the origin", func() bool {
		status, _ := x.adminGet("/readyz?origin=@")
		return status == 503
	})
	y.log.wait("connecting anew", 1)
	held := async(deadline(t), transport(t, nil, false), "GET", x.url("/held"), nil)
	waitFor(t, "a request that waits", func() bool { return x.metric("spdy_proxy_requests_held") == "1" })
	y.wire.fail(nil)
	want(t, "a request that waited", <-held, 200, "c GET /held")
	if status, _ := x.adminGet("/readyz?origin=@"); status != 200 {
		t.Errorf("/readyz after C is back: %d, want 200", status)
	}
	close(release)
	want(t, "a request that was open all the while", <-open, 200, "c GET /open")
}
