package spdy_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A handler that closes the request's body early still gets its response out
// whole, whatever the peer sends meanwhile.
func TestResponseOutlivesClosedBody(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			h.hold(w, r)
		})
		h.p.Send(post(1, "/early"))
		<-h.arrived
		credit, sent := h.pre.StreamWindow, 0
		for ; sent < 1<<20; sent += 16000 {
			for credit < 16000 {
				f, ok := h.p.Poll(spdytest.Idle)
				if !ok {
					break
				}
				if f.Type == spdytest.TypeRstStream {
					h.Fatalf("after %d bytes: got %v, want the response first", sent, f)
				}
				if f.Type == spdytest.TypeWindowUpdate && f.ID == 1 {
					credit += int(f.Value)
				}
			}
			if credit < 16000 {
				break
			}
			h.p.Send(data(1, string(bytesOf(16000))))
			credit -= 16000
		}
		if sent < 256<<10 || sent > 512<<10 {
			h.Errorf("the peer could send %d bytes, want some 256 KiB", sent)
		}
		close(h.release)
		m := h.collect("the response", 1).streams[1]
		h.checkResponse("the response", m, "200", "ok")
		if !m.fin {
			h.Errorf("the response: got no FIN")
		}
		h.p.Want("then the body is refused", rst(1, spdy.Cancel))
		h.alive(3)
	})
}

// A reply with the whole answer behind it is told with that, not before: whoever waits
// for it could not send both on at once. One with a part behind it does not wait.
func TestReplyWithItsBody(t *testing.T) {
	for _, test := range []struct {
		name  string
		cut   int // how many bytes of the DATA come later
		early bool
	}{{"whole", 0, false}, {"a part of it", 1, true}} {
		t.Run(test.name, func(t *testing.T) {
			var c *call
			onClient(t, setup{config: spdy.Config{Trace: func(f spdy.FrameInfo) {
				if f.Sent || f.Type != 0 {
					return
				}
				select {
				case <-c.done:
					if !test.early {
						t.Error("RoundTrip returned before the DATA was taken")
					}
				case <-time.After(time.Second):
					if test.early {
						t.Error("RoundTrip waits for DATA that has not come")
					}
				}
			}}}, func(h *clientTest) {
				var id uint32
				c, id = h.open("/")
				b := h.p.Encode(data(id, "body", fin))
				h.p.Send(rep(id), spdytest.Raw(b[:len(b)-test.cut]))
				time.Sleep(2 * time.Second)
				if test.cut > 0 {
					h.p.Send(spdytest.Raw(b[len(b)-test.cut:]))
				}
				c.wantBody("the answer", 200, "body")
			})
		})
	}
}

// A body tells whether Read would wait.
func TestBodyReady(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(rep(id))
		resp, err := c.wait()
		if err != nil {
			h.Fatal(err)
		}
		body := resp.Body.(interface {
			io.ReadCloser
			Ready() bool
			Await()
		})
		awaited := make(chan bool, 1)
		await := func() { // ends when something has come, and is waited for
			body.Await()
			awaited <- body.Ready()
		}
		want := func(what string, want bool) {
			h.Helper()
			synctest.Wait()
			if got := body.Ready(); got != want {
				h.Errorf("%s: got %t, want %t", what, got, want)
			}
		}
		want("nothing has come", false)
		go await()
		want("somebody waits", false)
		h.p.Send(data(id, "ab"))
		want("two bytes have come", true)
		if !<-awaited {
			h.Error("Await has returned before Ready")
		}
		body.Await()
		one := make([]byte, 1)
		body.Read(one)
		want("one was read", true)
		body.Read(one)
		want("both were read", false)
		go await()
		h.p.Send(data(id, "", fin))
		want("the end has come", true)
		if !<-awaited {
			h.Error("Await has returned before the end")
		}
		if n, err := body.Read(one); n != 0 || err != io.EOF {
			h.Errorf("Read at the end: got %d, %v", n, err)
		}
		want("the end was read", true)
		body.Close()
	})
}

// A response without a body ends for its reader before its stream does. One whose peer
// does not end it is given up with its Body.
func TestCloseWithoutBody(t *testing.T) {
	for _, test := range []struct{ method, status string }{{"HEAD", "200"}, {"GET", "204"}, {"GET", "304"}} {
		for _, ends := range []bool{true, false} {
			onClient(t, setup{}, func(h *clientTest) {
				c := h.start(h.request(test.method, "/", nil))
				id := h.wantSyn("a call").ID
				h.p.Send(spdytest.SynReply(id, 0, spdytest.Response(test.status)...))
				resp, err := c.wait()
				if err != nil {
					h.Fatal(err)
				}
				if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
					h.Errorf("got %q, %v, want no body", b, err)
				}
				resp.Body.Close()
				resp.Body.Close()
				time.Sleep(9 * time.Second)
				if ends {
					h.p.Send(data(id, "", fin))
				} else {
					h.p.WantIdle("before its time is over")
					time.Sleep(time.Second)
					h.p.Want("the end of what never ends", rst(id, spdy.Cancel))
				}
				time.Sleep(time.Minute)
				if n := h.s.InFlight(); n != 0 {
					h.Errorf("%s %s: %d streams in flight, want 0", test.method, test.status, n)
				}
				h.alive()
			})
		}
	}
}
