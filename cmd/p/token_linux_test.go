package main

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A file with a process's id, in another user's folder, makes nobody wait, or look at
// what it leads to: whose that is would be asked by a name that is another's by then.
func TestHangUpReadsOnlyTheFile(t *testing.T) {
	dir := t.TempDir()
	own, link, pipe := filepath.Join(dir, "own"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(own, []byte(strconv.Itoa(os.Getpid())), 0o600), os.Symlink("own", link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	defer signal.Stop(told)
	for _, file := range []string{link, pipe, "/dev/zero"} {
		done := make(chan error, 1)
		// Ends with hangUp, or, where that waits, with the test's process.
		go func() {
			_, err := hangUp(file)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || len(told) > 0 {
				t.Errorf("%s: %v, %d signals; want an error and none", file, err, len(told))
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: it waits", file)
		}
	}
}
