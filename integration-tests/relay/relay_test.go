package relay

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// What is passed on arrives whole, and when the line has carried it.
func TestPass(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 12_500) // 200 000 bytes
	for _, tt := range []struct {
		name     string
		line     Line
		taken    time.Duration // when the last byte was taken from the sender
		up, down time.Duration // when it arrived
	}{
		{"delay", Line{Delay: 20 * time.Millisecond}, 0, 20 * time.Millisecond, 20 * time.Millisecond},
		{"rate", Line{Up: 100_000}, 0, 2 * time.Second, 0},
		{"both", Line{Delay: time.Second, Up: 100_000}, 0, 3 * time.Second, time.Second},
		{"queue", Line{Up: 100_000, Queue: 500 * time.Millisecond}, 1500 * time.Millisecond, 2 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, in := net.Pipe()
				out, away := net.Pipe()
				passed := make(chan struct{})
				// Ends when both ends are closed; awaited below.
				go func() { defer close(passed); tt.line.Pass(in, out) }()
				for _, way := range []struct {
					name           string
					from, to       net.Conn
					taken, arrived time.Duration
				}{{"up", near, away, tt.taken, tt.up}, {"down", away, near, 0, tt.down}} {
					start := time.Now()
					sent := make(chan time.Duration, 1)
					// Ends when all was taken; read below.
					go func() { way.from.Write(body); sent <- time.Since(start) }()
					got := make([]byte, len(body))
					if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%s: what came is not what was sent (%v)", way.name, err)
					}
					if took := time.Since(start).Round(time.Millisecond); took != way.arrived {
						t.Errorf("%s: it arrived after %v, want %v", way.name, took, way.arrived)
					}
					if took := <-sent; took.Round(50*time.Millisecond) != way.taken {
						t.Errorf("%s: it was taken after %v, want %v", way.name, took, way.taken)
					}
				}
				near.Close()
				away.Close()
				<-passed
			})
		})
	}
}
