package relay

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestPass(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 12_500) // 200 000 bytes
	for _, tt := range []struct {
		name string
		line Line
		want time.Duration
	}{
		{"delay", Line{Delay: 20 * time.Millisecond}, 20 * time.Millisecond},
		{"rate", Line{Rate: 100_000}, 2 * time.Second},
		{"both", Line{Delay: time.Second, Rate: 100_000}, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, in := net.Pipe()
				out, away := net.Pipe()
				passed := make(chan struct{})
				// Each ends with near; the test waits for both.
				go func() { defer close(passed); tt.line.Pass(in, out) }()
				sent := make(chan error, 1)
				go func() { _, err := near.Write(body); sent <- err }()
				start := time.Now()
				got := make([]byte, len(body))
				if _, err := io.ReadFull(away, got); err != nil || !bytes.Equal(got, body) {
					t.Errorf("what came is not what was sent (%v)", err)
				}
				if took := time.Since(start).Round(time.Millisecond); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				if err := <-sent; err != nil {
					t.Error(err)
				}
				near.Close()
				away.Close()
				<-passed
			})
		})
	}
}
