package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
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

// A file that has outlived its p names another program's process by now, which is left
// alone.
func TestTokenTellsNoOtherProgram(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Skip(err)
	}
	defer stranger.Process.Kill()
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(stranger.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, said := tokens(t, filepath.Join(dir, "token"), "add", "photos", "--pid-file", pidFile)
	if status != 0 || !strings.Contains(said, "could not be sent") || strings.Count(said, "\n") != 1 {
		t.Errorf("status %d, %q", status, said)
	}
	stranger.Process.Kill()
	stranger.Wait()
	if by := stranger.ProcessState.Sys().(syscall.WaitStatus).Signal(); by != syscall.SIGKILL {
		t.Errorf("it was ended by %v", by)
	}
}
