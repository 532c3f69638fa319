package inspector

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers with what it was sent.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Echo", r.Header.Get("X-Ask"))
	io.Copy(w, r.Body)
})

// newInspector returns one that looks at h, the default origin's, and that handler.
func newInspector(h http.Handler) (*Inspector, http.Handler) {
	in := New(slog.New(slog.DiscardHandler))
	return in, in.Handler("@", h)
}

func request(method, target, body string) *http.Request {
	return httptest.NewRequest(method, target, strings.NewReader(body))
}

// one returns what is kept of the only request, or of the one with that id.
func one(t *testing.T, in *Inspector, id uint64) detail {
	t.Helper()
	x := in.get(id)
	if x == nil {
		t.Fatalf("request %d is not kept", id)
	}
	return x.detail()
}

// What passed is there, and nothing is changed by that.
func TestKeeps(t *testing.T) {
	in, h := newInspector(echo)
	r := request("POST", "/a//b?c=%zz", "question")
	r.Header.Set("X-Ask", "what?")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.String() != "question" || w.Header().Get("X-Echo") != "what?" {
		t.Errorf("the visitor got %q and %v", w.Body, w.Header())
	}
	d := one(t, in, 1)
	if d.Method != "POST" || d.Target != "/a//b?c=%zz" || d.Origin != "@" || d.Status != 200 || !d.Done || d.Aborted || d.In != 8 || d.Out != 8 {
		t.Errorf("got %+v", d.summary)
	}
	if d.Request.Body != "question" || !strings.Contains(d.Request.Head, "X-Ask: what?\n") || d.Response.Body != "question" || d.Response.Head != "X-Echo: what?\n" {
		t.Errorf("got %+v", d)
	}
}

// However much passes, what is kept is bounded, and that of requests that go on, too.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		in, h := newInspector(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("y", 2*maxHead))
			w.Write(bytes.Repeat([]byte("x"), maxBody/2))
			if r.URL.Path == "/slow" {
				<-release
			}
			io.Copy(w, r.Body)
		}))
		long := strings.Repeat("z", 3*maxBody)
		slow := make(chan struct{})
		// Ends when release is closed, below.
		go func() { h.ServeHTTP(httptest.NewRecorder(), request("PUT", "/slow", long)); close(slow) }()
		synctest.Wait()
		first := in.get(1)
		for n := range maxExchanges + 20 {
			r := request("PUT", fmt.Sprintf("/%d?%s", n, long[:maxHead/2]), long)
			r.Host = long[:maxHead/2]
			r.Header["X-Long"] = []string{"a", long}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		close(release)
		<-slow
		total := 0
		for _, x := range append(in.kept, first) {
			total += len(x.target) + len(x.host) + len(headText(x.header)) + len(headText(x.respHeader)) + cap(x.request.begin) + cap(x.response.begin)
			if x != first && (x.request.bytes != int64(len(long)) || !x.headCut || !x.respHeadCut || x.noReplayLocked() == "") {
				t.Fatalf("%d: %d bytes of the request, cut %t and %t", x.id, x.request.bytes, x.headCut, x.respHeadCut)
			}
		}
		if len(in.kept) != maxExchanges || in.get(1) != nil || total > 30<<20 {
			t.Errorf("%d requests are kept, with %d bytes", len(in.kept), total)
		}
		if len(first.request.begin)+len(first.response.begin) > 0 {
			t.Error("what is forgotten while it goes on is kept all the same")
		}
	})
}

// A replay is the same request once more, or another, and is kept with its answer.
func TestReplay(t *testing.T) {
	var asked atomic.Int32
	in, h := newInspector(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d: %s %s %s %s %s %v", asked.Add(1), r.Method, r.RequestURI, r.Host, r.Header.Get("Cookie"), body, r.ContentLength)
	}))
	r := request("POST", "/x?y", "abc")
	r.Header.Set("Cookie", "id=1")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if err := in.replay(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := in.replay(t.Context(), 2, &edited{Method: "put", Target: "/z", Head: "cookie: id=2\r\nHost: other\nContent-Length: 99\n", Body: "longer"}); err != nil {
		t.Fatal(err)
	}
	for id, want := range []string{1: "1: POST /x?y example.com id=1 abc 3", 2: "2: POST /x?y example.com id=1 abc 3", 3: "3: PUT /z other id=2 longer 6"} {
		if id == 0 {
			continue
		}
		if d := one(t, in, uint64(id)); d.Response.Body != want || d.Again != uint64(id-1) {
			t.Errorf("%d, which repeats %d: %q, want %q", id, d.Again, d.Response.Body, want)
		}
	}
}

// What cannot be repeated as it was is not repeated, and says why.
func TestNoReplay(t *testing.T) {
	in, h := newInspector(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upgrade":
			w.WriteHeader(101)
		case "/deaf": // reads nothing of the body
		default:
			io.Copy(io.Discard, r.Body)
		}
	}))
	head := request("GET", "/", "")
	head.Header.Set("X", strings.Repeat("x", maxHead))
	for _, c := range []struct {
		r    *http.Request
		want string
	}{
		{head, "head"},
		{request("GET", "/upgrade", ""), "WebSocket"},
		{request("POST", "/deaf", "abc"), "body"},
		{request("POST", "/", strings.Repeat("x", maxBody+1)), "body"},
	} {
		h.ServeHTTP(httptest.NewRecorder(), c.r)
		before := in.last
		if err := in.replay(t.Context(), in.last, nil); err == nil || !strings.Contains(err.Error(), c.want) || in.last != before {
			t.Errorf("%s: got %v, want one that names its %s", c.r.URL.Path, err, c.want)
		}
	}
	for _, change := range []edited{
		{Method: "", Target: "/"}, {Method: "GET /", Target: "/"}, {Method: "CONNECT", Target: "/"}, {Method: "GET", Target: "x"},
		{Method: "GET", Target: "http://other/"}, {Method: "GET", Target: "/", Head: "no colon"}, {Method: "GET", Target: "/", Head: "a b: c"},
	} {
		before := in.last
		if err := in.replay(t.Context(), in.last, &change); err == nil || in.last != before {
			t.Errorf("%+v was sent: %v", change, err)
		}
	}
	if err := in.replay(t.Context(), 99, nil); err != errGone {
		t.Errorf("one that is not there: %v", err)
	}
}

// A replay whose answer has no end is broken off, as one that takes a minute; one that
// panics is one that was broken off; and there are not many at once.
func TestReplayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting := atomic.Bool{}
		in, h := newInspector(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-First") != "" {
				return
			}
			switch r.URL.Path {
			case "/endless":
				for {
					if _, err := w.Write(make([]byte, 1000)); err != nil {
						panic(http.ErrAbortHandler)
					}
				}
			case "/panics":
				panic("a fault")
			case "/waits":
				waiting.Store(true)
				<-r.Context().Done()
			}
		}))
		for id, path := range []string{1: "/endless", 2: "/panics", 3: "/waits"} {
			if id == 0 {
				continue
			}
			h.ServeHTTP(httptest.NewRecorder(), func() *http.Request {
				r := request("GET", path, "")
				r.Header.Set("X-First", "1")
				return r
			}())
		}
		change := func(path string) *edited { return &edited{Method: "GET", Target: path} }
		began := time.Now()
		for _, path := range []string{"/endless", "/panics", "/waits"} {
			if err := in.replay(t.Context(), 1, change(path)); err != nil {
				t.Error(err)
			}
			if d := one(t, in, in.last); !d.Done || !d.Aborted || d.Response.Kept > maxBody {
				t.Errorf("%s: %+v", path, d.summary)
			}
		}
		if took := time.Since(began); took != replayTime {
			t.Errorf("it took %v, want %v", took, replayTime)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, maxReplays)
		for range maxReplays {
			// Ends with ctx; waited for below.
			go func() { ended <- in.replay(ctx, 1, change("/waits")) }()
		}
		synctest.Wait()
		if err := in.replay(ctx, 1, change("/")); err != errReplays {
			t.Errorf("one more: %v", err)
		}
		cancel()
		for range maxReplays {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := in.replay(t.Context(), 1, change("/")); err != nil {
			t.Errorf("after they ended: %v", err)
		}
	})
}

// A body is shown as text if it is some, and a compressed one as what it holds.
func TestMessage(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(bytes.Repeat([]byte("plain "), 1000))
	z.Close()
	for name, c := range map[string]struct {
		header http.Header
		body   string
		text   string
		binary bool
	}{
		"text":           {nil, "añb\n", "añb\n", false},
		"a cut letter":   {nil, "añ"[:2], "a�", false},
		"binary":         {nil, "a\x00b", "", true},
		"not UTF-8":      {nil, "a\xff\xfeb", "", true},
		"gzip":           {http.Header{"Content-Encoding": {"gzip"}}, zipped.String(), strings.Repeat("plain ", 1000), false},
		"a cut gzip":     {http.Header{"Content-Encoding": {"gzip"}}, zipped.String()[:zipped.Len()-8], strings.Repeat("plain ", 1000), false},
		"no gzip at all": {http.Header{"Content-Encoding": {"gzip"}}, "plain", "plain", false},
	} {
		m := newMessage(c.header, false, capture{[]byte(c.body), int64(len(c.body))})
		if m.Body != c.text || m.Binary != c.binary || m.Bytes != int64(len(c.body)) {
			t.Errorf("%s: got %.60q, binary %t", name, m.Body, m.Binary)
		}
	}
	var bomb bytes.Buffer
	z = gzip.NewWriter(&bomb)
	z.Write(make([]byte, 16*maxUnzipped))
	z.Close()
	if n := len(unzip(bomb.Bytes())); n != maxUnzipped {
		t.Errorf("%d bytes of a bomb, want %d", n, maxUnzipped)
	}
}
