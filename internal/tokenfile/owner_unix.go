//go:build unix

package tokenfile

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives w the owner of the file whose place it takes, and lets the group read
// it that root lends that file to, as control.WarnReadable allows: p may run as another
// user than who edits. A folder may be in place of the file, for its owner.
func keepOwner(w *os.File, old fs.FileInfo) error {
	was, ok := old.Sys().(*syscall.Stat_t)
	info, err := w.Stat()
	if err != nil || !ok {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !ok || is.Uid != was.Uid || is.Gid != was.Gid {
		if err := w.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return err
		}
	}
	if old.Mode().IsRegular() && was.Uid == 0 && was.Gid != 0 {
		return w.Chmod(old.Mode().Perm() & 0o640)
	}
	return nil
}

// noFollow has the system open no link, and wait for nobody.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// rootInAnothers reports whether this is root in the folder of another user, who could
// put a link there that has root write elsewhere.
func rootInAnothers(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid != 0
}
