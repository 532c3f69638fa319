package serve

import (
	"io/fs"
	"strconv"
	"time"
)

// etag names the content that info stands for: size, time of change to the
// nanosecond and, where the system has them, the inode and its own time of
// change, which no program can set back.
//
// It is strong, so that a part of a file may be joined to another part under
// the same tag, on these promises of the system: each write moves the times,
// once what was there before is at rest (see [atRest]). It does not see a
// write through mmap until the system notes it, nor one made beneath the
// file system. It changes more often than the content does: with a chmod, a new
// hard link or a copy to another disk. That costs a transfer, never a wrong byte.
func etag(info fs.FileInfo) string {
	s := stampOf(info)
	tag := make([]byte, 0, 80)
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, s.size, 16)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, s.changed.UnixNano(), 16)
	tag = append(tag, '-')
	tag = strconv.AppendUint(tag, s.inode, 16)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, s.inodeChanged.UnixNano(), 16)
	tag = append(tag, '"')
	return string(tag)
}

// A stamp is what the system says of a file's content without reading it.
type stamp struct {
	size         int64
	changed      time.Time
	inode        uint64    // 0: the system has none
	inodeChanged time.Time // equal to changed where the system has none
	attributes   [2]uint64 // what else moves inodeChanged: number of names, mode; where the system has them
}

// equal tells whether nothing that s holds differs in t.
func (s stamp) equal(t stamp) bool {
	return s.sameContent(t) && s.inode == t.inode && s.inodeChanged.Equal(t.inodeChanged)
}

// sameContent tells whether the same file has the same content by both stamps.
// A file that was only given or taken a name or a right has; one whose time was
// set back has not.
func (s stamp) sameContent(t stamp) bool {
	return s.size == t.size && s.changed.Equal(t.changed) &&
		(s.inodeChanged.Equal(t.inodeChanged) || s.attributes != t.attributes)
}
