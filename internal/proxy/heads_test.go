package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A head that P takes arrives at C, whatever --max-header-bytes says up to 1 MiB.
func TestLargeHeads(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.MaxHeaderBytes = 1 << 20 })
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines, size := 0, 0
		for name, values := range r.Header {
			if strings.HasPrefix(name, "Mine-") {
				lines += len(values)
				size += len(strings.Join(values, ""))
			}
		}
		fmt.Fprintf(w, "%d lines of %d bytes", lines, size)
	}), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, tt := range []struct{ lines, each int }{{1, 60_000}, {1, 300_000}, {10, 100_000}, {400, 2000}} {
		a := fetch(ctx, transport(t, nil, false), "GET", x.url("/"), nil, func(r *http.Request) {
			for i := range tt.lines {
				r.Header.Set(fmt.Sprint("Mine-", i), strings.Repeat("x", tt.each))
			}
		})
		want(t, fmt.Sprintf("%d lines of %d bytes", tt.lines, tt.each), a, 200, fmt.Sprintf("%d lines of %d bytes", tt.lines, tt.lines*tt.each))
	}
}
