//go:build unix

package accesslog

import "syscall"

// openWithoutWaiting is a flag for opening a file.
const openWithoutWaiting = syscall.O_NONBLOCK
