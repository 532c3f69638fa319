//go:build !windows

package errno

import "syscall"

// others returns none: the system has one number for each name.
func others(syscall.Errno) []syscall.Errno { return nil }
