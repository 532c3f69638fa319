package serve

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// partPrefix begins the names of uploads that are not whole yet. The dot
// keeps them out of listings.
const partPrefix = ".spdy-proxy-upload-"

// An uploads keeps the bodies of requests in one folder, each whole under a
// new random name, or not at all.
//
// A body is written to a file whose name begins with partPrefix, synced, given
// its name by a link (which never replaces a file), and then loses the first
// name. A part that a crash left behind is removed at the next start; a lock
// on it, which ends with the process, tells it from one that is still written.
type uploads struct {
	// Fixed when it is made.
	dir   *os.Root
	self  *os.File // dir, opened once, so that no upload fails at its end for want of a descriptor
	max   int64
	place string // path of dir as the folder serves it, with slashes around; empty: it does not
	room  room   // has its own lock
	log   *slog.Logger

	noDescriptors, noRoom, failed *limitedLog
}

// newUploads keeps bodies of at most max bytes in dir, which the folder serves
// at place. It closes nothing of what it was given.
func newUploads(dir *os.Root, max int64, place string, log *slog.Logger, noDescriptors *limitedLog) (*uploads, error) {
	self, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	u := &uploads{
		dir: dir, self: self, max: max, place: place, log: log,
		room:          room{look: func() (disk, bool) { return lookAt(self) }},
		noDescriptors: noDescriptors,
		noRoom:        newLimitedLog(log, slog.LevelWarn, "an upload was refused"),
		failed:        newLimitedLog(log, slog.LevelError, "an upload could not be kept"),
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
	return errors.Join(u.noRoom.close(), u.failed.close(), u.self.Close())
}

// clean removes the parts that no running process writes.
func (u *uploads) clean() error {
	d, err := u.dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, partPrefix) {
				u.cleanPart(name)
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
	if err := lockFile(f, false); err != nil {
		return
	}
	if err := u.dir.Remove(name); err == nil {
		u.log.Info("removed an unfinished upload of an earlier run", "name", name)
	}
}

// A part is the file of an upload that is not whole yet.
type part struct {
	u    *uploads
	file *os.File
	name string
}

func (u *uploads) newPart() (*part, error) {
	for {
		name := partPrefix + randomName()
		var f *os.File
		err := u.room.create(func() (err error) {
			f, err = u.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
		lockFile(f, true)
		// A program that starts now may have taken the file for a leftover
		// before the lock was ours: then it has no name any more.
		gone, err := unlinked(f)
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

// finish makes the part last, under a new name with the extension ext.
func (p *part) finish(ext string) (string, error) {
	if err := p.file.Sync(); err != nil {
		return "", err
	}
	for {
		name := randomName() + ext
		err := p.u.dir.Link(p.name, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			// Some file systems have no links. A rename would replace a file
			// of that name, so make sure that there is none; 128 random bits
			// keep one from coming in between.
			_, statErr := p.u.dir.Lstat(name)
			if statErr == nil {
				continue
			}
			if !errors.Is(statErr, fs.ErrNotExist) || p.u.dir.Rename(p.name, name) != nil {
				return "", err
			}
		}
		if err := syncFolder(p.u.self); err != nil {
			p.u.dir.Remove(name)
			return "", err
		}
		return name, nil
	}
}

// keep answers a POST or PUT.
func (u *uploads) keep(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Range") != "" {
		http.Error(w, "400: a part of a file cannot be kept; send the whole", http.StatusBadRequest)
		return
	}
	body := newReceived(w, r)
	name, err := u.store(body, extension(r.URL.Path))
	switch {
	case err == nil:
	case errors.Is(err, errTooLong):
		http.Error(w, fmt.Sprintf("413: at most %d bytes are kept", u.max), http.StatusRequestEntityTooLarge)
		return
	case body.broken:
		u.log.Debug("an upload ended early", "received", body.length, "error", err)
		body.refuse(w, err)
		return
	default:
		u.refuse(w, err)
		return
	}
	u.log.Info("kept an upload", "name", name, "bytes", body.length)
	h := w.Header()
	body.describe(h)
	if u.place != "" {
		h.Set("Location", u.place+url.PathEscape(name))
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintln(w, name)
}

// refuse answers an upload that could not be kept, for a reason of this machine.
func (u *uploads) refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errDiskFull), errors.Is(err, errFilesFull), diskFull(err):
		u.noRoom.print("folder", u.dir.Name(), "error", err)
		http.Error(w, "507: there is no room for this body", http.StatusInsufficientStorage)
	case status(err) == http.StatusServiceUnavailable:
		u.noDescriptors.print("upload", u.dir.Name(), "error", err)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "503: too many files are open; try again soon", http.StatusServiceUnavailable)
	default:
		u.failed.print("folder", u.dir.Name(), "error", err)
		http.Error(w, "500: the body could not be kept", http.StatusInternalServerError)
	}
}

// store writes body to a new file and returns its name.
func (u *uploads) store(body *received, ext string) (name string, err error) {
	if body.announce > u.max {
		return "", errTooLong
	}
	if err := u.room.fits(max(body.announce, 0)); err != nil {
		return "", err
	}
	p, err := u.newPart()
	if err != nil {
		return "", err
	}
	defer p.discard()
	if err := body.copyTo(&limited{w: p, left: u.max}); err != nil {
		return "", err
	}
	return p.finish(ext)
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

// placeUnder returns the path under which the folder root serves dir, with
// slashes around it, or "" if it does not.
func placeUnder(root, dir string, visible func(string) bool) string {
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
	if rel == "." {
		return "/"
	}
	place := "/"
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if !visible(part) {
			return ""
		}
		place += url.PathEscape(part) + "/"
	}
	return place
}

// resolve returns the absolute name of dir, with no link in it.
func resolve(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
