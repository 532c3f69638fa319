//go:build linux || darwin

package serve

import (
	"os"

	"golang.org/x/sys/unix"
)

// diskSpace tells how many bytes an ordinary user may still write to the disk
// that holds dir, and how many it has; ok is false where that cannot be known.
func diskSpace(dir *os.Root) (free, total int64, ok bool) {
	f, err := dir.Open(".")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Blocks == 0 {
		return 0, 0, false
	}
	size := int64(st.Bsize)
	return int64(st.Bavail) * size, int64(st.Blocks) * size, true
}
