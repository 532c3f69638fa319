package serve

import (
	"io/fs"
	"os"
)

const (
	// maxCalls is how many calls of the system about files are under way at once. Each
	// holds a thread until the disk answers, and a disk or a network's file system may
	// not for long: a process that may have no more threads dies. One of up to four
	// origins may have more of them than the 1250 requests of one visitor that a p lets
	// through, who could have all others wait behind one folder.
	maxCalls = 2048
	// maxUploadCalls is how many there are beside about what is in an upload folder. It
	// may be on another disk, a slow one, which is not to stop downloads.
	maxUploadCalls = 1024
)

// Places are those of calls of the system about files that one handler has.
type Places struct{ root, upload calls }

// NewPlaces returns the places of a process, for each of n handlers. The threads that they
// hold are the process's: half of them are for whoever comes, and of the others each
// handler has its part, which no other's disk can take.
func NewPlaces(n int) []*Places {
	list := make([]*Places, n)
	root, upload := make(places, maxCalls/2), make(places, maxUploadCalls/2)
	for i := range list {
		list[i] = &Places{root: calls{oneOf(n, root), root}, upload: calls{oneOf(n, upload), upload}}
	}
	return list
}

// oneOf returns one of n parts of as many places as all has, one at least.
func oneOf(n int, all places) places { return make(places, max(1, cap(all)/n)) }

// places are taken by what is sent to them.
type places chan struct{}

// end gives one back.
func (p places) end() { <-p }

// calls are those under way: each has its place among them, and waits for one. Nobody who
// has a place waits for another one, for a visitor, or for a lock under which one is
// waited for, so that each comes free when the disk answers.
//
// A request reaches the disk by a [tree], an [uploadRoot], a [file] or a [dirEntry] alone:
// nothing else calls the system, or uses what they have in raw.
type calls struct{ own, shared places }

// begin waits for a place, and returns where it has one: it is to be ended there.
func (c calls) begin() places {
	select {
	case c.own <- struct{}{}:
		return c.own
	default:
	}
	select {
	case c.own <- struct{}{}:
		return c.own
	case c.shared <- struct{}{}:
		return c.shared
	}
}

// do calls f in a place.
func (c calls) do(f func() error) error {
	defer c.begin().end()
	return f()
}

// call calls f in a place among c.
func call[T any](c calls, f func() (T, error)) (T, error) {
	defer c.begin().end()
	return f()
}

// An uploadRoot is an os.Root in which visitors write.
type uploadRoot struct {
	raw   *os.Root
	calls calls
}

func (r uploadRoot) Name() string { return r.raw.Name() }

func (r uploadRoot) OpenFile(name string, flag int, mode fs.FileMode) (file, error) {
	f, err := call(r.calls, func() (*os.File, error) { return r.raw.OpenFile(name, flag, mode) })
	return file{f, r.calls}, err
}

func (r uploadRoot) Stat(name string) (fs.FileInfo, error) {
	return call(r.calls, func() (fs.FileInfo, error) { return r.raw.Stat(name) })
}

func (r uploadRoot) Lstat(name string) (fs.FileInfo, error) {
	return call(r.calls, func() (fs.FileInfo, error) { return r.raw.Lstat(name) })
}

func (r uploadRoot) Readlink(name string) (string, error) {
	return call(r.calls, func() (string, error) { return r.raw.Readlink(name) })
}

func (r uploadRoot) Mkdir(name string, mode fs.FileMode) error {
	return r.calls.do(func() error { return r.raw.Mkdir(name, mode) })
}

func (r uploadRoot) Remove(name string) error {
	return r.calls.do(func() error { return r.raw.Remove(name) })
}

func (r uploadRoot) RemoveAll(name string) error {
	return r.calls.do(func() error { return r.raw.RemoveAll(name) })
}

func (r uploadRoot) Rename(oldName, newName string) error {
	return r.calls.do(func() error { return r.raw.Rename(oldName, newName) })
}

func (r uploadRoot) Link(oldName, newName string) error {
	return r.calls.do(func() error { return r.raw.Link(oldName, newName) })
}

// A file is an open file or folder.
type file struct {
	raw   *os.File
	calls calls
}

func (f file) Stat() (fs.FileInfo, error) { return call(f.calls, f.raw.Stat) }
func (f file) Sync() error                { return f.calls.do(f.raw.Sync) }

// Close has a place too: some file systems write then what they have put off.
func (f file) Close() error { return f.calls.do(f.raw.Close) }

// closeLast is Close when c ends, which must not wait for a disk that does not answer.
func (f file) closeLast() error { return f.raw.Close() }

func (f file) Chmod(mode fs.FileMode) error {
	return f.calls.do(func() error { return f.raw.Chmod(mode) })
}

func (f file) Read(p []byte) (int, error) {
	return call(f.calls, func() (int, error) { return f.raw.Read(p) })
}

func (f file) ReadAt(p []byte, at int64) (int, error) {
	return call(f.calls, func() (int, error) { return f.raw.ReadAt(p, at) })
}

// readAndLook is ReadAt and then, if that has succeeded, Stat: in one place, as it is what
// most requests for files wait for.
func (f file) readAndLook(p []byte, at int64) (n int, after fs.FileInfo, err error) {
	defer f.calls.begin().end()
	if n, err = f.raw.ReadAt(p, at); err == nil {
		after, err = f.raw.Stat()
	}
	return n, after, err
}

func (f file) Write(p []byte) (int, error) {
	return call(f.calls, func() (int, error) { return f.raw.Write(p) })
}

func (f file) ReadDir(n int) ([]dirEntry, error) {
	batch, err := call(f.calls, func() ([]fs.DirEntry, error) { return f.raw.ReadDir(n) })
	entries := make([]dirEntry, len(batch))
	for i, e := range batch {
		entries[i] = dirEntry{e, f.calls}
	}
	return entries, err
}

// The others are the system's own, of the functions beneath.

func (f file) lock(wait bool) error {
	return f.calls.do(func() error { return lockFile(f.raw, wait) })
}

func (f file) unlinked() (bool, error) {
	return call(f.calls, func() (bool, error) { return unlinked(f.raw) })
}

func (f file) syncFolder() error {
	return f.calls.do(func() error { return syncFolder(f.raw) })
}

func (f file) attribute() ([]byte, error) {
	return call(f.calls, func() ([]byte, error) { return readAttribute(f.raw) })
}

func (f file) setAttribute(data []byte) error {
	return f.calls.do(func() error { return writeAttribute(f.raw, data) })
}

// lookAtDisk has no place. It is called with the lock of a [room] held, which must not
// wait for one, and so there is never more than one of it for a folder.
func (f file) lookAtDisk() (disk, bool) { return lookAt(f.raw) }

// A dirEntry is what a folder says of one file in it.
type dirEntry struct {
	fs.DirEntry
	calls calls
}

// Info asks the disk once more.
func (e dirEntry) Info() (fs.FileInfo, error) { return call(e.calls, e.DirEntry.Info) }
