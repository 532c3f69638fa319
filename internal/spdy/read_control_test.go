package spdy_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

// spdy-transport forgets a stream when it has queued its FIN. It then answers a
// WINDOW_UPDATE with INVALID_STREAM, and sends that ahead of DATA.
func TestInvalidStreamOvertakesFin(t *testing.T) {
	half := string(bytesOf(40000))
	for _, test := range []struct {
		name string
		send func(id uint32) []frame
		body string
		err  bool
		took time.Duration
	}{
		{"the rest comes", func(id uint32) []frame {
			return []frame{rst(id, spdy.InvalidStream), data(id, "rest"), rst(id, spdy.InvalidStream), data(id, "", fin)}
		}, half + "rest", false, 0},
		{"it does not", func(id uint32) []frame { return []frame{rst(id, spdy.InvalidStream)} }, half, true, time.Second},
		{"another status", func(id uint32) []frame { return []frame{rst(id, spdy.Cancel)} }, half, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newClientTest(t, setup{})
				c, id := h.open("/")
				h.p.Send(rep(id), data(id, half))
				resp, err := c.wait()
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(half))
				if _, err := io.ReadFull(resp.Body, got); err != nil {
					t.Fatal(err)
				}
				h.p.Want("credit", wu(id, 40000))
				start := time.Now()
				h.p.Send(test.send(id)...)
				rest, err := io.ReadAll(resp.Body)
				if body := string(got) + string(rest); body != test.body || (err != nil) != test.err || time.Since(start) != test.took {
					t.Errorf("%d bytes, %v after %v, want %d, an error: %t after %v",
						len(body), err, time.Since(start), len(test.body), test.err, test.took)
				}
				h.alive()
				h.finish()
			})
		})
	}
	// Who was given no credit has nothing to answer.
	synctest.Test(t, func(t *testing.T) {
		h := newClientTest(t, setup{})
		c, id := h.open("/")
		h.p.Send(rep(id), data(id, "x"), rst(id, spdy.InvalidStream))
		start := time.Now()
		c.wantReset("INVALID_STREAM", spdy.InvalidStream, true)
		if d := time.Since(start); d != 0 {
			t.Errorf("the reset took %v", d)
		}
		h.finish()
	})
}

// On a slow line the rest takes its time, and is waited for as long as it comes.
func TestInvalidStreamOvertakesSlowRest(t *testing.T) {
	const piece, pause = 1000, 300 * time.Millisecond
	for _, whole := range []bool{true, false} {
		onClient(t, setup{}, func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id), data(id, string(bytesOf(40000))))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			io.ReadFull(resp.Body, make([]byte, 40000))
			h.p.Want("credit", wu(id, 40000))
			h.p.Send(rst(id, spdy.InvalidStream))
			for range 5 {
				time.Sleep(pause)
				h.p.Send(data(id, string(bytesOf(piece))))
			}
			start := time.Now()
			if whole {
				h.p.Send(data(id, "", fin))
			}
			rest, err := io.ReadAll(resp.Body)
			if len(rest) != 5*piece || (err == nil) != whole {
				h.Errorf("got %d bytes, %v, want %d, whole: %t", len(rest), err, 5*piece, whole)
			}
			if d := time.Since(start); d > 2*time.Second {
				h.Errorf("a sender that went silent was waited for %v, want 2s at most", d)
			}
			h.alive()
		})
	}
}
