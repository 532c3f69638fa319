//go:build unix

package proxy

import (
	"math"
	"syscall"
)

// fileLimit returns how many files the process may have open.
func fileLimit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxUint64
	}
	return uint64(l.Cur) // no limit is more than any number of files
}
