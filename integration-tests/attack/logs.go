package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// requests are what is asked while nobody reads a log.
const requests = 5000

func logAttacks() []attack {
	return []attack{
		{name: "log-reader-gone", about: "who reads standard output and error of p and c goes away after a line; 5 000 requests", lasts: 30 * time.Second,
			prepare: func(s *site) error { return s.readers(true) }, during: readerGone},
		{name: "log-reader-still", about: "who reads the access logs of p and c stands still; 5 000 requests", lasts: 30 * time.Second,
			prepare: func(s *site) error { return s.readers(false) }, during: askAll},
	}
}

// readers puts a pipe behind what p and c print: of standard output alone, or of
// both. Nobody reads from it. If it goes, the first line is read and the pipe is
// closed.
func (s *site) readers(goes bool) error {
	s.tls = false
	s.p.Args = append(s.p.Args, "--access-log", "-", "--log-level", "debug")
	s.c.Args = append(s.c.Args, "--log-level", "debug")
	if knows(context.Background(), s.c.Path, "--access-log") {
		s.c.Args = append(s.c.Args, "--access-log", "-")
	}
	for _, out := range []*struct{ stdout, stderr *io.Writer }{{&s.p.Stdout, &s.p.Stderr}, {&s.c.Stdout, &s.c.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		*out.stdout = w
		if goes {
			*out.stderr = w
			// Ends with the first line, or with the pipe.
			go func() {
				bufio.NewReaderSize(r, 16).ReadString('\n')
				r.Close()
			}()
		}
		s.cleanups = append(s.cleanups, func() { r.Close(); w.Close() })
	}
	return nil
}

// readerGone also makes each of them say something more.
func readerGone(ctx context.Context, s *site) {
	for _, err := range s.bother(ctx) {
		s.failf("%v", err)
	}
	askAll(ctx, s)
}

// bother does what is worth a line of p's.
func (s *site) bother(ctx context.Context) (errs []error) {
	t := s.target()
	for range 5 {
		if _, err := t.put(ctx, attackerAddr(0, 1), "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nContent-Length: 0\r\n\r\n"); err != nil {
			errs = append(errs, fmt.Errorf("the control port: %w", reason(err)))
		}
	}
	return errs
}

// askAll asks over and over, on twenty connections.
func askAll(ctx context.Context, s *site) {
	t := s.target()
	began := time.Now()
	var mu sync.Mutex
	answered, last := 0, errors.New("none")
	var all sync.WaitGroup
	for range 20 {
		// Ends with ctx, or with its share.
		all.Go(func() {
			client := t.visitor(ctx, attackerAddr(0, 1))
			client.Timeout = 3 * time.Second
			defer client.CloseIdleConnections()
			for range requests / 20 {
				err := t.get(ctx, client, s.good, smallSize)
				mu.Lock()
				if err != nil {
					last = reason(err)
				} else {
					answered++
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if answered < requests {
		s.failf("%d of %d requests were answered, then: %v", answered, requests, last)
		return
	}
	s.notef("%d requests in %.1f s", requests, time.Since(began).Seconds())
}
