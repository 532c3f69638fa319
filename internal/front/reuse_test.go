package front

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/testabort"
)

// freed is a ResponseWriter that counts how often it was let go, and takes headers.
type freed struct {
	*httptest.ResponseRecorder
	n     int
	taken http.Header
}

func (w *freed) Reuse() { w.n++ }

func (w *freed) TakeHeader(h http.Header) { w.HeaderMap, w.taken = h, h }

// by is an origin that answers as trip does.
type by struct {
	canned
	trip func(*http.Request) (*http.Response, error)
}

func (b *by) Acquire(context.Context, origin.Query) (origin.Upstream, time.Duration, error) {
	return b, 0, nil
}

func (b *by) RoundTrip(r *http.Request) (*http.Response, error) { return b.trip(r) }

// An exchange is used again when nobody else can have a part of it, and only then;
// nothing of it is in the next one.
func TestLetGo(t *testing.T) {
	answer := func(status int, body io.Reader, edit func(*http.Response)) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{
				StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{"X-A": {"a"}}, ContentLength: -1, Body: io.NopCloser(body), Request: r,
			}
			if edit != nil {
				edit(resp)
			}
			return resp, nil
		}
	}
	text := func() io.Reader { return strings.NewReader("text") }
	many := http.Header{}
	for i := range maxKeptHeader + 1 {
		many[fmt.Sprint("X-", i)] = []string{"1"}
	}
	type first struct {
		name, method, target string
		header               http.Header
		body                 io.Reader
		from                 string // address
		trip                 func(*http.Request) (*http.Response, error)
		want                 int
	}
	failures := 0
	for _, f := range []first{
		{name: "plain", trip: answer(200, text(), nil), want: 1},
		{name: "all fields", target: "http://b.example/%20?q", header: http.Header{
			"Priority": {"u=1"}, "X-Request-Id": {"theirs"}, "X-Forwarded-For": {"192.0.2.77"}, "X-Forwarded-Host": {"c"}, "X-Forwarded-Proto": {"https"},
			"Via": {"1.1 x"}, "Te": {"trailers"}, "Referer": {"r"}, "User-Agent": {"u"}, "Connection": {"x-b"}, "X-B": {"b"}, "Cookie": {"a=b", "c=d"},
		}, from: "192.0.2.9:1", trip: answer(200, text(), nil), want: 1},
		{name: "HEAD", method: "HEAD", trip: answer(200, strings.NewReader(""), func(r *http.Response) { r.ContentLength = 4 }), want: 1},
		{name: "an error of the origin's", trip: answer(500, text(), nil), want: 1},
		{name: "trailers", trip: answer(200, text(), func(r *http.Response) { r.Trailer = http.Header{"X-T": {"t"}} }), want: 1},
		{name: "no host", target: "http://a..b/", want: 1},
		{name: "no method that is served", method: "TRACE", want: 1},
		{name: "Max-Forwards", method: "OPTIONS", header: http.Header{"Max-Forwards": {"0"}}, want: 1},
		{name: "many fields", header: many, trip: answer(200, text(), nil)},
		{name: "a body", method: "POST", body: text(), trip: answer(200, text(), nil)},
		{name: "a body that is not read", method: "TRACE", body: text()},
		{name: "an upgrade that does not come", header: http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}}, trip: answer(200, text(), nil)},
		{name: "a refused answer", trip: answer(700, text(), nil)},
		{name: "a failure", trip: func(*http.Request) (*http.Response, error) {
			return nil, &spdy.StreamError{StreamID: 1, Status: spdy.ProtocolError, Remote: true}
		}},
		{name: "a second attempt", trip: func(r *http.Request) (*http.Response, error) {
			if failures++; failures == 1 {
				return nil, &spdy.SessionError{Cause: spdy.ErrLost, NotProcessed: true}
			}
			return answer(200, text(), nil)(r)
		}},
		{name: "a late response", trip: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}},
		{name: "a body that is cut short", trip: answer(200, errReader{errCut}, nil)},
		{name: "somebody waits for the end", trip: func(r *http.Request) (*http.Response, error) {
			context.AfterFunc(r.Context(), func() {})
			return answer(200, text(), nil)(r)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var rec Record
			var seen string
			serve := func(h *Handler, r *http.Request) *freed {
				w := &freed{ResponseRecorder: httptest.NewRecorder()}
				testabort.Aborts(func() { h.ServeHTTP(w, r) })
				return w
			}
			// last makes a plain request, and returns all that can be seen of it.
			last := func(h *Handler, o *by) string {
				o.trip = func(r *http.Request) (*http.Response, error) {
					header := r.Header.Clone()
					delete(header, "X-Request-Id")
					seen = fmt.Sprint(r.Method, r.URL, r.Host, r.Close, r.ContentLength, r.Body, r.Trailer, header, r.Context().Err())
					return answer(200, text(), nil)(r)
				}
				w := serve(h, httptest.NewRequest("GET", "/last", nil))
				rec.Time, rec.RequestID = time.Time{}, ""
				return fmt.Sprintf("%s\n%d %v %q\n%+v", seen, w.Code, w.Header(), w.Body, rec)
			}
			begin := func(trip func(*http.Request) (*http.Response, error)) (*Handler, *by) {
				o := &by{trip: trip}
				h, err := New(Config{
					Origins: o, Hold: time.Second, ResponseTimeout: time.Second, OnDone: func(r *Record) { rec = *r },
					TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")},
				})
				if err != nil {
					t.Fatal(err)
				}
				return h, o
			}
			want := last(begin(nil))
			h, o := begin(f.trip)
			target := "/"
			if f.target != "" {
				target = f.target
			}
			r := httptest.NewRequest(f.method, target, f.body)
			if f.header != nil {
				r.Header = f.header
			}
			if f.from != "" {
				r.RemoteAddr = f.from
			}
			if w := serve(h, r); w.n != f.want {
				t.Errorf("%s: it was let go %d times, want %d", f.name, w.n, f.want)
			}
			if x, ok := h.spare.Get().(*exchange); ok { // under the race detector a pool loses some
				for field, value := range reflect.ValueOf(x).Elem().Fields() {
					if kept := field.Name == "header" || field.Name == "ids" || field.Name == "late"; !kept && !value.IsZero() {
						t.Errorf("%s: what is used again has its %s", f.name, field.Name)
					}
				}
				h.spare.Put(x)
			}
			if got := last(h, o); got != want {
				t.Errorf("after %s:\ngot  %s\nwant %s", f.name, got, want)
			}
			time.Sleep(time.Minute) // what goes on by itself has ended
		})
	}
}

// A timer that was used for another request before rings at this one's time.
func TestTimerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timer := new(responseTimer)
		for range 3 {
			ctx := newContext(t)
			timer.begin(10*time.Second, ctx)
			timer.start()
			time.Sleep(9 * time.Second)
			if !timer.stop() || ctx.Err() != nil {
				t.Fatalf("it has rung: %v", ctx.Err())
			}
		}
		ctx := newContext(t)
		timer.begin(10*time.Second, ctx)
		time.Sleep(time.Hour) // it is not started
		begun := time.Now()
		timer.start()
		<-ctx.Done()
		if took := time.Since(begun); took != 10*time.Second || timer.stop() {
			t.Errorf("it has rung after %v", took)
		}
	})
}

// The origin's header becomes the response's own where nothing in it is to be left out
// or written otherwise; else it is copied.
func TestPassHeader(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header http.Header
		want   string
		taken  bool
	}{
		"plain":             {200, http.Header{"Etag": {"a"}, "X-A": {"b", "c"}}, "map[Content-Type:[] Etag:[a] X-A:[b c]]", true},
		"hop by hop":        {200, http.Header{"Etag": {"a"}, "Keep-Alive": {"1"}}, "map[Content-Type:[] Etag:[a]]", false},
		"of WebSocket":      {200, http.Header{"Sec-Websocket-Version": {"13"}}, "map[Content-Type:[] Sec-WebSocket-Version:[13]]", false},
		"an upgrade wanted": {426, http.Header{"Upgrade": {"websocket"}}, "map[Connection:[Upgrade] Content-Type:[] Upgrade:[websocket]]", false},
	} {
		o := &by{trip: func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: test.status, Header: test.header, Body: http.NoBody, Request: r}, nil
		}}
		h, err := New(Config{Origins: o})
		if err != nil {
			t.Fatal(err)
		}
		w := &freed{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := fmt.Sprint(w.Header()); got != test.want || (w.taken != nil) != test.taken {
			t.Errorf("%s: got %s, taken %v", name, got, w.taken != nil)
		}
	}
}

// waits is a ResponseWriter whose Write waits, and counts how often it was let go.
type waits struct {
	freed
	taken chan struct{}
}

func (w *waits) Write(p []byte) (int, error) {
	<-w.taken
	return w.freed.Write(p)
}

// What sweep has found, and has not looked at again yet, is no other request's meanwhile.
func TestSweptIsNotLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, stalls := range []bool{false, true} {
			o := &by{trip: func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(strings.NewReader("text")), Request: r}, nil
			}}
			h, err := New(Config{Origins: o, Stall: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			w := &waits{freed{ResponseRecorder: httptest.NewRecorder()}, make(chan struct{})}
			ended := make(chan struct{})
			go func() { // ends with the request
				defer close(ended)
				h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			}()
			synctest.Wait()
			found := 0
			for range stallTicks {
				h.mu.Lock()
				found = len(h.stuckLocked())
				h.mu.Unlock()
			}
			if stalls {
				h.mu.Lock()
				found = len(h.stuckLocked())
				h.mu.Unlock()
			}
			close(w.taken)
			<-ended
			if want := map[bool]int{false: 0, true: 1}[stalls]; found != want || w.n != 1-want {
				t.Errorf("%d found and let go %d times, want %d and %d", found, w.n, want, 1-want)
			}
		}
	})
}
