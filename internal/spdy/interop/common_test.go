package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
)

// limit is how long a test waits for what has to come.
const limit = 30 * time.Second

// large is the size of a large body, and big that of a big header.
const (
	large = 2 << 20
	big   = 20 << 10
)

// pattern is n bytes that both ends know.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 % 251)
	}
	return b
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// wait returns what comes from c, or fails the test.
func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(limit):
		t.Fatalf("%s did not come within %v", what, limit)
		panic("not reached")
	}
}

// pipe is a TCP connection on loopback: real buffers, real ends.
func pipe(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// run serves s until the test's end, and gives what Serve returned.
func run(t *testing.T, s *spdy.Session) <-chan error {
	served := make(chan error, 1)
	// Ends with the session, which the cleanup closes.
	go func() { served <- s.Serve() }()
	t.Cleanup(s.Close)
	return served
}

// goOrigin is the handler of our side as a server.
type goOrigin struct {
	*http.ServeMux
	waiting chan struct{} // a request of /wait began
	closed  chan error    // its context ended
	failed  chan error    // a Write of /size failed
}

func newGoOrigin() *goOrigin {
	o := &goOrigin{http.NewServeMux(), make(chan struct{}, 10), make(chan error, 10), make(chan error, 10)}
	o.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		io.WriteString(w, "ok")
	})
	o.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	o.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, sum(body))
	})
	o.HandleFunc("/size/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		if _, err := w.Write(pattern(n)); err != nil {
			o.failed <- err
		}
	})
	o.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Big"] = r.Header["X-Big"]
		w.Header()["X-Many"] = r.Header["X-Many"]
	})
	o.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, r.Trailer.Get("X-Trailer"))
		w.Header().Set(http.TrailerPrefix+"X-Trailer", "from the server")
	})
	o.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		<-o.failed // the test has seen it
		panic(http.ErrAbortHandler)
	})
	o.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		o.waiting <- struct{}{}
		<-r.Context().Done()
		o.closed <- context.Cause(r.Context())
	})
	return o
}

// request makes a request to the other side.
func request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://a.test"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fetch sends r and reads the answer.
func fetch(s *spdy.Session, r *http.Request) (*http.Response, []byte, error) {
	resp, err := s.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// asClient runs what our side does as a client with any server that has the
// routes of goOrigin.
func asClient(t *testing.T, s *spdy.Session, cookies bool) {
	t.Run("GET", func(t *testing.T) {
		resp, body, err := fetch(s, request(t, "GET", "/ok", nil))
		if err != nil || resp.StatusCode != 200 || string(body) != "ok" {
			t.Fatalf("%+v, %q, %v, want 200 ok", resp, body, err)
		}
		if got := resp.Header["Set-Cookie"]; cookies && (len(got) != 2 || got[0] != "a=1" || got[1] != "b=2") {
			t.Errorf("Set-Cookie: %q, want two values in order", got)
		}
	})
	t.Run("100 streams at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				sent := pattern(100 * i)
				_, body, err := fetch(s, request(t, "POST", "/echo", strings.NewReader(string(sent))))
				if err != nil || string(body) != string(sent) {
					t.Errorf("echo of %d bytes: %d, %v", len(sent), len(body), err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("big headers", func(t *testing.T) {
		r := request(t, "GET", "/headers", nil)
		value := strings.Repeat("value ", big/6) + "."
		r.Header.Set("X-Big", value)
		r.Header["X-Many"] = []string{"1", "2", "3"}
		resp, _, err := fetch(s, r)
		if err != nil || resp.Header.Get("X-Big") != value {
			t.Fatalf("X-Big of %d bytes did not come back, %v", len(value), err)
		}
		if got := strings.Join(resp.Header["X-Many"], ", "); got != "1, 2, 3" {
			t.Errorf("X-Many: %q, want 1, 2, 3", got)
		}
	})
	t.Run("PING", func(t *testing.T) {
		if !pinged(s) {
			t.Error("no echo")
		}
	})
}

// isReset returns nil if err is a StreamError of the other side with that status.
func isReset(err error, status spdy.Status, remote bool) error {
	if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.Status != status || se.Remote != remote {
		return fmt.Errorf("%v, want a StreamError with %v, remote: %t", err, status, remote)
	}
	return nil
}

func deadline() time.Time { return time.Now().Add(limit) }

// withCancel returns r with a context that the second result ends.
func withCancel(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	return r.WithContext(ctx), cancel
}

// pinged reports whether the peer of s echoes a PING in time.
func pinged(s *spdy.Session) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := s.PingContext(ctx)
	return err == nil
}
