//go:build !unix

package tokenfile

import (
	"os"
	"time"
)

// lock does nothing: a file that is open cannot be removed here.
func lock(*os.File) {}

// removeLeft removes the file of an edit that was cut off, and reports whether there
// was one. Between its close and its rename an edit is given editTime.
func removeLeft(name string) bool {
	is, err := os.Lstat(name)
	return err == nil && time.Since(is.ModTime()) >= editTime && os.Remove(name) == nil
}
