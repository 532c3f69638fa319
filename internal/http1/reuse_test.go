package http1

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// Nothing of a request or of its response is in the next one, which is made of it.
func TestReuse(t *testing.T) {
	const last = "GET /last HTTP/1.1\r\nHost: a\r\n\r\n"
	first := []string{
		"GET /a?b=c HTTP/1.1\r\nHost: b\r\nX-One: 1\r\nX-One: 2\r\nAccept: a\r\n\r\n",
		"GET http://u@b/%20?b HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD /a HTTP/1.1\r\nHost: b\r\nX-One: 1\r\n\r\n",
		"GET /a HTTP/1.0\r\nConnection: keep-alive\r\nX-One: 1\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi",
		"POST /unread HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi",
		"POST /a HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
		"POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nTrailer: X-Two\r\n\r\n2;x=y\r\nhi\r\n0\r\nX-Two: 2\r\n\r\n",
		"GET /trailers HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET /length HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET /204 HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET /taken HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET /deadline HTTP/1.1\r\nHost: b\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
	}
	theirs := http.Header{"X-Both": {"theirs"}, "Content-Length": {"62"}}
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/trailers":
			w.Header().Set("Trailer", "X-A")
			w.Header().Set("X-Mine", "1")
			io.WriteString(w, "body")
			w.Header().Set("X-A", "a")
			w.Header().Set(http.TrailerPrefix+"X-B", "b")
		case "/length":
			w.Header().Set("Content-Length", "4")
			w.Header().Set("Date", "never")
			io.WriteString(w, "body")
		case "/taken":
			w.Header().Set("X-Own", "1")
			w.Header().Set("X-Both", "own")
			x := w.(interface{ TakeHeader(http.Header) })
			x.TakeHeader(http.Header{"X-Other": {"2"}})
			x.TakeHeader(theirs)
			fmt.Fprint(w, w.Header())
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/deadline":
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Hour))
			io.WriteString(w, "body")
		default:
			if r.URL.Path != "/unread" {
				io.Copy(io.Discard, r.Body)
			}
			fmt.Fprintf(w, "%s %s %v %s %v %v %d %v %v %v %v ", r.Method, r.URL, r.URL.ForceQuery, r.Host, r.Proto, r.Close, r.ContentLength, r.TransferEncoding, r.Trailer, r.RequestURI, r.Context().Err())
			for _, name := range slices.Sorted(maps.Keys(r.Header)) {
				fmt.Fprintf(w, "%s=%q ", name, r.Header[name])
			}
			fmt.Fprint(w, w.Header())
		}
		reuse(w)
	}
	bubble(t, func(t *testing.T) {
		b := newBed(t, handler, nil)
		defer b.close()
		alone := func(request string) string {
			cl := b.dial(spdytest.PipeConfig{})
			defer cl.Close()
			cl.send(request)
			got, err := cl.take()
			if err != nil {
				t.Errorf("%q: %v", request, err)
			}
			return got
		}
		want := alone(last)
		if got := alone(first[11]); !strings.HasSuffix(got, "\r\n\r\nmap[Content-Length:[62] X-Both:[theirs] X-Other:[2] X-Own:[1]]") || !strings.Contains(got, "\r\nX-Both: theirs\r\nX-Other: 2\r\nX-Own: 1\r\n") {
			t.Errorf("a header that was taken: %q", got)
		}
		for _, a := range first {
			wantFirst := alone(a)
			for _, between := range []string{"", first[0], first[7]} {
				cl := b.dial(spdytest.PipeConfig{})
				cl.send(a)
				if got, _ := cl.take(); got != wantFirst {
					t.Errorf("%q: got %q, want %q", a, got, wantFirst)
				}
				if between != "" {
					cl.send(between)
					cl.take()
				}
				cl.send(last)
				if got, err := cl.take(); got != want || err != nil {
					t.Errorf("after %q, %q:\ngot  %q, %v\nwant %q", a, between, got, err, want)
				}
				cl.Close()
			}
		}
		if len(theirs) != 4 {
			t.Errorf("the header that was taken has become %v", theirs)
		}
	})
}

// What a handler has not let go, or somebody has asked for, is not used again.
func TestKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var kept []*http.Request
		var writers []http.ResponseWriter
		ended := 0
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			kept, writers = append(kept, r), append(writers, w)
			switch r.URL.Path {
			case "/done":
				r.Context().Done()
				reuse(w)
			case "/after":
				context.AfterFunc(r.Context(), func() { ended++ })
				reuse(w)
			case "/many":
				for i := range maxKeptHeader + 1 {
					w.Header().Set(fmt.Sprint("X-", i), "1")
				}
				reuse(w)
			case "/free":
				reuse(w)
			}
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		for _, path := range []string{"/kept", "/done", "/after", "/many", "/free", "/free", "/kept"} {
			cl.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nX-A: " + path + "\r\n\r\n")
		}
		synctest.Wait()
		for i, path := range []string{"/kept", "/done", "/after", "/many"} {
			if r := kept[i]; r.URL.Path != path || r.Header.Get("X-A") != path || r.Context().Err() == nil {
				t.Errorf("%s: the request has become %v", path, r)
			}
			if _, err := writers[i].Write([]byte("late")); err != errLate {
				t.Errorf("%s: a late Write returns %v", path, err)
			}
		}
		if ended != 1 {
			t.Errorf("%d were told of the end", ended)
		}
		if kept[4] != kept[5] || kept[5] != kept[6] {
			t.Error("a request that was let go was not used again")
		}
	})
}

// A connection that waits for long has nothing of its last request.
func TestParkedHasNoRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) { reuse(w) }, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(next)
		time.Sleep(4 * tick)
		synctest.Wait()
		b.s.mu.Lock()
		for c := range b.s.conns {
			if c.spare != nil {
				t.Error("it keeps what the next request would be made of")
			}
		}
		b.s.mu.Unlock()
	})
}

// A connection on which nothing has come yet holds no buffer, nor does a request that
// waits for its response, unless more has come behind it.
func TestWaitsWithoutBuffer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) { <-answer }, nil)
		defer b.close()
		for sent, want := range map[string]int{"": 0, next: 0, next + next: bufferSize} {
			cl := b.dial(spdytest.PipeConfig{})
			cl.send(sent)
			for c := range b.s.conns {
				c.in.mu.Lock()
				if got := len(c.in.buf); got != want {
					t.Errorf("%q: it holds %d bytes, want %d", sent, got, want)
				}
				c.in.mu.Unlock()
			}
			for range strings.Count(sent, next) {
				answer <- struct{}{}
			}
			synctest.Wait()
			cl.Close()
		}
	})
}
