//go:build linux

package process

import (
	"os/exec"
	"syscall"
)

// own makes cmd a process group, to be ended as a whole, that does not outlive
// this program.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func signalGroup(pid int, sig syscall.Signal) { syscall.Kill(-pid, sig) }

// OpenFiles returns how many files this program may have open.
func OpenFiles() (int, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<30)), err
}
