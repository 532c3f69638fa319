package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// The yardstick seen is the pair itself with all that an operator sees by: each
// side's access log, a status page that is open and brings itself up to date, the
// API once a second, and the metrics as a Prometheus asks for them. The pair
// divided by it says what being seen costs.

// metricsEvery is the interval that a Prometheus has unless it is told another.
const metricsEvery = 15 * time.Second

func startSeen(b *bench, s *setup, far bool) error {
	accessLog := func(of string) []string { return []string{"--access-log", filepath.Join(b.dir, of+".access.log")} }
	admin, err := b.startBoth(s, far, accessLog("p"), accessLog("c"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	var watched sync.WaitGroup
	s.unwatch = func() { cancel(); watched.Wait() }
	// Each ends with ctx.
	watched.Go(func() { b.watch(ctx, "http://"+admin+"/", "text/event-stream", time.Second) })
	watched.Go(func() { b.watch(ctx, "http://"+admin+"/api/v1/status", "application/json", time.Second) })
	watched.Go(func() { b.watch(ctx, "http://"+admin+"/metrics", "text/plain", metricsEvery) })
	return nil
}

// watch asks for url again and again, with a pause after each answer, until ctx
// ends. What fails is asked for again: p may not listen yet. An answer that is none is said.
func (b *bench) watch(ctx context.Context, url, accept string, pause time.Duration) {
	for ctx.Err() == nil {
		if r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err == nil {
			r.Header.Set("Accept", accept)
			if answer, err := http.DefaultClient.Do(r); err == nil {
				if answer.StatusCode != http.StatusOK {
					fmt.Fprintf(b.log, "%s: %s: nobody looks at p by it\n", url, answer.Status)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
