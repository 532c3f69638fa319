package serve

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// partPrefix begins the names of uploads that are not whole yet. The dot
// keeps them out of listings.
const partPrefix = ".spdy-proxy-upload-"

// What is uploaded is for its owner and for the group; the umask says how much
// of that is given, as with anybody's files.
const (
	uploadMode       = 0o660
	uploadFolderMode = 0o770
)

// An uploads keeps the bodies of requests in one folder, each whole under a
// name that no file had, or not at all.
//
// A body is written to a file whose name begins with partPrefix, synced, given
// its name by a link (which never replaces a file), and then loses the first
// name. A part that a crash left behind is removed at the next start, and what is
// beside it settled (see replace.go); a lock on it, which ends with the process,
// tells it from one that is still written.
type uploads struct {
	// Fixed when it is made.
	dir   uploadRoot
	self  file // dir, opened once, so that no upload fails at its end for want of a descriptor
	max   int64
	at    string // name of dir in the folder that is served, "." for that itself; empty: it is not in it
	link  func(oldName, newName string) error
	room  room // has its own lock
	log   *slog.Logger
	limit *loglimit.Logger // for what any number of requests can cause
}

// newUploads keeps bodies of at most max bytes in dir, which has the name at in
// the folder that is served. It closes nothing of what it was given.
func newUploads(dir uploadRoot, max int64, at string, log *slog.Logger, limit *loglimit.Logger) (*uploads, error) {
	self, err := dir.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	u := &uploads{
		dir: dir, self: self, max: max, at: at, link: dir.Link, log: log, limit: limit,
		room: room{look: self.lookAtDisk},
	}
	if err = u.clean(); err == nil {
		// Find out now, not at the first upload, whether files can be made here.
		var part *part
		if part, err = u.newPart(); err == nil {
			part.discard()
			return u, nil
		}
	}
	u.Close()
	return nil, err
}

// Close gives back what newUploads opened.
func (u *uploads) Close() error {
	return u.self.closeLast()
}

// clean removes the parts that no running process writes.
func (u *uploads) clean() error {
	d, err := u.dir.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), partPrefix) && !besidePart(e.Name()) {
				u.cleanPart(e.Name())
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (u *uploads) cleanPart(name string) {
	info, err := u.dir.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := u.dir.OpenFile(name, os.O_RDWR|openNonblock, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if err := f.lock(false); err != nil {
		return
	}
	if !u.settle(name, f) {
		return
	}
	if err := u.dir.Remove(name); err == nil {
		u.log.Info("removed an unfinished upload of an earlier run", "name", name)
	}
}

// A part is the file of an upload that is not whole yet.
type part struct {
	u    *uploads
	file file
	name string
}

func (u *uploads) newPart() (*part, error) {
	for {
		name := partPrefix + randomName()
		var f file
		err := u.room.create(func() (err error) {
			f, err = u.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, uploadMode)
			return err
		})
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p := &part{u: u, file: f, name: name}
		// Where there are no locks, clean can take none either and lets all parts be.
		f.lock(true)
		// A program that starts now may have taken the file for a leftover
		// before the lock was ours: then it has no name any more.
		gone, err := f.unlinked()
		if err == nil && !gone {
			return p, nil
		}
		p.discard()
		if err != nil {
			return nil, err
		}
	}
}

// discard leaves nothing of the part.
func (p *part) discard() {
	// The name first: without the lock another process might judge it. Where
	// an open file cannot be removed, the second try does it.
	err := p.u.dir.Remove(p.name)
	p.file.Close()
	if err != nil {
		p.u.dir.Remove(p.name)
	}
}

// A destination is where an upload is to be kept.
type destination struct {
	folder string // in the upload folder, "." for itself
	name   string // a safe one, to which a number is added if it is taken; empty: a random one
	ext    string // of a random name
}

// names gives the names to try, in their order. They have no end.
func (to destination) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		if to.name == "" {
			for yield(randomName() + to.ext) {
			}
			return
		}
		ext := path.Ext(to.name)
		stem := strings.TrimSuffix(to.name, ext)
		if !yield(to.name) {
			return
		}
		for i := 1; i < 100; i++ {
			if !yield(fmt.Sprintf("%s (%d)%s", stem, i, ext)) {
				return
			}
		}
		// Whoever sends one name again and again must not make us look for long.
		for yield(stem + " " + randomName() + ext) {
		}
	}
}

// store keeps what fill writes, at most u.max bytes, and returns its name in
// the upload folder.
func (u *uploads) store(to destination, fill func(io.Writer) error) (name string, err error) {
	folder := u.self
	if to.folder != "." {
		// Opened first: what cannot be kept in the end need not come.
		if folder, err = u.dir.OpenFile(to.folder, os.O_RDONLY|openNonblock, 0); err != nil {
			return "", err
		}
		defer folder.Close()
	}
	p, err := u.newPart()
	if err != nil {
		return "", err
	}
	defer p.discard()
	if err := fill(&limited{w: p, left: u.max}); err != nil {
		return "", err
	}
	if err := p.file.Sync(); err != nil {
		return "", err
	}
	for name = range to.names() {
		name = path.Join(to.folder, name)
		if err = p.place(name); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if err := folder.syncFolder(); err != nil {
		u.dir.Remove(name)
		return "", err
	}
	return name, nil
}

// place gives the part a name that no file has.
func (p *part) place(name string) error {
	err := p.u.link(p.name, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Some file systems have no links, and a rename would replace a file of
	// that name: so it replaces one that is made here.
	var f file
	if made := p.u.room.create(func() (err error) {
		f, err = p.u.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, uploadMode)
		return err
	}); made != nil {
		if errors.Is(made, fs.ErrExist) {
			return made
		}
		return err
	}
	f.Close()
	if p.u.dir.Rename(p.name, name) != nil {
		p.u.dir.Remove(name)
		return err
	}
	return nil
}

// Write writes to the part's file what there is room for.
func (p *part) Write(b []byte) (n int, err error) {
	err = p.u.room.write(int64(len(b)), func() error {
		n, err = p.file.Write(b)
		return err
	})
	return n, err
}

// A limited passes on the bytes that may be kept, and fails at the first beyond them.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, errTooLong
	}
	return l.w.Write(b)
}

// extension returns the extension that an upload to the path keeps: one that
// no browser, shell or server takes for something to run; else none.
func extension(urlPath string) string {
	if ext := strings.ToLower(path.Ext(urlPath)); inert[ext] {
		return ext
	}
	return ""
}

// randomName returns a name that nobody can guess, in letters that every file system keeps apart.
func randomName() string { return strings.ToLower(rand.Text()) }

// url returns the path under which the folder serves the upload of that name,
// or "" if it does not.
func (u *uploads) url(name string) string {
	if u.at == "" {
		return ""
	}
	var to strings.Builder
	for part := range strings.SplitSeq(path.Join(u.at, name), "/") {
		to.WriteByte('/')
		to.WriteString(url.PathEscape(part))
	}
	return to.String()
}

// inside returns the name in the upload folder, "." for itself, of what has the
// name served in the folder that is served; ok is false if that lies elsewhere.
func (u *uploads) inside(served string) (name string, ok bool) {
	switch u.at {
	case "":
		return "", false
	case served:
		return ".", true
	case ".":
		return served, true
	}
	return strings.CutPrefix(served, u.at+"/")
}

// nameUnder returns the name of dir in the folder root, or "" if it is not in
// it or not served.
func nameUnder(root, dir string, visible func(string) bool) string {
	root, err := resolve(root)
	if err != nil {
		return ""
	}
	if dir, err = resolve(dir); err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	rel = filepath.ToSlash(rel)
	for part := range strings.SplitSeq(rel, "/") {
		if rel != "." && !visible(part) {
			return ""
		}
	}
	return rel
}

// resolve returns the absolute name of dir, with no link in it.
func resolve(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
