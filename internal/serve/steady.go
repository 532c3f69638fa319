package serve

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// atRest is the age from which on a file counts as at rest. Its stamp then
// stands for one content: file systems stamp with a clock that ticks every
// 10 ms at the slowest, or, those that keep whole seconds, every 2 s (FAT), and
// a second write within the tick of the first leaves the same stamp.
const atRest = 2 * time.Second

var errChanged = errors.New("the file changed while it was sent")

// A steadyFile reads a file that was at rest as it was when the request came,
// or fails: bytes of two contents are never joined under one strong ETag. It
// looks at the file's stamp after each read, so what it hands out was read
// before the change that it notices next. What the stamp does not show (see
// [etag]) is not seen.
//
// A file that changes already when it is opened (a download, a recording, a
// database) has no ETag, and is read as it comes: it fails only if it gets
// shorter than was announced.
//
// It implements io.ReadSeeker for http.ServeContent, which reads what it has
// announced and no more. It keeps the position itself: each lseek would be a
// call of the system for nothing.
type steadyFile struct {
	// Fixed when it is made.
	file   file
	was    stamp
	steady bool // it was at rest

	// Owned by the goroutine that reads: ServeContent's caller, or the one
	// that ServeContent starts for several ranges.
	at int64

	// failed is set once the body cannot be completed.
	failed atomic.Bool
}

func (f *steadyFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekEnd:
		// The announced size is that of the stamp, whatever the file's is now.
		offset += f.was.size
	case io.SeekCurrent:
		offset += f.at
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	f.at = offset
	return offset, nil
}

func (f *steadyFile) Read(p []byte) (int, error) {
	if f.at >= f.was.size {
		return 0, io.EOF
	}
	// No more than is there: ReadAt asks the system once more for what is missing.
	n, err := f.read(p[:min(int64(len(p)), f.was.size-f.at)])
	if err == io.EOF {
		err = errChanged // it is shorter than it was
	}
	if err != nil {
		f.failed.Store(true)
		return 0, err
	}
	f.at += int64(n)
	return n, nil
}

// read fails if the stamp of a file that was at rest shows afterwards that its bytes may
// have changed.
func (f *steadyFile) read(p []byte) (int, error) {
	if !f.steady {
		return f.file.ReadAt(p, f.at)
	}
	n, after, err := f.file.readAndLook(p, f.at)
	if err == nil && !f.was.sameContent(stampOf(after)) {
		err = errChanged
	}
	return n, err
}

// steady tells whether the file that has the name in the root is at rest.
func (d *folder) steady(name string, info fs.FileInfo, now time.Time) bool {
	// A time from the future comes from another clock: it says nothing of when.
	return now.Sub(stampOf(info).inodeChanged) >= atRest && !d.restless.has(name, now)
}

const (
	// maxRestless bounds how many restless files are remembered.
	maxRestless = 256
	// restlessFor is how long one is remembered.
	restlessFor = time.Hour
)

// A restlessFiles remembers the files that changed while they were sent,
// although they had seemed at rest: a log that gets a line a minute, say. The
// next try takes such a file as one that changes.
type restlessFiles struct {
	mu sync.Mutex
	// Guarded by mu: until when, by the name in the root. nil at first.
	until map[string]time.Time
}

// add remembers a file, and tells whether that is news.
func (r *restlessFiles) add(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := now.Before(r.until[name])
	if r.until == nil || len(r.until) >= maxRestless {
		r.until = make(map[string]time.Time)
	}
	r.until[name] = now.Add(restlessFor)
	return !known
}

func (r *restlessFiles) has(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.until[name])
}
