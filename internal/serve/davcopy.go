package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/amahi/spdy-proxy/internal/errno"
)

// A davCopy makes a copy of a folder. It has what an archive of that has, but for what
// could not be written.
type davCopy struct {
	// Fixed when it is made.
	ctx context.Context
	t   *davTree
	buf []byte
}

// copyFolder makes a copy of the folder that op is about, which gets the name to when
// it is whole.
func (t *davTree) copyFolder(ctx context.Context, op *davOp, to string) error {
	u := t.d.uploads
	parent, old, err := u.openParent(to)
	if err != nil {
		return err
	}
	defer parent.Close()
	if old != nil && op.replaces != to {
		return errInTheWay
	}
	p, err := u.newPart()
	if err != nil {
		return err
	}
	defer p.end(to)
	made := p.name + tempSuffix
	c := &davCopy{ctx: ctx, t: t, buf: make([]byte, copySize)}
	if op.flat {
		err = c.make(made, depthOf(to))
	} else {
		err = c.tree(op.served, made, depthOf(to))
	}
	if err == nil {
		err = u.put(made, to, op.replaces == to)
	}
	if err == nil {
		err = parent.syncFolder()
	}
	return err
}

// make makes a folder that will be so deep.
func (c *davCopy) make(to string, depth int) error {
	if depth > maxUploadDepth {
		return errTooDeep
	}
	return c.t.d.uploads.makeDir(to)
}

// tree copies the folder that has the name from in the root.
func (c *davCopy) tree(from, to string, depth int) error {
	f, _, err := c.t.d.open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.folder(f, from, to, depth)
}

// folder copies f, which is a folder and has the name from in the root.
func (c *davCopy) folder(f file, from, to string, depth int) error {
	if err := c.make(to, depth); err != nil {
		return err
	}
	for {
		entries, err := f.ReadDir(listingBatch)
		for _, e := range entries {
			if err := c.entry(path.Join(from, e.Name()), path.Join(to, e.Name()), e, depth+1); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := c.isStill(f, from); err != nil {
		return err
	}
	made, err := c.t.d.uploads.dir.OpenFile(to, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer made.Close()
	return made.syncFolder()
}

// errMovedAway is a folder of which a copy has less than it had.
var errMovedAway = errors.New("a folder was moved or deleted while it was copied")

// isStill tells whether f, a folder that was read, still has its name: what was in it
// was looked for by that.
func (c *davCopy) isStill(f file, name string) error {
	was, err := f.Stat()
	if err != nil {
		return err
	}
	if is, err := c.t.d.root.Stat(name); err != nil || !os.SameFile(was, is) {
		return errMovedAway
	}
	return nil
}

// entry copies what a folder has as e, if it is served and can be written.
func (c *davCopy) entry(from, to string, e dirEntry, depth int) error {
	d := c.t.d
	if !d.visible(e.Name()) || !d.changeable(e.Name()) {
		return nil
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	f, info, err := d.open(from)
	if err != nil {
		switch {
		case !leadsNowhere(err):
			return err
		case e.IsDir():
			return errMovedAway
		}
		return nil
	}
	defer f.Close()
	switch {
	case info.IsDir() && !e.IsDir():
		return nil // a link: it may lead to where we are
	case !d.mayMake(to, info.IsDir()):
		return errBadName
	case info.IsDir():
		return c.folder(f, from, to, depth)
	}
	return c.file(f, info, to)
}

// leadsNowhere tells whether err means that a name is gone, leads out, or stands for
// neither a file nor a folder. Of a disk that fails there is a number of the system, and
// what it does not give must not look as if it had not been there.
func leadsNowhere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errno.Is(err, syscall.ENOTDIR) || errno.Is(err, syscall.ELOOP) ||
		!errors.As(err, new(syscall.Errno)) && !errors.Is(err, fs.ErrClosed)
}

// file copies f, a file.
func (c *davCopy) file(f file, info fs.FileInfo, to string) error {
	u := c.t.d.uploads
	p := &part{u: u, name: to}
	err := u.room.create(func() (err error) {
		p.file, err = u.dir.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, uploadMode)
		return err
	})
	if err != nil {
		return err
	}
	defer p.file.Close()
	if _, err := io.CopyBuffer(p, &davFile{file: f, ctx: c.ctx, t: c.t, info: info}, c.buf); err != nil {
		return err
	}
	if err := copyDeadProps(p.file, f); err != nil {
		return err
	}
	return p.file.Sync()
}
