package spdy_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// endedStreams is more streams than anything could be expected to remember.
const endedStreams = 10100

// Requests that are given up while their answers are on the way do the session no
// harm, however many they are.
func TestAnswersToCancelledRequests(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		for range endedStreams {
			ctx, cancel := context.WithCancel(context.Background())
			c := h.start(h.request("GET", "/", nil).WithContext(ctx))
			id := h.wantSyn("a call").ID
			cancel()
			c.wantReset("given up", spdy.Cancel, false)
			h.p.Want("given up", rst(id, spdy.Cancel))
		}
		s := h.sender()
		body := bytesOf(200) // in all, more than the session's window at the start
		for id := uint32(1); id < h.next; id += 2 {
			h.p.Send(rep(id))
			s.send(id, body, 0)
			h.p.Send(headers(id, 0, nv("x-trailer", "1")), data(id, "", fin))
		}
		s.drain()
		if len(s.other) > 0 {
			h.Errorf("got %d frames, the first %v, want none but WINDOW_UPDATE", len(s.other), s.other[0])
		}
		if got, least := s.credit[0], endedStreams*len(body)-h.pre.SessionWindow/2; got < least || len(s.credit) != 1 {
			h.Errorf("got credit of %d bytes for the session, and for %d streams, want %d at least and none", got, len(s.credit)-1, least)
		}
		h.alive()
	})
}

// The same for a server: what comes for streams that it has reset is dropped, and
// one RST_STREAM answers for each that its peer has reset.
func TestBodiesOfEndedRequests(t *testing.T) {
	for _, test := range []struct {
		what string
		end  func(h *serverTest, id uint32) // ends the stream
		want bool                           // a RST_STREAM answers what follows
	}{
		{"reset here", func(h *serverTest, id uint32) {
			h.p.Send(post(id, "/block"), withFlags(data(id, "x"), 2))
			h.p.Want("DATA with a flag that does not exist", rst(id, spdy.ProtocolError))
		}, false},
		{"reset by the peer", func(h *serverTest, id uint32) { h.p.Send(post(id, "/block"), rst(id, spdy.Cancel)) }, true},
	} {
		t.Run(test.what, func(t *testing.T) {
			onServer(t, setup{}, func(h *serverTest) {
				h.arrived, h.ended = make(chan *http.Request, endedStreams), make(chan error, endedStreams)
				for i := range uint32(endedStreams) {
					test.end(h, 2*i+1)
					if i%500 == 0 {
						synctest.Wait() // for so many handlers to end
					}
				}
				s := h.sender()
				body := bytesOf(200)
				for range 2 {
					for i := range uint32(endedStreams) {
						s.send(2*i+1, body, 0)
						h.p.Send(headers(2*i+1, 0, nv("x-trailer", "1")))
					}
				}
				s.drain()
				next := uint32(1)
				for _, f := range s.other {
					if f.Type != spdytest.TypeRstStream || f.ID != next || spdy.Status(f.Value) != spdy.ProtocolError {
						h.Fatalf("got %v, want at most one RST_STREAM for each stream, the next for %d", f, next)
					}
					next += 2
				}
				if want := map[bool]int{true: endedStreams}[test.want]; len(s.other) != want {
					h.Errorf("got %d RST_STREAM, want %d", len(s.other), want)
				}
				if got, least := s.credit[0], 2*endedStreams*len(body)-h.pre.SessionWindow/2; got < least {
					h.Errorf("got credit of %d bytes for the session, want %d at least", got, least)
				}
				h.alive(2*endedStreams + 1)
			})
		})
	}
}

// What such streams may bring without a byte of DATA has a bound in time: each
// block has to be inflated.
func TestFramesForEndedStreamsAreBounded(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(rep(id), data(id, "", fin))
		c.wantBody("an answer", 200, "")
		sent := 0
		for ; sent < 30000; sent++ {
			if h.p.TrySend(headers(id, 0, nv("x-trailer", "1"))) != nil || h.s.Err() != nil {
				break
			}
			synctest.Wait()
		}
		if sent < 10000 || sent > 25000 {
			h.Errorf("the session ended after %d HEADERS for a stream that had ended, want 10000 to 25000", sent)
		}
		h.p.Want("one for the stream, then the session's end", rst(id, spdy.ProtocolError), goAway(0, 1))
	})
}

// So many requests that are given up while the connection takes nothing are no
// fault of the peer's.
func TestCancelledRequestsOnAStandingConnection(t *testing.T) {
	s := setup{config: spdy.Config{MaxConcurrentStreams: 10, WriteTimeout: -1}, pipe: spdytest.PipeConfig{Buffer: 4 << 10}}
	onClient(t, s, func(h *clientTest) {
		ctx, cancel := context.WithCancel(context.Background())
		var calls []*call
		for range 2000 { // the limit is 1024 frames, and four for each of 10 streams; the connection takes 256
			calls = append(calls, h.start(h.request("GET", "/", nil).WithContext(ctx)))
			h.wantSyn("a call")
		}
		cancel()
		for _, c := range calls {
			c.wantReset("given up", spdy.Cancel, false)
		}
		h.p.Send(ping(2))
		synctest.Wait()
		if err := h.s.Err(); err != nil {
			h.Fatalf("the session ended: %v", err)
		}
		h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypePing && f.ID == 2 }
		for range calls {
			if f := h.p.Next("given up"); f.Type != spdytest.TypeRstStream {
				h.Fatalf("got %v, want RST_STREAM", f)
			}
		}
		h.alive()
	})
}

// What waits for a peer that reads slowly is bounded by the requests that are
// open, not by those that were cancelled meanwhile, however they were answered.
func TestCancelledRequestsLeaveTheQueue(t *testing.T) {
	// The limit is 1024 frames, and four for each of 10 streams; the connection
	// itself takes 256 of 16 bytes.
	const rounds = 1600
	s := setup{config: spdy.Config{MaxConcurrentStreams: 10, WriteTimeout: -1}, pipe: spdytest.PipeConfig{Buffer: 4 << 10}}
	for what, ask := range map[string]func(h *serverTest, id uint32){
		"answered":            func(h *serverTest, id uint32) { h.p.Send(req(id, "/none")) },
		"answered and reset":  func(h *serverTest, id uint32) { h.p.Send(post(id, "/none"), withFlags(data(id, "x"), 2)) },
		"malformed":           func(h *serverTest, id uint32) { h.p.Send(spdytest.SynStream(id, fin, nv(":method", "GET"))) },
		"malformed and open":  func(h *serverTest, id uint32) { h.p.Send(spdytest.SynStream(id, 0, nv(":method", "GET"))) },
		"with a wrong flag":   func(h *serverTest, id uint32) { h.p.Send(withFlags(req(id, "/none"), 4)) },
		"with trailers":       func(h *serverTest, id uint32) { h.p.Send(req(id, "/trailers")) },
		"with credit":         func(h *serverTest, id uint32) { h.p.Send(post(id, "/count"), data(id, string(bytesOf(40<<10)))) },
		"refused, as of many": func(h *serverTest, id uint32) { h.p.Send(req(id, "/stuck")) },
	} {
		t.Run(what, func(t *testing.T) {
			onServer(t, s, func(h *serverTest) {
				stuck := make(chan struct{})
				defer close(stuck)
				h.mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
				h.mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) { w.Header().Set(http.TrailerPrefix+"X-End", "1") })
				h.mux.HandleFunc("/stuck", func(w http.ResponseWriter, r *http.Request) { <-stuck })
				for i := range uint32(rounds) {
					ask(h, 2*i+1)
					synctest.Wait()
					h.p.Send(rst(2*i+1, spdy.Cancel))
					synctest.Wait()
					if err := h.s.Err(); err != nil {
						h.Fatalf("after %d requests: the session ended: %v", i+1, err)
					}
				}
				for ok := true; ok; {
					_, ok = h.p.Poll(spdytest.Idle)
				}
				if what != "refused, as of many" {
					h.alive(2*rounds + 1)
				}
			})
		})
	}
}
