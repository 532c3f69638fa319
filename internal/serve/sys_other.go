//go:build !unix

package serve

import (
	"errors"
	"os"
	"syscall"
)

// Such a system has no FIFOs among its files.
const openNonblock = 0

// lockFile does nothing: an open file cannot be removed on such a system,
// which is all that the lock is for.
func lockFile(*os.File, bool) error { return nil }

func unlinked(*os.File) (bool, error) { return false, nil }

// syncFolder does nothing: such a system writes names with their files.
func syncFolder(*os.File) error { return nil }

// diskFull tells whether err means that the disk is full.
func diskFull(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, syscall.ENOSPC)
}
