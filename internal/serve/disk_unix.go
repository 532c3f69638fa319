//go:build linux || darwin || freebsd

package serve

import (
	"os"

	"golang.org/x/sys/unix"
)

// lookAt tells what is left of the disk that holds folder, an open one; ok is
// false where that cannot be known.
func lookAt(folder *os.File) (d disk, ok bool) {
	raw, err := folder.SyscallConn()
	if err != nil {
		return disk{}, false
	}
	var st unix.Statfs_t
	if cerr := raw.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &st) }); cerr != nil || err != nil || st.Blocks == 0 {
		return disk{}, false
	}
	size := int64(st.Bsize)
	return disk{
		free: int64(st.Bavail) * size, total: int64(st.Blocks) * size,
		freeFiles: int64(st.Ffree), totalFiles: int64(st.Files),
	}, true
}
