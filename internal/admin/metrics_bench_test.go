package admin

import (
	"testing"
	"time"
)

// What counting one request costs.
func BenchmarkRequest(b *testing.B) {
	m := NewMetrics(&fake{}, "v1")
	m.SessionStarted("@")
	b.ReportAllocs()
	for b.Loop() {
		m.Request(Request{Origin: "@", Status: 200, Headers: time.Millisecond, Duration: time.Millisecond})
	}
}
