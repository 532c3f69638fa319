//go:build linux || darwin || freebsd

package serve

import (
	"io/fs"
	"syscall"
	"time"
)

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), changed: info.ModTime(), inodeChanged: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
		s.attributes = [2]uint64{uint64(st.Nlink), uint64(st.Mode)}
		s.inodeChanged = time.Unix(inodeChange(st).Unix())
	}
	return s
}
