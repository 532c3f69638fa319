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
	"sync"
)

const (
	// partPrefix begins the names of uploads that are not whole yet. The dot
	// keeps them out of listings.
	partPrefix = ".spdy-proxy-upload-"

	// diskStep is how many bytes an upload writes between two looks at the disk.
	diskStep = 16 << 20

	// diskKeep is what uploads leave free on the disk, or a twentieth of a
	// small one: a full disk stops more than uploads.
	diskKeep = 64 << 20
)

var errDiskFull = errors.New("the disk is nearly full")

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
	max   int64
	place string // path of dir as the folder serves it, with slashes around; empty: it does not
	space func() (free, total int64, ok bool)
	log   *slog.Logger

	mu      sync.Mutex
	claimed int64 // guarded by mu: bytes that uploads may write on their last look at the disk, and have not yet
}

func newUploads(dir *os.Root, max int64, place string, log *slog.Logger) (*uploads, error) {
	u := &uploads{dir: dir, max: max, place: place, log: log}
	u.space = func() (int64, int64, bool) { return diskSpace(dir) }
	if err := u.clean(); err != nil {
		return nil, err
	}
	// Find out now, not at the first upload, whether files can be made here.
	part, err := u.newPart()
	if err != nil {
		return nil, err
	}
	part.discard()
	return u, nil
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
		f, err := u.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
		if err := syncFolder(p.u.dir); err != nil {
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
	case errors.Is(err, errDiskFull) || diskFull(err):
		u.log.Warn("an upload was refused: the disk is nearly full", "folder", u.dir.Name(), "received", body.length)
		http.Error(w, "507: there is no room for this body", http.StatusInsufficientStorage)
		return
	case body.broken:
		u.log.Debug("an upload ended early", "received", body.length, "error", err)
		body.refuse(w, err)
		return
	default:
		u.log.Error("an upload could not be kept", "folder", u.dir.Name(), "error", err)
		http.Error(w, "500: the body could not be kept", http.StatusInternalServerError)
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

// store writes body to a new file and returns its name.
func (u *uploads) store(body *received, ext string) (name string, err error) {
	if body.announce > u.max {
		return "", errTooLong
	}
	room := &claim{u: u}
	defer room.release()
	if err := room.take(max(body.announce, 0)); err != nil {
		return "", err
	}
	p, err := u.newPart()
	if err != nil {
		return "", err
	}
	defer p.discard()
	buf := make([]byte, bodyStep)
	for {
		n, err := body.Read(buf)
		if body.length > u.max {
			return "", errTooLong
		}
		if err := room.use(int64(n)); err != nil {
			return "", err
		}
		if _, err := p.file.Write(buf[:n]); err != nil {
			return "", err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	return p.finish(ext)
}

// A claim is the room that one upload may fill. Without it, each of several
// uploads would see the room that is left for all of them.
type claim struct {
	u      *uploads
	left   int64 // claimed and not used
	unseen int64 // used since the last look at the disk
}

// take claims n bytes more, if that leaves the disk some room.
func (c *claim) take(n int64) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if free, total, ok := c.u.space(); ok {
		keep := min(diskKeep, total/20)
		if free-keep-c.u.claimed < n {
			return errDiskFull
		}
	}
	c.u.claimed += n
	c.left += n
	return nil
}

// use says that n bytes are about to be written.
func (c *claim) use(n int64) error {
	c.unseen += n
	if c.left < n || c.unseen >= diskStep {
		// Others write to this disk too, so look again even if all was claimed.
		more := int64(0)
		if c.left < n {
			more = max(n, diskStep)
		}
		if err := c.take(more); err != nil && (more == 0 || c.take(n) != nil) {
			return err
		}
		c.unseen = 0
	}
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.left -= n
	c.u.claimed -= n
	return nil
}

// release gives back what was not used.
func (c *claim) release() {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.u.claimed -= c.left
	c.left = 0
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
