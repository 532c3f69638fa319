//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func fileFaults() []fault {
	return []fault{
		{name: "files-change", about: "a file that is downloaded is replaced, rewritten in its place, cut short and removed, over and over; the connections are cut meanwhile",
			lasts: 20 * time.Second, spared: held, inflict: changeFiles},
		{name: "cert-expired", about: "p's certificate has ended when c must dial; later there is a new one, and SIGHUP", lasts: 5 * time.Second, inflict: expire},
		{name: "token-revoked", about: "the token of both Cs is taken out of p's file, and put back; SIGHUP each time", lasts: 5 * time.Second, inflict: revoke},
	}
}

// changedSize is the size of the file that changes, in bytes, and some.
const changedSize = 1 << 20

// changeFiles has a file change while visitors download it. Each answer that bears
// an ETag must be one of the file's states, whole, or break. One without, of a file
// that has just changed, is sent as it comes.
func changeFiles(ctx context.Context, l *lab) error {
	name := filepath.Join(l.root, "changing.bin")
	state := func(i int) body { return body{1000 + uint64(i), changedSize + int64(i)} }
	if err := state(0).file(name); err != nil {
		return err
	}
	going, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for range 4 {
		// Ends after stop, with its download; awaited below.
		all.Go(func() {
			for going.Err() == nil {
				l.visits.changing(ctx)
				pause(going, 20*time.Millisecond)
			}
		})
	}
	var err error
	for i := 1; i <= 8 && err == nil; i++ {
		// Long enough for the file to be at rest, and to be asked for.
		if err = pause(ctx, 2500*time.Millisecond); err != nil {
			break
		}
		switch i % 4 {
		case 0: // another file under its name
			if err = state(i).file(name + ".new"); err == nil {
				err = os.Rename(name+".new", name)
			}
		case 1: // other bytes in the same file
			err = rewrite(name, state(i))
		case 2: // shorter, then whole again
			if err = os.Truncate(name, changedSize/2); err == nil {
				err = rewrite(name, state(i))
			}
			l.wire.cut(true)
		case 3: // gone, and back
			if err = os.Remove(name); err == nil {
				l.wire.cut(true)
				err = state(i).file(name)
			}
		}
	}
	stop()
	all.Wait()
	return err
}

// rewrite puts a body into a file that is there, in several steps.
func rewrite(name string, b body) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, b.reader()); err != nil {
		return err
	}
	return f.Truncate(b.size)
}

// changing downloads the file that changes.
func (v *visitors) changing(ctx context.Context) {
	v.do(ctx, "changing", v.fresh, "GET", v.lab.url("/changing.bin"), "", nil, 0, http.StatusOK,
		func(resp *http.Response, w *watch, ctx context.Context) error {
			from := &paced{ctx: ctx, from: resp.Body, watch: w, rate: 2 * downloadRate}
			if resp.Header.Get("ETag") == "" {
				_, err := io.Copy(io.Discard, from)
				return err
			}
			_, err := identify(from)
			return err
		})
}

// expire lets p's certificate end under its Cs.
func expire(ctx context.Context, l *lab) error {
	if err := l.ca.issue(l.cert("p.pem"), l.cert("p.key"), -time.Hour); err != nil {
		return err
	}
	if err := l.reload(ctx, l.p); err != nil {
		return err
	}
	// Who is connected stays so: the control port's visitors are asked at the door.
	before := l.tally.right(once)
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if !l.variant.tls && l.tally.right(once) == before {
		l.failf("a certificate that ended cost connections that were there")
	}
	l.wire.cut(true)
	if err := until(ctx, comeback, func() error {
		if log := l.c.now().Log(); !strings.Contains(log, "expired") {
			return fmt.Errorf("c does not say that the certificate has expired: %s", l.c.now().Last())
		}
		return nil
	}); err != nil {
		return err
	}
	if err := l.ca.issue(l.cert("p.pem"), l.cert("p.key"), 24*time.Hour); err != nil {
		return err
	}
	return l.reload(ctx, l.p)
}

// revoke takes the token of the Cs away, and gives it back.
func revoke(ctx context.Context, l *lab) error {
	if err := replace(l.cert("tokens"), []byte("of-somebody-else *\n")); err != nil {
		return err
	}
	if err := l.reload(ctx, l.p); err != nil {
		return err
	}
	err := until(ctx, comeback, func() error {
		if log := l.c.now().Log(); !strings.Contains(log, "401") {
			return fmt.Errorf("c does not say that its token is refused: %s", l.c.now().Last())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := replace(l.cert("tokens"), []byte(tokenLines)); err != nil {
		return err
	}
	if err := l.reload(ctx, l.p); err != nil {
		return err
	}
	// A c that was refused waits for up to a minute, or for a person's SIGHUP.
	for _, d := range l.cs() {
		if err := d.signal(syscall.SIGHUP); err != nil {
			return err
		}
	}
	return nil
}

// reload sends SIGHUP and waits until the program says that it has read its files.
func (l *lab) reload(ctx context.Context, d *daemon) error {
	count := func() int { return strings.Count(d.now().Log(), "were read again") }
	before := count()
	if err := d.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return until(ctx, comeback, func() error {
		if count() == before {
			return fmt.Errorf("%s does not say that it has read its files again: %s", d.name, d.now().Last())
		}
		return nil
	})
}
