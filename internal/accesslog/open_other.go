//go:build !unix

package accesslog

// openWithoutWaiting is a flag for opening a file: here none waits.
const openWithoutWaiting = 0
