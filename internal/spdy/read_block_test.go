package spdy_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
)

// What HEADERS frames bring to one stream is bounded as one block is.
func TestHeadersAreBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		for i := range 8 {
			h.p.Send(headers(1, 0, nv(fmt.Sprint("x-", i), strings.Repeat("v", 10000))))
		}
		h.wantSE("80 kB of HEADERS", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		parts := strings.TrimSuffix(strings.Repeat("v\x00", 300), "\x00")
		h.p.Send(headers(1, 0, nv("x-a", parts)), headers(1, 0, nv("x-a", parts)))
		h.wantSE("600 parts of a name in two HEADERS", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
}

// A value's parts become lines of their own: they count as names do.
func TestPartsAreBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		parts := strings.TrimSuffix(strings.Repeat("v\x00", 600), "\x00")
		h.p.Send(req(1, "/ok", nv("x-a", parts)))
		h.wantSE("600 parts", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
}

// HEADERS that are not trailers.
func TestHeadersFrames(t *testing.T) {
	for name, run := range map[string]func(h *clientTest, c *call, id uint32){
		"a name that was sent before": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id, nv("x-a", "1")), headers(id, 0, nv("x-a", "2")), data(id, "ok"), headers(id, fin, nv("x-a", "3"), nv("x-b", "4")))
			c.wantBody("RFC 9110, 6.5: trailers are fields of their own", 200, "ok")
			if got := c.resp.Header["X-A"]; !reflect.DeepEqual(got, []string{"1"}) {
				h.Errorf("header: got %q, want 1", got)
			}
			if want := (http.Header{"X-A": {"2", "3"}, "X-B": {"4"}}); !reflect.DeepEqual(c.resp.Trailer, want) {
				h.Errorf("trailer: got %q, want %q", c.resp.Trailer, want)
			}
		},
		"a pseudo header": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 0, nv(":status", "200")))
			h.wantSE("no pseudo headers", id, spdy.ProtocolError)
			c.wantReset("the call", spdy.ProtocolError, false)
		},
		"an empty block": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), raw("80030008 00000004 00000001"), data(id, "ok", fin))
			c.wantBody("2.6.7: a block of length 0", 200, "ok")
		},
		"more headers before the body": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 0, nv("x-more", "1")), data(id, "ok", fin))
			c.wantBody("more headers", 200, "ok")
		},
		"after FIN": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), data(id, "ok", fin), headers(id, 0, nv("x-a", "1")))
			c.wantBody("what was whole", 200, "ok")
			h.wantSE("a stream that both sides ended", id, spdy.ProtocolError)
		},
		"with undefined flags": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 4, nv("x-a", "1")))
			h.wantSE("flags", id, spdy.ProtocolError)
			c.wantReset("the call", spdy.ProtocolError, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial(t, setup{}, func(h *clientTest) {
					c, id := h.open("/")
					run(h, c, id)
					h.alive()
				})
			})
		})
	}
}
