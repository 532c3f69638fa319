package front

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestShutdownLetsRequestsEnd(t *testing.T) {
	s := newStage(t, nil)
	started, finish := make(chan bool), make(chan bool)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		started <- true
		<-finish
		io.WriteString(w, "done")
	})
	v := s.visitors[0]
	answer := make(chan reply, 1)
	// Ends with its request, and is waited for.
	go func() { answer <- v.do(t, v.request(t, "GET", "/", nil)) }()
	await(t, "the request", started)
	s.h.Stop()
	ended := make(chan error, 1)
	// Ends when the request does, and is waited for.
	go func() { ended <- s.h.Shutdown(t.Context()) }()
	late := s.visitors[1].get(t, "/")
	late.wantRefusal(t, 503, reasonInternal)
	select {
	case err := <-ended:
		t.Errorf("Shutdown returned %v while a request was running", err)
	default:
	}
	close(finish)
	if got := await(t, "the answer", answer); got.body != "done" {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	if err := await(t, "Shutdown", ended); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// What is broken off before its answer has begun is answered, for as long as the visitor
// may take for that. What has begun is cut.
func TestShutdownAnswers(t *testing.T) {
	wait := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
	for _, test := range []struct {
		name, path     string
		window         uint32
		status         string
		whole, aborted bool
		took           time.Duration
	}{
		{"nothing was sent", "/slow", 1 << 16, "503", true, false, 0},
		{"nothing was sent, and the visitor takes no more than the headers", "/slow", 0, "503", false, false, LastAnswer},
		{"the answer has begun", "/begun", 1 << 16, "200", false, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 100, nil, wait, func(b *bubble) {
				b.conn = &fakeConn{crowded: true} // the handler waits for the end of what it has written
				v := b.h2("192.0.2.1", test.window)
				defer v.conn.Close()
				id := v.get(test.path)
				ctx, cancel := context.WithCancel(b.Context())
				cancel()
				start := time.Now()
				if err := b.h.Shutdown(ctx); err != context.Canceled {
					b.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(start); took != test.took {
					b.Errorf("Shutdown took %v, want %v", took, test.took)
				}
				if status, _ := v.status(id); status != test.status {
					b.Errorf("status %s, want %s", status, test.status)
				}
				whole := false
				for f := v.within(time.Second); f != nil && !whole; f = v.within(time.Second) {
					data, ok := f.(*http2.DataFrame)
					whole = ok && data.StreamEnded()
				}
				if whole != test.whole {
					b.Errorf("the answer looks whole: %v, want %v", whole, test.whole)
				}
				if r := <-b.records; r.Detail != errBrokenOff.Error() || r.Aborted != test.aborted {
					b.Errorf("record: %d, aborted %v, %q", r.Status, r.Aborted, r.Detail)
				}
			})
		})
	}
}

// Where nothing is running, nothing is broken off, however late it is.
func TestShutdownOfNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		h, _ := newIn(t, nil)
		if err := h.Shutdown(ctx); err != nil {
			t.Fatalf("got %v", err)
		}
	}
}

// An answer of P's own that is on its way is not cut: it is what is to be said.
func TestShutdownLetsOwnAnswersEnd(t *testing.T) {
	inBubble(t, 100, nil, func(http.ResponseWriter, *http.Request) {}, func(b *bubble) {
		b.conn = &fakeConn{crowded: true}
		b.table.Stop()
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		id := v.get("/")
		if status, _ := v.status(id); status != "503" {
			b.Fatalf("status %s", status)
		}
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		time.AfterFunc(LastAnswer/2, func() { v.WriteWindowUpdate(id, 1<<16) })
		b.h.Shutdown(ctx)
		synctest.Wait()
		if f, ok := v.within(time.Second).(*http2.DataFrame); !ok {
			b.Errorf("got %v, want the text", f)
		}
	})
}

// Whatever it waits for at P, before anything is sent to an origin.
func TestShutdownAnswersWhoWaits(t *testing.T) {
	users := loadHtpasswd(t, "anna:"+hash(t, "right"))
	for _, test := range []struct {
		name string
		edit func(*Config)
		ask  int // requests, the last of which waits
	}{
		{"for its turn", nil, 2},
		{"for its password to be checked", func(c *Config) { c.Auth = users }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 1, test.edit, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(b *bubble) {
				check := slowly(users)
				answers := make(chan int, test.ask)
				for range test.ask {
					// Ends with the answer.
					go func() {
						r := httptest.NewRequest("GET", "/", nil)
						r.SetBasicAuth("anna", "right")
						w, _ := serveIn(b.T, b.h, r)
						answers <- w.Code
					}()
					synctest.Wait()
				}
				ctx, cancel := context.WithCancel(b.Context())
				cancel()
				start := time.Now()
				b.h.Shutdown(ctx)
				for range test.ask {
					if got := <-answers; got != 503 {
						b.Errorf("got %d, want 503", got)
					}
				}
				if took := time.Since(start); took != 0 {
					b.Errorf("Shutdown took %v", took)
				}
				close(check.free)
			})
		})
	}
}

// A proxy that leaves serves what comes by open connections, and has each of
// HTTP/1 end.
func TestLeave(t *testing.T) {
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }
	inBubble(t, 100, nil, ok, func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		r := bufio.NewReader(conn)
		for _, leaving := range []bool{false, true} {
			if leaving {
				b.h.Leave()
			}
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Close != leaving {
				b.Fatalf("leaving %v: got %v, %v, want 200, and the connection's end %v", leaving, resp, err, leaving)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if _, err := r.ReadByte(); err != io.EOF {
			b.Errorf("after the last answer: %v, want EOF", err)
		}
	})
}

// Shutdown returns when the last request was reported, and not before: then the log is
// closed, and the connections, of which one of HTTP/1.0 must have been reset by itself if
// its answer was cut short.
func TestShutdownWaitsForReports(t *testing.T) {
	for name, test := range map[string]struct{ cut, late bool }{
		"it ends": {}, "it is cut off": {cut: true}, "the time is over while it is reported": {late: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reporting, reported, finish := make(chan bool), make(chan bool), make(chan bool)
				h, table := newIn(t, func(c *Config) {
					c.OnDone = func(*Record) {
						reporting <- true
						<-reported
					}
				})
				connectIn(t, table, func(w http.ResponseWriter, r *http.Request) {
					promptly{w}.Write([]byte("begun"))
					select {
					case <-finish:
					case <-r.Context().Done():
					}
				})
				// Both end with the request, and are waited for.
				served, ended := make(chan bool), make(chan error, 1)
				go func() {
					serveIn(t, h, httptest.NewRequest("GET", "/", nil))
					close(served)
				}()
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { ended <- h.Shutdown(ctx) }()
				synctest.Wait()
				if test.cut {
					cancel()
				} else {
					close(finish)
				}
				<-reporting
				if test.late {
					cancel()
				}
				synctest.Wait()
				if len(ended) > 0 {
					t.Error("Shutdown has returned, and a request is not reported")
				}
				close(reported)
				<-served
				if err := <-ended; (err != nil) != test.cut {
					t.Errorf("Shutdown: %v", err)
				}
				table.Shutdown(t.Context())
			})
		})
	}
}
