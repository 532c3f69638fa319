package main

import (
	"strings"
	"testing"
)

// What failed, how each package did and what could not be built is shown, what passed is not,
// and what was skipped is listed.
func TestRead(t *testing.T) {
	const in = `{"Action":"start","Package":"github.com/amahi/spdy-proxy/x"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Test":"TestA","Output":"    a_test.go:3: all is well\n"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Test":"TestB/b","Output":"    b_test.go:3: said before\n"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Test":"TestB/b","Output":"    b_test.go:4: no Node here\n"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Test":"TestB/b","Output":"    --- SKIP: TestB/b (0.00s)\n"}
{"Action":"skip","Package":"github.com/amahi/spdy-proxy/x","Test":"TestB/b"}
{"Action":"skip","Package":"github.com/amahi/spdy-proxy/x","Test":"TestE"}
{"Action":"skip","Package":"github.com/amahi/spdy-proxy/x","Test":"FuzzX/seed#1"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Output":"-test.shuffle 1\n"}
{"Action":"pass","Package":"github.com/amahi/spdy-proxy/x","Test":"TestA"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Output":"PASS\n"}
{"Action":"output","Package":"github.com/amahi/spdy-proxy/x","Output":"ok  \tx\t0.1s\n"}
{"Action":"pass","Package":"github.com/amahi/spdy-proxy/x"}
{"Action":"skip","Package":"github.com/amahi/spdy-proxy/empty"}
`
	const broken = `{"Action":"output","Package":"y","Output":"-test.shuffle 2\n"}
{"Action":"output","Package":"y","Test":"TestC","Output":"    c_test.go:4: got 1\n"}
{"Action":"output","Package":"y","Test":"TestC","Output":"--- FAIL: TestC (0.00s)\n"}
{"Action":"fail","Package":"y","Test":"TestC"}
{"Action":"output","Package":"y","Test":"TestD","Output":"panic: d\n"}
{"Action":"output","Package":"y","Output":"FAIL\ty\t0.1s\n"}
{"Action":"fail","Package":"y"}
`
	for _, tt := range []struct {
		name, in, out, skipped string
		failed                 bool
	}{
		{"passed", in, "ok  \tx\t0.1s\n", "spdy-proxy/x TestB/b: no Node here\nspdy-proxy/x TestE: it does not say why\n", false},
		{"failed", broken, "    c_test.go:4: got 1\n--- FAIL: TestC (0.00s)\nFAIL\ty\t0.1s\n-test.shuffle 2\npanic: d\n", "", true},
		{"not built", `{"ImportPath":"z","Action":"build-output","Output":"z.go:1: no\n"}
{"ImportPath":"z","Action":"build-fail"}
`, "z.go:1: no\n", "", true},
		{"not JSON, and no end", "go: no such tool", "go: no such tool", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, skipped strings.Builder
			failed, err := read(strings.NewReader(tt.in), &out, &skipped)
			if err != nil || failed != tt.failed || out.String() != tt.out || skipped.String() != tt.skipped {
				t.Errorf("got %v, %v, %q and %q; want %v, %q and %q", failed, err, out.String(), skipped.String(), tt.failed, tt.out, tt.skipped)
			}
		})
	}
}
