//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// Files that p and c may open where there are few. A c with a session has a dozen,
// a p about twenty.
const (
	filesOfP = 64
	filesOfC = 40
)

func limitFaults() []fault {
	return []fault{
		{name: "p-files", about: fmt.Sprintf("p may open %d files, and %d connections are made to it that ask for nothing", filesOfP, 3*filesOfP), lasts: 4 * time.Second,
			prepare: func(l *lab) error { l.p.wrap = fewFiles(filesOfP); return nil }, inflict: idlers},
		{name: "c-files", about: fmt.Sprintf("each c may open %d files, and %d downloads go on at once", filesOfC, 2*filesOfC), lasts: 4 * time.Second,
			prepare: func(l *lab) error {
				for _, d := range l.cs() {
					d.wrap = fewFiles(filesOfC)
				}
				return nil
			}, inflict: manyDownloads},
		{name: "p-memory", about: "p gets no more memory of the system while 40 downloads go on; if it ends it is started again", lasts: 5 * time.Second, mayDie: true,
			inflict: noMemory(func(l *lab) *daemon { return l.p })},
		{name: "c-memory", about: "the same for the c of the files", lasts: 5 * time.Second, mayDie: true,
			inflict: noMemory(func(l *lab) *daemon { return l.c })},
		{name: "file-size", about: "c may write no file of more than 300 kB, so that uploads of 700 kB fail: a disk that is full", lasts: 4 * time.Second,
			spared: []kind{get, download, stream, sink, once, socket}, inflict: smallFiles},
		{name: "disk-full", about: "the disk of the uploads, of 80 MiB, is filled by another, and freed again", lasts: 5 * time.Second, slow: true,
			spared: []kind{get, download, stream, sink, once, socket}, prepare: smallDisk, inflict: fillDisk},
	}
}

// fewFiles is what starts a program that may open n files, and no more.
func fewFiles(n int) []string {
	return []string{"/bin/sh", "-c", `ulimit -n ` + strconv.Itoa(n) + ` && exec "$@"`, "sh"}
}

// idlers makes connections to the front port that ask for nothing, and lets them go.
func idlers(ctx context.Context, l *lab) error {
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for range 3 * filesOfP {
		c, err := net.DialTimeout("tcp", l.front, time.Second)
		if err != nil {
			continue // it was refused, as it may be
		}
		all = append(all, c)
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	// c must come back even so.
	l.wire.cut(true)
	return pause(ctx, 2*time.Second)
}

// manyDownloads has many visitors ask at once.
func manyDownloads(ctx context.Context, l *lab) error {
	var all sync.WaitGroup
	for range 2 * filesOfC {
		// Ends with its download.
		all.Go(func() { l.visits.get(ctx, download, l.visits.fresh, downloadRate) })
	}
	all.Wait()
	return nil
}

// noMemory lets a program have no more address space than it has.
func noMemory(which func(*lab) *daemon) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		d := which(l)
		has, err := statm(d.pid(), statmSize)
		if err != nil {
			return err
		}
		lift, err := limit(d, unix.RLIMIT_AS, uint64(has)+1<<20)
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		for range 40 {
			// Ends with its download.
			all.Go(func() { l.visits.get(ctx, download, l.visits.fresh, downloadRate) })
		}
		all.Wait()
		if err := lift(); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		// It bore it, has ended, or is about to.
		if err := l.ready(ctx); !errors.Is(err, process.ErrEnded) {
			return err
		}
		l.notef("%s ended: %s", d.name, firstFatal(d.now().Log()))
		return d.start()
	}
}

// firstFatal is what a program's last words begin with.
func firstFatal(log string) string {
	if line := fatal.FindString(log); line != "" {
		return line
	}
	_, line, _ := strings.Cut(strings.TrimSpace(log), "ERROR: ") // as ThreadSanitizer writes
	line, _, _ = strings.Cut(line, "\n")
	return line
}

// limit sets a limit of a running program, and returns what lifts it.
func limit(d *daemon, resource int, n uint64) (lift func() error, err error) {
	var before unix.Rlimit
	pid := d.pid()
	if err := unix.Prlimit(pid, resource, nil, &before); err != nil {
		return nil, fmt.Errorf("prlimit of %s: %w", d.name, err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
		return nil, fmt.Errorf("prlimit of %s: %w", d.name, err)
	}
	return func() error {
		if err := unix.Prlimit(pid, resource, &before, nil); err != nil {
			return fmt.Errorf("prlimit of %s: %w", d.name, err)
		}
		return nil
	}, nil
}

func smallFiles(ctx context.Context, l *lab) error {
	kept := l.tally.right(upload)
	lift, err := limit(l.c, unix.RLIMIT_FSIZE, 300_000)
	if err != nil {
		return err
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	// Those that were under way when it was set may have been through.
	if n := l.tally.right(upload) - kept; n > 4 {
		l.failf("%d uploads were kept that there was no room for", n)
	}
	return lift()
}

// smallDisk puts a small file system under the uploads.
func smallDisk(l *lab) error {
	if err := unix.Mount("tmpfs", l.uploads, "tmpfs", 0, "size=80m"); err != nil {
		return fmt.Errorf("%w: mounting a tmpfs: %w", errSkip, err)
	}
	l.cleanups = append(l.cleanups, func() { unix.Unmount(l.uploads, unix.MNT_DETACH) })
	return nil
}

// fillDisk leaves no room, and makes some again.
func fillDisk(ctx context.Context, l *lab) error {
	name := l.uploads + "/.filler"
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	// It ends where there is no more room.
	_, err = io.Copy(f, io.LimitReader(body{1, 1 << 40}.reader(), 100<<20))
	f.Close()
	if err == nil {
		l.failf("the disk did not get full")
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	return os.Remove(name)
}
