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

// Mkdir implements webdav.FileSystem. The folder that a COPY makes is made with all
// that is in it.
func (t *davTree) Mkdir(ctx context.Context, name string, _ os.FileMode) error {
	to, err := t.target(name)
	if err != nil {
		return err
	}
	op, u := opOf(ctx), t.d.uploads
	switch {
	case !t.d.mayMake(to, true):
		return op.failed(errBadName)
	case op.method == "COPY":
		return op.failed(t.copyFolder(ctx, op, to))
	}
	return op.failed(u.makeDir(to))
}

// RemoveAll implements webdav.FileSystem. What is going to be replaced is left until
// then: it is not lost to a copy that fails.
func (t *davTree) RemoveAll(ctx context.Context, name string) error {
	to, err := t.target(name)
	if err != nil {
		return err
	}
	op := opOf(ctx)
	if op.method != http.MethodDelete {
		op.replaces = to
		return nil
	}
	return op.failed(t.d.uploads.dir.RemoveAll(to))
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
	op, u := opOf(ctx), t.d.uploads
	if info, err := u.dir.Lstat(from); err == nil {
		if err := t.mayMove(ctx, from, to, info.Mode()); err != nil {
			return op.failed(err)
		}
	}
	return op.failed(u.put(from, to, op.replaces == to))
}

// mayMove tells what keeps what has the name from, and that mode, from getting the name
// to. Where links may lead out of the root, it was the owner who chose to what: from
// another folder one that goes up leads elsewhere.
func (t *davTree) mayMove(ctx context.Context, from, to string, mode fs.FileMode) error {
	deeper := depthOf(to) - depthOf(from)
	turns := t.d.root.follow && path.Dir(to) != path.Dir(from)
	look := func(name string, mode fs.FileMode) error {
		switch {
		case mode.IsDir() && deeper > 0 && depthOf(name)+deeper > maxUploadDepth:
			return errTooDeep
		case mode.Type() == fs.ModeSymlink && turns && t.d.uploads.goesUp(name):
			return errLinkStays
		}
		return nil
	}
	if mode.IsDir() && !t.d.mayMake(to, true) {
		return errBadName
	}
	if err := look(from, mode); err != nil || !mode.IsDir() || deeper <= 0 && !turns {
		return err
	}
	return t.d.uploads.below(ctx, from, look)
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
		return f, op.failed(err)
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
	parent, old, err := u.openParent(to)
	if err != nil {
		return nil, err
	}
	f := &davNewFile{t: t, op: op, to: to, parent: parent, old: old}
	switch {
	case old != nil && !old.Mode().IsRegular() && op.replaces != to:
		err = errInTheWay
	case old == nil && !t.d.mayMake(to, false):
		err = errBadName
	default:
		f.part, err = u.newPart()
	}
	if err != nil {
		parent.Close()
		return nil, err
	}
	if op.method == "LOCK" {
		// The library does not hear what Close says, and would lock what is not there.
		return davLockedFile{f}, f.Close()
	}
	return f, nil
}

// A davLockedFile was made for a lock, and needs no end.
type davLockedFile struct{ *davNewFile }

func (davLockedFile) Close() error { return nil }

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

// Readdir lists what is served, as it was read before the answer of a PROPFIND began.
// There is nothing left for a COPY to do, which Mkdir has made whole.
func (f *davFile) Readdir(int) ([]os.FileInfo, error) { return opOf(f.ctx).list, nil }

// list reads the folder. The room that the entries take in memory is claimed;
// it is the caller's to give back.
func (f *davFile) list() (list []os.FileInfo, err error) {
	op, d, own := opOf(f.ctx), f.t.d, int64(0)
	defer func() {
		if err != nil {
			d.held.Add(-own)
			list, err = nil, op.note(err)
		}
	}()
	for {
		entries, err := f.file.ReadDir(listingBatch)
		for _, e := range entries {
			if d.visible(e.Name()) {
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
		case crowded(own, all):
			return list, errListsFull
		case f.ctx.Err() != nil:
			return list, f.ctx.Err()
		}
	}
}

// crowded tells whether all that is held is too much for the list that has own of it.
// It is not if nobody else has any: a folder may be larger than what all may hold.
func crowded(own, all int64) bool { return own > 0 && all > max(maxHeld, own) }

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
			return 0, f.op.failed(errTooLong)
		}
	}
	n, err := f.part.Write(p)
	return n, f.op.failed(err)
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
	return f.op.failed(f.commit())
}

func (f *davNewFile) commit() error {
	dir := f.t.d.uploads.dir
	if f.old != nil && f.op.body != nil {
		f.part.file.Chmod(f.old.Mode().Perm())
		if old, err := dir.OpenFile(f.to, os.O_RDONLY|openNonblock, 0); err == nil {
			err = copyDeadProps(f.part.file, old) // RFC 4918, 9.7.1: they stay
			old.Close()
			if err != nil {
				return err
			}
		}
	}
	if err := f.part.file.Sync(); err != nil {
		return err
	}
	if err := f.takePlace(); err != nil {
		return err
	}
	f.op.replaced = f.old != nil
	return f.parent.syncFolder()
}

// takePlace gives the part its name.
func (f *davNewFile) takePlace() error {
	u := f.t.d.uploads
	switch {
	case f.op.method == "LOCK":
		// Somebody may have been faster: what is there is locked then.
		if err := f.part.place(f.to); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case f.op.isNew, f.op.body == nil && f.op.replaces != f.to:
		err := f.part.place(f.to)
		if errors.Is(err, fs.ErrExist) {
			err = errNotMeant
		}
		return err
	case f.op.body != nil:
		return u.dir.Rename(f.part.name, f.to)
	}
	return u.put(f.part.name, f.to, true)
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
