//go:build !unix

package proxy

// openWithoutWaiting is a flag for opening a file: here none waits.
const openWithoutWaiting = 0

// fileLimit returns how many files the process may have open: here the system
// sets no number.
func fileLimit() int { return 1 << 30 }
