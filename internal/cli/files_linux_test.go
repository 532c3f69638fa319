package cli

import (
	"context"
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A daemon has the room before the files, and no file stays open for it.
func TestRoomForFiles(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	want := min(limit.Cur, 16384)
	before := open(t)
	if has := room(t); has >= want {
		t.Skipf("there is room for %d files already", has)
	}
	p := &Program{Name: "x", Daemon: true, Run: func(context.Context, *Process) error {
		if has := room(t); has < want {
			t.Errorf("there is room for %d files as the daemon runs, want %d", has, want)
		}
		return nil
	}}
	if status := p.Main(t.Context(), nil, io.Discard, io.Discard); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if after := open(t); after != before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}

// room is how many files the system has room for (proc_pid_status(5), FDSize).
func room(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^FDSize:\s*(\d+)$`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no FDSize in %s", status)
	}
	n, err := strconv.ParseUint(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// open is how many files are open.
func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
