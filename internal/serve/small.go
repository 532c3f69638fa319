package serve

import (
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// smallFile is the size up to which a file is kept in memory.
	smallFile = 16 << 10
	// maxSmall bounds how many are kept, and so the memory: 8 MiB.
	maxSmall = 512
	// keepSmall is how long one is kept. The stamp that is compared at each
	// request does not show every change (see [etag]); a second later all do.
	keepSmall = time.Second
)

// A smallFiles keeps the small files of the last moment. To open, read and
// close one costs 16 µs, to look whether its stamp is what it was 4 (BenchmarkSmallFile):
// an eighth of what p and c take together for a GET of 1 KiB. A page asks for the
// same few again and again.
//
// Its promise is that of a strong ETag: what is handed out is what the file
// holds now, as far as its stamp, device and inode tell.
type smallFiles struct {
	mu sync.Mutex
	// Guarded by mu: by the name in the root. nil at first.
	files map[string]*smallContent
}

// A smallContent is a small file in memory. It does not change.
type smallContent struct {
	entity
	info  fs.FileInfo
	bytes []byte
	until time.Time
}

// get returns what is kept of the file of that name, nil if nothing is or if
// the file that has the name now is another or has changed.
func (s *smallFiles) get(root *tree, name string, now time.Time) *smallContent {
	s.mu.Lock()
	c := s.files[name]
	s.mu.Unlock()
	if c == nil || now.After(c.until) {
		return nil
	}
	info, err := root.Stat(name)
	if err != nil || !os.SameFile(info, c.info) || !stampOf(info).equal(stampOf(c.info)) {
		return nil
	}
	return c
}

// read reads the whole of f into memory and keeps it under name. It returns nil
// if f is not small, or changes or did so lately: its stamp may then miss a
// change, and other things than its content need attention.
func (s *smallFiles) read(name string, f file, info fs.FileInfo, e entity, now time.Time) *smallContent {
	was := stampOf(info)
	if e.size > smallFile || was.inode == 0 || now.Sub(was.inodeChanged) < atRest {
		return nil
	}
	c := &smallContent{entity: e, info: info, bytes: make([]byte, e.size), until: now.Add(keepSmall)}
	_, after, err := f.readAndLook(c.bytes, 0)
	if err != nil || !stampOf(after).equal(was) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil || len(s.files) >= maxSmall {
		// Most are out of date, and the others are soon back.
		s.files = make(map[string]*smallContent)
	}
	s.files[name] = c
	return c
}
