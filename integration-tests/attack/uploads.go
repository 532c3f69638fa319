package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

func uploadAttacks() []attack {
	return []attack{
		{name: "uploads-announced", about: "38 uploads that together announce more than the disk has, and send a byte", lasts: 6 * time.Second, prepare: smallDisk, strike: announce, during: uploadOne},
		{name: "uploads-empty", about: "3 000 empty uploads to a disk of 2 000 inodes", lasts: 25 * time.Second,
			prepare: func(s *site) error {
				s.maxLines = emptyOnes + maxLines // one for each that is kept
				return smallDisk(s)
			}, strike: emptyUploads, during: inodesLeft},
	}
}

const (
	emptyOnes  = 3000
	diskInodes = 2000
)

// announced is how many uploads are announced, each of announcedSize bytes.
const (
	announced     = 38
	announcedSize = 100 << 20
)

// smallDisk has c keep uploads on a file system that is in memory, and its own.
func smallDisk(s *site) error {
	dir := filepath.Join(s.dir, "uploads")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	mount := fmt.Sprintf(`mount -t tmpfs -o size=512m,nr_inodes=%d tmpfs "$0"`, diskInodes)
	if text, err := exec.Command("unshare", "-rm", "sh", "-c", mount, dir).CombinedOutput(); err != nil {
		s.skipped = fmt.Sprintf("a mount in a namespace of its own is not allowed here: %s", bytes.TrimSpace(text))
		return nil
	}
	s.c.Args = slices.Concat([]string{"-rm", "sh", "-c", mount + ` && shift && exec "$@"`, dir, "--", s.c.Path}, s.c.Args, []string{"--upload", dir})
	s.c.Path = "unshare"
	return nil
}

// announce announces what there is room for, down to a small file.
func announce(ctx context.Context, t *target) {
	n := t.counter("announced")
	crowd(ctx, announced, func(ctx context.Context, i int) error {
		for size := announcedSize; size > 100_000; size /= 2 {
			conn, err := t.visit(ctx, attackerAddr(0, 1), "http/1.1")
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\nx", size); err != nil {
				return err
			}
			if n.Add(1) == announced {
				time.AfterFunc(2*time.Second, t.ready)
			}
			line := make([]byte, len("HTTP/1.1 507"))
			if _, err := io.ReadFull(conn, line); err == nil {
				t.count("answers of "+string(line[9:]), 1)
			}
			conn.Close()
		}
		return io.EOF
	})
}

func emptyUploads(ctx context.Context, t *target) {
	n := t.counter("uploads")
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		defer client.CloseIdleConnections()
		for n.Add(1) <= emptyOnes {
			resp, err := client.Post(t.url("/upload"), "", nil)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			t.count(fmt.Sprintf("answers of %d", resp.StatusCode), 1)
		}
		t.ready()
		<-ctx.Done()
		return ctx.Err()
	})
}

// uploadOne is an innocent visitor's upload.
func uploadOne(ctx context.Context, s *site) {
	client := s.client(innocentAddr)
	body := bytes.Repeat([]byte("innocent"), 1<<17)
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, "POST", s.url("/upload"), bytes.NewReader(body))
	if err != nil {
		s.failf("%v", err)
		return
	}
	resp, err := client.Do(r)
	if err != nil {
		s.failf("an innocent upload: %v", reason(err))
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		s.failf("an innocent upload of 1 MB is answered by %d", resp.StatusCode)
		return
	}
	s.notef("an innocent upload took %.1f s", time.Since(began).Seconds())
}

// inodesLeft is what others who use the disk need.
func inodesLeft(_ context.Context, s *site) {
	dir := filepath.Join(s.dir, "uploads")
	for _, c := range s.cSide() {
		// As c sees it, in its namespace.
		free, all, err := inodes(fmt.Sprintf("/proc/%d/root%s", c.PID(), dir))
		if err != nil {
			s.failf("%v", err)
			return
		}
		s.notef("%d of %d inodes are left", free, all)
		if all != diskInodes || free < diskInodes/100 {
			s.failf("uploads take all inodes")
		}
	}
}
