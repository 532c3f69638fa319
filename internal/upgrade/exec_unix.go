//go:build unix

package upgrade

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// take reports whether fd is open, has it closed in what this process starts, and
// has a read of it end when this process closes it: one that blocks would not.
func take(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	return err == nil && unix.SetNonblock(fd, true) == nil
}

// duplicate returns ln's socket as a file. Its own method File would make one that
// turns the socket blocking when it is handed over, for this process too: an Accept
// that waits would not end any more.
func duplicate(ln net.Listener, name string) (*os.File, error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errors.New("it is no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup := -1
	if e := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), name), nil
}
