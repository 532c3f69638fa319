package front

import (
	"testing"

	"github.com/amahi/spdy/spdytest"
)

func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){
		"request":                    BenchmarkHandler,
		"request behind http.Server": BenchmarkServer,
	})
}
