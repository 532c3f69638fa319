package cli_test

import (
	"context"
	"os"
	"os/exec"
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
