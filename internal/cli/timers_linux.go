package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
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

	// selfExe is the file that the process executes, even if another file has its
	// name by now, or none (proc_pid_exe(5)).
	selfExe = "/proc/self/exe"

	// maxName is how much of a process's name the system keeps (proc_pid_comm(5)).
	maxName = 15
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
		keepName() // somebody chose it, or it was done already
		return
	}
	if !runsSelfExe() {
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
	syscall.Exec(selfExe, os.Args, os.Environ())
	// Where that fails the program only costs more.
}

// runsSelfExe reports whether selfExe is this program: the file that this code
// was mapped from. That of a program which a loader was told to run, as in
// "ld-linux-x86-64.so.2 ./bin/p", is the loader, which would take our first
// argument for the program.
func runsSelfExe() bool {
	exe, err := os.Readlink(selfExe)
	if err != nil {
		return false
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return false
	}
	defer maps.Close()
	here := uint64(reflect.ValueOf(runsSelfExe).Pointer())
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		// 00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/p (proc_pid_maps(5))
		var from, to, offset, inode uint64
		var modes, device string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d", &from, &to, &modes, &offset, &device, &inode); n != 6 {
			return false
		}
		if from <= here && here < to {
			_, file, _ := strings.Cut(lines.Text(), "/")
			return "/"+file == exe
		}
	}
	return false
}

// keepName gives the threads, which the system named after selfExe, the name that
// the program was started by: ps and pgrep look for it.
func keepName() {
	is, err := os.ReadFile("/proc/self/comm")
	if err != nil || strings.TrimSpace(string(is)) != filepath.Base(selfExe) || len(os.Args) == 0 {
		return
	}
	name := filepath.Base(os.Args[0])
	threads, _ := filepath.Glob("/proc/self/task/*/comm")
	for _, comm := range threads {
		os.WriteFile(comm, []byte(name[:min(len(name), maxName)]), 0)
	}
}
