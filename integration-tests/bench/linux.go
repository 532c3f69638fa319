//go:build linux

package main

import (
	"os/exec"
	"syscall"
)

// receiveBuffer returns what sets the size of a socket's receive buffer before
// it connects: later, the peer may have been promised more. 0 leaves it.
func receiveBuffer(size int) func(network, address string, c syscall.RawConn) error {
	if size == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		})
		if err != nil {
			return err
		}
		return failed
	}
}

// own makes cmd a process group, to be ended as a whole, that does not outlive
// this program.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func signalGroup(pid int, sig syscall.Signal) { syscall.Kill(-pid, sig) }
