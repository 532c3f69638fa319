package http1

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// What a head costs grows with its size: no line has all those before it copied.
func TestHeadCost(t *testing.T) {
	for _, line := range []string{"Transfer-Encoding: aaaaaaaaaa\r\n", "Expect: aaaaaaaaaaaaaaaaaaaa\r\n", "X-A: aaaaaaaaaaaaaaaaaaaaaaaa\r\n"} {
		head := []byte(get + strings.Repeat(line, 4000) + "\r\n")
		ours, theirs := net.Pipe()
		c := New(&http.Server{}).newConn(ours, context.Background(), nil)
		c.ctx = context.Background()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if done, why := c.parser.parse(head, limits{len(head), 5000}); !done {
			t.Fatal(why)
		}
		c.newExchange(string(head))
		runtime.ReadMemStats(&after)
		if n, limit := after.TotalAlloc-before.TotalAlloc, uint64(20*len(head)); n > limit {
			t.Errorf("%.20q: a head of %d bytes costs %d bytes, more than %d", line, len(head), n, limit)
		}
		ours.Close()
		theirs.Close()
	}
}
