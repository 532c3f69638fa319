package http1

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy/spdytest"
)

// endsWithLast is a connection that tells of the end of what the client sends with the
// last of it, as io.Reader allows and tls.Conn does.
type endsWithLast struct {
	*spdytest.Conn
	text string
}

func (c *endsWithLast) Read(p []byte) (n int, err error) {
	n = copy(p, c.text)
	if c.text = c.text[n:]; c.text == "" {
		err = io.EOF
	}
	return n, err
}

// A request that came whole is one, however its end was told, and one that did not is
// none.
func TestEndWithLast(t *testing.T) {
	for _, size := range []int{1, 100, bufferSize, 2 * bufferSize, 100_000} {
		body := strings.Repeat("x", size)
		for _, test := range []struct{ name, request, want string }{
			{"with a length", fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, body), fmt.Sprint(size, " EOF")},
			{"in chunks", fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body), fmt.Sprint(size, " EOF")},
			{"one byte short", fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size+1, body), fmt.Sprint(size, " unexpected EOF")},
			{"chunks without an end", fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", size, body), fmt.Sprint(size, " unexpected EOF")},
		} {
			t.Run(fmt.Sprint(test.name, " ", size), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					got := ""
					b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
						buf, n := make([]byte, 16<<10), 0
						for {
							m, err := r.Body.Read(buf)
							if n += m; err != nil {
								got = fmt.Sprint(n, " ", err)
								return
							}
						}
					}, nil)
					defer b.close()
					ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
					defer ours.Close()
					b.ln.conns <- &endsWithLast{theirs, test.request}
					synctest.Wait()
					if got != test.want {
						t.Errorf("the handler has read %q, want %q", got, test.want)
					}
				})
			})
		}
	}
}
