//go:build unix

package control

import (
	"io/fs"
	"syscall"
)

// lentToGroup reports whether root lets a group read a file, and no more: that of a
// service, which must not be able to change what it is told.
func lentToGroup(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == 0 && s.Gid != 0 && info.Mode().Perm()&0o037 == 0
}
