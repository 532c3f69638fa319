package serve

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However many answers last, the next request has its own: whose turn it is P decides.
func TestManyAnswersThatLast(t *testing.T) {
	const many = 4200
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, Config{To: "http://service.test"})
		h.serve.(*service).dial = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			// Ends when the other end is closed: the requests' contexts see to that.
			go func() {
				defer theirs.Close()
				r, err := http.ReadRequest(bufio.NewReader(theirs))
				switch {
				case err != nil:
				case r.URL.Path == "/events":
					io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
					theirs.Read(make([]byte, 1))
				default:
					io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
				}
			}()
			return ours, nil
		}
		ctx, leave := context.WithCancel(t.Context())
		for range many {
			// Ends with ctx.
			go func() {
				if !aborts(h, httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/events", nil)) {
					t.Error("an answer without an end has ended for a visitor who has left")
				}
			}()
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		// Ends with its answer, or with ctx.
		go aborts(h, w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		synctest.Wait()
		if w.Body.String() != "hi" {
			t.Errorf("beside %d that last, a request has %d %q, want its answer", many, w.Code, w.Body)
		}
		leave()
		synctest.Wait()
	})
}

// Visitors who leave take what was begun for them along, but for as much as could be kept
// for others: of a service that takes connections slowly, or says nothing of TLS.
func TestConnectionsForVisitorsWhoLeave(t *testing.T) {
	for _, to := range []string{"http://service.test", "https://service.test"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandler(t, Config{To: to})
			var now, most atomic.Int64
			begin := func() { most.Store(max(most.Load(), now.Add(1))) }
			h.serve.(*service).dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				begin()
				if strings.HasPrefix(to, "http:") {
					defer now.Add(-1)
					ctx, cancel := context.WithTimeout(ctx, dialTimeout)
					defer cancel()
					<-ctx.Done()
					return nil, ctx.Err()
				}
				ours, theirs := net.Pipe()
				// Ends when the other end is closed.
				go func() {
					defer now.Add(-1)
					io.Copy(io.Discard, theirs)
					theirs.Close()
				}()
				return ours, nil
			}
			for range 2 * maxServiceIdle {
				leaves(t, h)
			}
			if most := most.Load(); most < maxServiceIdle || most > maxServiceIdle+1 {
				t.Errorf("%s: %d connections were made at once for one visitor after the other, want %d beside his own", to, most, maxServiceIdle)
			}
			time.Sleep(dialTimeout)
			synctest.Wait()
			if now := now.Load(); now != 0 {
				t.Errorf("%s: %d connections are still being made", to, now)
			}
			most.Store(0)
			leaves(t, h)
			if most := most.Load(); most != 1 {
				t.Errorf("%s: later %d were made for a visitor", to, most)
			}
			time.Sleep(dialTimeout)
		})
	}
}

// leaves has a visitor ask, who leaves after a millisecond.
func leaves(t *testing.T, h http.Handler) {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
	defer leave()
	if !aborts(h, httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil)) {
		t.Error("there is an answer for a visitor who has left")
	}
	synctest.Wait()
}

// A connection that comes when its visitor has left is the next one's.
func TestConnectionThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, Config{To: "http://service.test"})
		dials := 0
		h.serve.(*service).dial = func(context.Context, string, string) (net.Conn, error) {
			dials++
			time.Sleep(time.Second)
			ours, theirs := net.Pipe()
			// Ends when the other end is closed, as it is when it is not used.
			go func() {
				defer theirs.Close()
				for in := bufio.NewReader(theirs); ; {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
				}
			}()
			return ours, nil
		}
		leaves(t, h)
		time.Sleep(2 * time.Second)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Body.String() != "hi" || dials != 1 {
			t.Errorf("the next one got %q, and %d connections were made; want one", w.Body, dials)
		}
		time.Sleep(2 * serviceIdle)
	})
}

// A direction that says little costs little; one that says much has a large buffer for as long.
func TestBuffersAreForWhatIsSaid(t *testing.T) {
	var b buffers
	const large, rest = copySize, restSize
	var got []int
	say := []int{1, rest, large, rest, 1, rest - 1, rest, large, 0}
	want := []int{rest, rest, large, large, large, rest, rest, large, large, rest}
	all := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	said := 0
	var to bytes.Buffer
	err := b.copy(&to, readFunc(func(p []byte) (int, error) {
		got = append(got, len(p))
		if len(got) > len(say) {
			return copy(p, "end"), io.EOF
		}
		n := copy(p, all[said:said+say[len(got)-1]])
		said += n
		return n, nil
	}))
	if err != nil || to.String() != string(all[:said])+"end" {
		t.Errorf("%d bytes were copied, %v, want %d", to.Len(), err, said+3)
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("buffers of %d, want %d", got, want)
		}
	}
	if err := b.copy(io.Discard, io.MultiReader(strings.NewReader("x"), readFunc(func([]byte) (int, error) { return 1, io.ErrUnexpectedEOF }))); err != io.ErrUnexpectedEOF {
		t.Errorf("%v, want the reader's error", err)
	}
	if err := b.copy(&limited{w: io.Discard}, strings.NewReader("x")); err != errTooLong {
		t.Errorf("%v, want the writer's error", err)
	}
}
