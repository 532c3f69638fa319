package serve

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// maxWarned bounds how many links that leave the root are told of, and remembered.
const maxWarned = 1000

// A tree is the root as names and links lead through it.
//
// An os.Root opens what lies inside it, but refuses a link by its form: one
// that is absolute, or goes up and comes back. Here the target decides. Such a
// link is resolved by the system, and what it leads to is opened by its name in
// the root, once more through the os.Root, so that a link that is changed
// meanwhile leads nowhere.
type tree struct {
	// Fixed when it is made.
	raw    *os.Root
	place  string // absolute and without links; empty: not known, and no such link is followed
	follow bool   // also links that leave the root
	log    *slog.Logger
	calls  calls

	mu     sync.Mutex
	warned map[string]bool // guarded by mu: the links that leave the root and were told of; nil at first
}

// newTree takes root, which was opened as dir, and owns it.
func newTree(root *os.Root, dir string, follow bool, log *slog.Logger, calls calls) *tree {
	t := &tree{raw: root, follow: follow, log: log, calls: calls}
	if place, err := resolve(dir); err == nil {
		t.place = place
	}
	return t
}

// Stat is os.Root's, but for links as above.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	defer t.calls.begin().end()
	info, err := t.raw.Stat(name)
	if err == nil || !escapes(err) {
		return info, err
	}
	real, inside, err := t.resolve(name)
	switch {
	case err != nil:
		return nil, err
	case inside:
		return t.raw.Stat(real)
	}
	return os.Stat(real)
}

// open opens a file or folder for reading, without waiting for what is behind it, and
// looks at what it has opened.
func (t *tree) open(name string) (file, fs.FileInfo, error) {
	defer t.calls.begin().end()
	f, err := t.openRaw(name)
	if err != nil {
		return file{}, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return file{}, nil, err
	}
	return file{f, t.calls}, info, nil
}

// openRaw is called in a place.
func (t *tree) openRaw(name string) (*os.File, error) {
	const flag = os.O_RDONLY | openNonblock
	f, err := t.raw.OpenFile(name, flag, 0)
	if err == nil || !escapes(err) {
		return f, err
	}
	real, inside, err := t.resolve(name)
	switch {
	case err != nil:
		return nil, err
	case inside:
		return t.raw.OpenFile(real, flag, 0)
	}
	return os.OpenFile(real, flag, 0)
}

// resolve tells where name leads: the name in the root that it stands for, or
// else the absolute one, if links may leave.
func (t *tree) resolve(name string) (real string, inside bool, err error) {
	real, inside, err = t.target(name)
	if err == nil && !inside && !t.follow {
		t.warn(name)
		err = errNotFound
	}
	return real, inside, err
}

// target asks the system where name leads.
func (t *tree) target(name string) (real string, inside bool, err error) {
	if t.place == "" {
		return "", false, errNotFound
	}
	real, err = filepath.EvalSymlinks(filepath.Join(t.place, name))
	if err != nil {
		return "", false, err
	}
	if rel, err := filepath.Rel(t.place, real); err == nil && filepath.IsLocal(rel) {
		return rel, true, nil
	}
	return real, false, nil
}

// isIn tells whether name leads to something in that folder, or to the folder.
func (t *tree) isIn(name string, folder fs.FileInfo) bool {
	if !folder.IsDir() || t.place == "" {
		return false
	}
	defer t.calls.begin().end()
	real, err := filepath.EvalSymlinks(filepath.Join(t.place, name))
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(real); err == nil && os.SameFile(info, folder) {
			return true
		}
		up := filepath.Dir(real)
		if up == real {
			return false
		}
		real = up
	}
}

// warn tells once of the link in name that leaves the root. Names are the
// visitor's, and without end; links are the owner's.
func (t *tree) warn(name string) {
	link := name
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if _, inside, err := t.target(name[:i]); err == nil && !inside {
			link = name[:i]
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.warned[link] || len(t.warned) >= maxWarned {
		return
	}
	if t.warned == nil {
		t.warned = make(map[string]bool)
	}
	t.warned[link] = true
	t.log.Warn("this link leaves the folder and is not served; --follow-links serves it", "link", link)
}

// escapes tells whether err is os.Root's for a name that leads out, or seems
// to. It has no type, but whatever the system says has one.
func escapes(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, new(*fs.PathError)) && !errors.As(err, new(*os.LinkError)) {
		return false
	}
	return !errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrClosed) && !errors.Is(err, errNotFound)
}
