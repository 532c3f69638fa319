//go:build unix

package serve

import (
	"errors"
	"os"
	"syscall"
)

// openNonblock keeps an open from waiting for the other end of a FIFO.
const openNonblock = syscall.O_NONBLOCK

// lockFile takes the lock of f, which ends when f is closed or the process
// ends, however it ends. With wait false it fails if another process has it.
func lockFile(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// unlinked tells whether f has lost its name.
func unlinked(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0, nil
}

// syncFolder makes the names in an open folder last over a power failure.
func syncFolder(f *os.File) error { return f.Sync() }
