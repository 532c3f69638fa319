//go:build unix

package tokenfile

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives w the owner of the file whose place it takes: p may run as another
// user than who edits.
func keepOwner(w *os.File, old fs.FileInfo) error {
	was, ok := old.Sys().(*syscall.Stat_t)
	info, err := w.Stat()
	if err != nil || !ok {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	return w.Chown(int(was.Uid), int(was.Gid))
}
