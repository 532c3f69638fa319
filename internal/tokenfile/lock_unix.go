//go:build unix

package tokenfile

import (
	"os"
	"syscall"
	"time"
)

// lock marks the file of an edit that is under way. The end of the process takes the
// mark away. Where the system has no such thing, what is left is never taken for it.
func lock(w *os.File) { syscall.Flock(int(w.Fd()), syscall.LOCK_EX) }

// removeLeft removes the file of an edit that was cut off, and reports whether there
// was one. A process of a version that locks nothing is given editTime.
func removeLeft(name string) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return false
	}
	defer f.Close() // and with that the lock is gone, which keeps others from the same
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	opened, err := f.Stat()
	if err != nil || time.Since(opened.ModTime()) < editTime {
		return false
	}
	is, err := os.Lstat(name)
	return err == nil && os.SameFile(is, opened) && os.Remove(name) == nil
}
