// Package testabort tells a test whether a handler broke its answer off.
package testabort

import "net/http"

// Aborts calls f, and reports whether it panicked with http.ErrAbortHandler. Any other
// panic goes on.
func Aborts(f func()) (aborted bool) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			aborted = true
		} else if v != nil {
			panic(v)
		}
	}()
	f()
	return false
}
