package spdy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// badLengths are values of content-length that are not one length.
var badLengths = []string{"+5", "-5", "5\x006", "5\x00+5", "5, 5", "5,6", " 5", "5 ", "", "0x5", "5.0", "5e0", "9223372036854775808", "five"}

// An answer whose content-length is not one length is no answer (RFC 9110, 8.6;
// RFC 9112, 6.3): where it ends is anybody's guess.
func TestAnswerWithBadContentLength(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		onClient(t, setup{}, func(h *clientTest) {
			for _, v := range badLengths {
				c := h.start(h.request(method, "/", nil))
				id := h.wantSyn("a call").ID
				h.p.Send(rep(id, nv("content-length", v)), data(id, "hello", fin))
				h.wantSE(fmt.Sprintf("%s: content-length %q", method, v), id, spdy.ProtocolError)
				_, err := c.wait()
				se, ok := errors.AsType[*spdy.StreamError](err)
				if !ok || se.Status != spdy.ProtocolError || se.Remote || !errors.Is(err, spdy.ErrMalformed) || !strings.Contains(err.Error(), "content-length") {
					h.Errorf("%s: content-length %q: got %v, want an ErrMalformed of this side that names it", method, v, err)
				}
			}
			for _, v := range []string{"5", "5\x005", "5\x005\x005", "0005"} {
				c := h.start(h.request(method, "/", nil))
				id := h.wantSyn("a call").ID
				if method == "HEAD" {
					h.p.Send(rep(id, nv("content-length", v)), data(id, "", fin))
					c.wantBody("HEAD", 200, "")
				} else {
					h.p.Send(rep(id, nv("content-length", v)), data(id, "hello", fin))
					c.wantBody("GET", 200, "hello")
				}
				if got := c.resp.Header["Content-Length"]; c.resp.ContentLength != 5 || len(got) != 1 {
					h.Errorf("%s: content-length %q: got %d, %q, want 5, in one line", method, v, c.resp.ContentLength, got)
				}
			}
			h.alive()
		})
	}
}

// A request with such a content-length gets 400, and no handler.
func TestRequestWithBadContentLength(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		id := uint32(1)
		for _, v := range badLengths {
			h.p.Send(post(id, "/read", nv("content-length", v)), data(id, "hello", fin))
			m := h.collect(fmt.Sprintf("content-length %q", v), id).streams[id]
			h.checkResponse(fmt.Sprintf("content-length %q", v), m, "400", "")
			h.p.Want("its body is not wanted", rst(id, spdy.Cancel))
			id += 2
		}
		h.alive(id)
		if len(h.bodies) > 0 {
			h.Errorf("%d handlers ran", len(h.bodies))
		}
	})
}

// What a handler says of the length is sent only if the peer takes it.
func TestHandlersContentLengths(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Length"] = strings.Split(r.URL.Query().Get("length"), "|")
		io.WriteString(w, "hello")
	}))
	for _, method := range []string{"GET", "HEAD"} {
		for value, want := range map[string]int64{"5": 5, "5|5": 5, "5|6": -1, "+5": -1, "": -1, "-1": -1, "5, 5": -1} {
			req := request(t, method, "/?length="+strings.NewReplacer("+", "%2B", " ", "%20", "|", "%7C").Replace(value), nil)
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Errorf("%s, %q: %v", method, value, err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || method == "GET" && string(body) != "hello" {
				t.Errorf("%s, %q: got body %q, %v, want hello", method, value, body, err)
			}
			if got := resp.ContentLength; got != want && !(method == "GET" && want < 0 && got == 5) {
				t.Errorf("%s, %q: got length %d, want %d", method, value, got, want)
			}
		}
	}
}

// With a Config that says so, headers go both ways that are as large as the frame
// which the peer takes, in any number of lines.
func TestLargeHeaders(t *testing.T) {
	for _, level := range []int{0, 6} {
		conf := &spdy.Config{MaxHeaderBytes: 4 << 20, MaxHeaderPairs: 1 << 20, MaxPeerFrameSize: 2 << 20, CompressionLevel: level}
		client, server := pair(t, conf, conf, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, values := range r.Header {
				if strings.HasPrefix(name, "X-") {
					w.Header()[name] = values
				}
			}
			io.WriteString(w, "ok")
		}))
		all := map[string]http.Header{
			"a value of 65300 bytes":  {"X-A": {strings.Repeat("a", 65300)}},
			"a value of 1 MiB":        {"X-A": {strings.Repeat("b", 1<<20)}},
			"a name of 2000 bytes":    {"X-" + strings.Repeat("1", 2000): {"1"}},
			"2000 names":              names(2000),
			"20000 lines of one name": {"X-A": strings.Split(strings.Repeat("a ", 20000)+"a", " ")},
		}
		for what, header := range all {
			req := request(t, "GET", "/", nil)
			req.Header = header
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatalf("level %d: %s: %v", level, what, err)
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != "ok" || err != nil {
				t.Errorf("level %d: %s: got body %q, %v, want ok", level, what, body, err)
			}
			for name, values := range header {
				if got := resp.Header[name]; strings.Join(got, ",") != strings.Join(values, ",") {
					t.Errorf("level %d: %s: %.20s came back as %d values, want %d that are equal", level, what, name, len(got), len(values))
				}
			}
		}
		req := request(t, "GET", "/", nil)
		req.Header.Set("X-A", strings.Repeat("a", 2<<20))
		_, err := client.RoundTrip(req)
		if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.StreamID != 0 || !errors.Is(err, spdy.ErrHeaderTooLarge) {
			t.Errorf("level %d: 2 MiB: got %v, want an ErrHeaderTooLarge without a stream", level, err)
		}
		if err := errors.Join(client.Err(), server.Err()); err != nil {
			t.Errorf("level %d: the session: got %v, want it to go on", level, err)
		}
	}
}

func names(n int) http.Header {
	h := make(http.Header)
	for i := range n {
		h.Set(fmt.Sprint("X-", i), "1")
	}
	return h
}

// An answer whose headers are too large costs its own request alone, and says so.
func TestAnswerWithLargeHeaders(t *testing.T) {
	large := strings.Repeat("v", 100<<10)
	for what, config := range map[string]spdy.Config{"default limits": {}, "small limits": {MaxHeaderBytes: 4 << 10, MaxHeaderPairs: 10}} {
		onClient(t, setup{config: config}, func(h *clientTest) {
			for _, test := range []struct {
				what string
				pair []string
			}{
				{"100 KiB", []string{"x-a", large}},
				{"600 values", []string{"x-a", strings.TrimSuffix(strings.Repeat("v\x00", 600), "\x00")}},
			} {
				c, id := h.open("/")
				h.p.Send(rep(id, nv(test.pair[0], test.pair[1])))
				h.wantSE(what+": "+test.what, id, spdy.FrameTooLarge)
				_, err := c.wait()
				se, ok := errors.AsType[*spdy.StreamError](err)
				if !ok || se.Remote || se.StreamID != id || !errors.Is(err, spdy.ErrHeaderTooLarge) || errors.Is(err, spdy.ErrMalformed) {
					h.Errorf("%s: %s: got %v, want an ErrHeaderTooLarge of this side", what, test.what, err)
				}
			}
			h.alive()
		})
		// As they were stored: that is no bomb.
		onClient(t, setup{config: config}, func(h *clientTest) {
			h.p.Deflater = spdytest.NewDeflater(0)
			c, id := h.open("/")
			h.p.Send(rep(id, nv("x-a", large)))
			h.wantSE(what+": stored", id, spdy.FrameTooLarge)
			c.wantReset("stored", spdy.FrameTooLarge, false)
			h.alive()
		})
	}
	// A server does not send them: its peer could end the session for it.
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", large+large)
		io.WriteString(w, "ok")
	}))
	_, err := client.RoundTrip(request(t, "GET", "/", nil))
	if se, ok := errors.AsType[*spdy.StreamError](err); !ok || !se.Remote || !errors.Is(err, spdy.ErrHeaderTooLarge) {
		t.Errorf("not sent: got %v, want an ErrHeaderTooLarge of the peer's", err)
	}
}
