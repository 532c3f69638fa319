package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/net/webdav"
)

// A davTree is the folder as a webdav.FileSystem: what is served can be read,
// and what is in the upload folder written, through that folder's os.Root.
type davTree struct{ d *folder }

// served returns the name in the root for a path of the library's.
func (t *davTree) served(name string) (string, error) {
	served, _, err := t.d.localName(&url.URL{Path: name})
	if err != nil {
		return "", notThere(name)
	}
	return served, nil
}

// notThere has the type of which the library takes an error for a file to be
// left out of a list, and not for the end of it.
func notThere(name string) error { return &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist} }

// target returns the name in the upload folder for a path that is to be written.
func (t *davTree) target(name string) (string, error) {
	served, err := t.served(name)
	if err != nil {
		return "", fs.ErrPermission
	}
	to, ok := t.d.writable(served)
	if !ok || to == "." {
		return "", fs.ErrPermission
	}
	return to, nil
}

func (t *davTree) Mkdir(ctx context.Context, name string, _ os.FileMode) error {
	to, err := t.target(name)
	if err != nil {
		return err
	}
	op, u := opOf(ctx), t.d.uploads
	if !t.d.mayMake(to, true) {
		return op.note(errBadName)
	}
	if op.spared == to {
		u.dir.Remove(to)
	}
	return op.note(u.room.create(func() error { return u.dir.Mkdir(to, uploadFolderMode) }))
}

// RemoveAll implements webdav.FileSystem. A file that is going to be replaced is
// left until then: what was there is not lost to a copy that fails.
func (t *davTree) RemoveAll(ctx context.Context, name string) error {
	to, err := t.target(name)
	if err != nil {
		return err
	}
	op, dir := opOf(ctx), t.d.uploads.dir
	if op.method != http.MethodDelete {
		if info, err := dir.Lstat(to); err == nil && info.Mode().IsRegular() {
			op.spared = to
			return nil
		}
	}
	return op.note(dir.RemoveAll(to))
}

func (t *davTree) Rename(ctx context.Context, oldName, newName string) error {
	from, err := t.target(oldName)
	if err != nil {
		return err
	}
	to, err := t.target(newName)
	if err != nil {
		return err
	}
	op, dir := opOf(ctx), t.d.uploads.dir
	if info, err := dir.Lstat(from); err == nil && info.IsDir() {
		if !t.d.mayMake(to, true) {
			return op.note(errBadName) // what is moved is another than was looked at
		}
		if op.spared == to {
			dir.Remove(to)
		}
	}
	return op.note(dir.Rename(from, to))
}

// Stat implements webdav.FileSystem. What is not served is not there.
func (t *davTree) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, opOf(ctx).note(err) // nothing is done for a visitor who has left
	}
	served, err := t.served(name)
	if err != nil {
		return nil, err
	}
	info, err := t.d.root.Stat(served)
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() || err != nil && status(err) == http.StatusNotFound {
		return nil, notThere(name)
	}
	if err != nil {
		return nil, opOf(ctx).note(err)
	}
	return &davInfo{FileInfo: info, t: t, served: served}, nil
}

// OpenFile implements webdav.FileSystem. The library asks for three things: to
// read, to change properties (O_RDWR alone), and to write anew.
func (t *davTree) OpenFile(ctx context.Context, name string, flag int, _ os.FileMode) (webdav.File, error) {
	op := opOf(ctx)
	if flag&os.O_CREATE != 0 {
		f, err := t.create(op, name)
		return f, op.note(err)
	}
	info, err := t.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	served := info.(*davInfo).served
	if flag&os.O_RDWR != 0 {
		if _, ok := t.d.writable(served); !ok {
			return nil, fs.ErrPermission
		}
	}
	f, _, err := t.d.open(served)
	if err != nil {
		return nil, op.note(err)
	}
	return &davFile{file: f, ctx: ctx, t: t, info: info}, nil
}

// create begins a file that replaces what has the name when it is whole.
func (t *davTree) create(op *davOp, name string) (webdav.File, error) {
	to, err := t.target(name)
	if err != nil {
		return nil, err
	}
	u := t.d.uploads
	// Opened first: what cannot be kept in the end need not come.
	parent, err := u.dir.OpenFile(path.Dir(to), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	f := &davNewFile{t: t, op: op, to: to, parent: parent}
	f.old, err = u.dir.Lstat(to)
	switch {
	case err == nil && !f.old.Mode().IsRegular():
		err = fs.ErrPermission // a folder, or a link that the owner made
	case err != nil && !t.d.mayMake(to, false):
		err = errBadName
	case err == nil || os.IsNotExist(err):
		f.part, err = u.newPart()
	}
	if err != nil {
		parent.Close()
		return nil, err
	}
	return f, nil
}

// A davInfo tells of a file what the library would find out in another way.
type davInfo struct {
	fs.FileInfo
	t      *davTree
	served string
}

func (i *davInfo) Name() string { return path.Base("/" + i.served) }

// ETag implements webdav.ETager: it is that of GET. It looks again, because the
// file that was written may not have been in its place.
func (i *davInfo) ETag(context.Context) (string, error) {
	info, err := i.t.d.root.Stat(i.served)
	if err != nil {
		return "", err
	}
	return i.t.d.davTag(i.served, info), nil
}

// davTag is the ETag of the file that has the name served: that of GET, or a
// weak one while GET gives none, because the property must have a value.
func (d *folder) davTag(served string, info fs.FileInfo) string {
	if !d.steady(served, info, d.now()) {
		return "W/" + etag(info)
	}
	return etag(info)
}

// ContentType implements webdav.ContentTyper: it is that of GET.
func (i *davInfo) ContentType(ctx context.Context) (string, error) {
	if t, ok := types[strings.ToLower(path.Ext(i.served))]; ok {
		return t, nil
	}
	f, _, err := i.t.d.open(i.served)
	if err != nil {
		return "", opOf(ctx).note(err)
	}
	defer f.Close()
	return contentType(f, i.Name()), nil
}

// A davFile is a file or folder that is read.
type davFile struct {
	file
	ctx  context.Context
	t    *davTree
	info os.FileInfo
	held int64 // of maxHeld, for the list of it
}

func (f *davFile) Stat() (os.FileInfo, error) { return f.info, nil }

func (f *davFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, opOf(f.ctx).note(err)
	}
	n, err := f.file.Read(p)
	if err != nil && err != io.EOF {
		// Or the copy of it would look whole.
		if op := opOf(f.ctx); op.err == nil {
			op.err = err
		}
	}
	return n, err
}

func (f *davFile) Write([]byte) (int, error)      { return 0, fs.ErrPermission }
func (f *davFile) Seek(int64, int) (int64, error) { return 0, fs.ErrInvalid }

// copied tells whether the entry e of a folder, which has the name served, goes
// with a copy of that.
func (t *davTree) copied(served string, e dirEntry) bool {
	info, err := t.d.root.Stat(served)
	switch {
	case !t.d.changeable(e.Name()):
		return false // nor could it be written
	case err != nil:
		// What is gone or leads out would be the end of the copy; what else there is, is.
		return status(err) != http.StatusNotFound
	case info.IsDir():
		return e.Type() != fs.ModeSymlink // it may lead to where we are
	}
	return info.Mode().IsRegular()
}

// Readdir lists what is served. It takes no count: the library asks for all. What
// PROPFIND has was read before its answer began.
func (f *davFile) Readdir(int) ([]os.FileInfo, error) {
	op := opOf(f.ctx)
	if op.method == "PROPFIND" {
		return op.list, nil
	}
	list, err := f.list()
	f.held += heldOf(len(list))
	return list, err
}

// Close implements io.Closer. The library forgets the list of a folder then.
func (f *davFile) Close() error {
	f.t.d.held.Add(-f.held)
	f.held = 0
	return f.file.Close()
}

// list reads the folder. The room that the entries take in memory is claimed;
// it is the caller's to give back.
func (f *davFile) list() (list []os.FileInfo, err error) {
	op, d, served := opOf(f.ctx), f.t.d, f.info.(*davInfo).served
	own, most := int64(0), int64(maxHeld)
	if op.method == "COPY" {
		most *= 2 // what it replaces is gone already, so it goes on where none may begin
	}
	defer func() {
		if err != nil {
			d.held.Add(-own)
			list, err = nil, op.note(err)
		}
	}()
	for {
		entries, err := f.file.ReadDir(listingBatch)
		for _, e := range entries {
			if d.visible(e.Name()) && (op.method != "COPY" || f.t.copied(path.Join(served, e.Name()), e)) {
				list = append(list, davName(e.Name()))
			}
		}
		more := heldOf(len(list)) - own
		own += more
		all := d.held.Add(more)
		switch {
		case err == io.EOF:
			return list, nil
		case err != nil:
			return list, err
		case crowded(own, all, most):
			return list, errListsFull
		case f.ctx.Err() != nil:
			return list, f.ctx.Err()
		}
	}
}

// crowded tells whether all that is held is too much for the list that has own of it,
// and with which it may be most. It is not if nobody else has any: a folder may be
// larger than what all may hold.
func crowded(own, all, most int64) bool { return own > 0 && all > max(most, own) }

// errListsFull is a folder for whose list there is no room in memory now.
var errListsFull = errors.New("too many entries of folders are in memory")

// A davName is an entry of a folder. The library asks for its name alone, and looks
// at what has it again, or for a list leaves it out.
type davName string

func (n davName) Name() string     { return string(n) }
func (davName) Size() int64        { return 0 }
func (davName) Mode() fs.FileMode  { return 0 }
func (davName) ModTime() time.Time { return time.Time{} }
func (davName) IsDir() bool        { return false }
func (davName) Sys() any           { return nil }

// A davNewFile is a file that is written. It takes its place at Close, if it is whole.
type davNewFile struct {
	t      *davTree
	op     *davOp
	to     string // its name in the upload folder
	parent file
	part   *part
	old    fs.FileInfo // of what it replaces; nil: nothing

	written int64
}

func (f *davNewFile) Write(p []byte) (int, error) {
	if f.op.body != nil {
		if f.written += int64(len(p)); f.written > f.t.d.uploads.max {
			return 0, f.op.note(errTooLong)
		}
	}
	n, err := f.part.Write(p)
	return n, f.op.note(err)
}

// Close implements io.Closer. A request that failed leaves what was there.
func (f *davNewFile) Close() error {
	defer f.parent.Close()
	defer f.part.discard()
	if f.op.err != nil {
		return f.op.err
	}
	if body := f.op.body; body != nil && !body.whole {
		f.op.err = cmpErr(body.err, io.ErrUnexpectedEOF)
		return f.op.err
	}
	return f.op.note(f.commit())
}

func (f *davNewFile) commit() error {
	dir := f.t.d.uploads.dir
	if f.old != nil && f.op.body != nil {
		f.part.file.Chmod(f.old.Mode().Perm())
		if old, err := dir.OpenFile(f.to, os.O_RDONLY|openNonblock, 0); err == nil {
			copyDeadProps(f.part.file, old) // RFC 4918, 9.7.1: they stay
			old.Close()
		}
	}
	if err := f.part.file.Sync(); err != nil {
		return err
	}
	if err := dir.Rename(f.part.name, f.to); err != nil {
		return err
	}
	f.op.replaced = f.old != nil
	return f.parent.syncFolder()
}

// Stat tells of the file in its place.
func (f *davNewFile) Stat() (os.FileInfo, error) {
	info, err := f.part.file.Stat()
	if err != nil {
		return nil, f.op.note(err)
	}
	return &davInfo{FileInfo: info, t: f.t, served: path.Join(f.t.d.uploads.at, f.to)}, nil
}

func (f *davNewFile) Read([]byte) (int, error)           { return 0, fs.ErrPermission }
func (f *davNewFile) Seek(int64, int) (int64, error)     { return 0, fs.ErrInvalid }
func (f *davNewFile) Readdir(int) ([]os.FileInfo, error) { return nil, fs.ErrInvalid }

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}
