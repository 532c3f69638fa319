package cli_test

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/amahi/spdy-proxy/internal/cli"
)

// The program starts itself again once, as the same process, with its arguments
// and its environment.
func TestRelaxTimers(t *testing.T) {
	if os.Getenv("TEST_RELAX_TIMERS") != "" {
		cli.RelaxTimers()
		is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil || is != 1_000_000 {
			t.Errorf("got a slack of %d ns, %v, want 1 ms", is, err)
		}
		os.Stdout.WriteString("ran to its end\n")
		return
	}
	if is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || is != 50_000 {
		t.Skipf("somebody has chosen a slack of %d ns: %v", is, err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRelaxTimers$")
	cmd.Env = append(os.Environ(), "TEST_RELAX_TIMERS=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ran to its end") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// child runs a test of this program, which is the file, as a user would: word by
// word. It returns what it printed.
func child(t *testing.T, words ...string) string {
	t.Helper()
	if is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || is != 50_000 {
		t.Skipf("somebody has chosen a slack of %d ns: %v", is, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], "-test.run=^"+t.Name()+"$")...)
	cmd.Env = append(os.Environ(), "TEST_RELAX_TIMERS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v\n%s", words, err, out)
	}
	return string(out)
}

// copied returns a copy of this program.
func copied(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a-name-that-is-long")
	if err := os.WriteFile(file, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is executed is what runs, not what has its name by now; and the process
// keeps its name.
func TestRelaxTimersOfAReplacedFile(t *testing.T) {
	if os.Getenv("TEST_RELAX_TIMERS") != "" {
		if slackIs(t) == 50_000 {
			other := os.Args[0] + ".new"
			if err := os.WriteFile(other, []byte("#!/bin/sh\necho another program\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, os.Args[0]); err != nil {
				t.Fatal(err)
			}
		}
		cli.RelaxTimers()
		comm, _ := os.ReadFile("/proc/self/comm")
		fmt.Printf("slack %d, name %s", slackIs(t), comm)
		return
	}
	if out, want := child(t, copied(t)), "slack 1000000, name a-name-that-is-\n"; !strings.Contains(out, want) {
		t.Errorf("got %q, want %q", out, want)
	}
}

// A program that a loader runs is not executed again: that would be the loader,
// with arguments that are none of its.
func TestRelaxTimersUnderALoader(t *testing.T) {
	if os.Getenv("TEST_RELAX_TIMERS") != "" {
		cli.RelaxTimers()
		fmt.Printf("slack %d, arguments %v\n", slackIs(t), len(os.Args))
		return
	}
	loader := ""
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			loader = strings.TrimRight(string(b), "\x00")
		}
	}
	if loader == "" {
		t.Skip("this program is linked statically: no loader runs it")
	}
	if out, want := child(t, loader, os.Args[0]), "slack 50000, arguments 2\n"; !strings.Contains(out, want) {
		t.Errorf("got %q, want %q", out, want)
	}
}

func slackIs(t *testing.T) int {
	t.Helper()
	is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// Where the setting is taken and has no effect, as newer systems do to real-time
// threads, the program does not start itself again for ever.
func TestRelaxTimersDeaf(t *testing.T) {
	if os.Getenv("TEST_RELAX_TIMERS") != "" {
		if err := ignoreSlack(); err != nil {
			os.Stdout.WriteString("no filter: " + err.Error())
			return
		}
		cli.RelaxTimers()
		os.Stdout.WriteString("ran to its end\n")
		return
	}
	if is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || is != 50_000 {
		t.Skipf("somebody has chosen a slack of %d ns: %v", is, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRelaxTimersDeaf$")
	cmd.Env = append(os.Environ(), "TEST_RELAX_TIMERS=1")
	out, err := cmd.CombinedOutput()
	if _, why, ok := strings.Cut(string(out), "no filter: "); ok {
		t.Skip(why)
	}
	if err != nil || strings.Count(string(out), "ran to its end") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// ignoreSlack has the system say that it sets a timer slack, without doing so.
func ignoreSlack() error {
	const (
		number, first = 0, 16 // places of the call's number and its first argument
		word, equal   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: word, K: number},
		{Code: equal, K: unix.SYS_PRCTL, Jf: 3},
		{Code: word, K: first},
		{Code: equal, K: unix.PR_SET_TIMERSLACK, Jf: 1},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
