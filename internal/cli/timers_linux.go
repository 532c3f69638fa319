package cli

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// defaultSlack is what Linux gives to a program that asked for nothing
	// (prctl(2), PR_SET_TIMERSLACK).
	defaultSlack = 50 * time.Microsecond

	// slack is by how much our timers may be late.
	slack = time.Millisecond
)

// RelaxTimers lets the system wake this program up to a millisecond late for a
// timer. A busy Go program is woken every 70 us by its own monitor thread, which
// sleeps for 20 us and the system's slack: on a small machine that is a tenth
// of all it does.
//
// The slack is a thread's, handed on to the threads it starts, and the monitor
// is there before main is: so the program starts itself again, in the same
// process, before it has done anything else. Call it first.
func RelaxTimers() {
	is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(is) != defaultSlack {
		return // somebody chose it, or it was done already
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread() // the new program gets the slack of the thread that calls exec
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0) != nil {
		return
	}
	// Some systems say so to a thread whose slack they do not change. The program
	// would start itself again for ever.
	if is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || time.Duration(is) != slack {
		return
	}
	syscall.Exec(path, os.Args, os.Environ())
	// Where that fails the program only costs more.
}
