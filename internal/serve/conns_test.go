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
	"testing"
	"testing/synctest"
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
				defer func() { recover() }() // http.ErrAbortHandler: the visitor has left
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/events", nil))
			}()
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		// Ends with its answer, or with ctx.
		go func() {
			defer func() { recover() }()
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		}()
		synctest.Wait()
		if w.Body.String() != "hi" {
			t.Errorf("beside %d that last, a request has %d %q, want its answer", many, w.Code, w.Body)
		}
		leave()
		synctest.Wait()
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
