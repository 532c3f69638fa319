package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// What is made of several files, or replaces a folder, has a part too, which is
// empty or names what is replaced, and one of these names beside it:
const (
	tempSuffix = "-temp" // what is made, until it is whole, or was replaced: it may go
	oldSuffix  = "-old"  // what is being replaced, until its place is taken: it goes back
)

// besidePart tells whether a name that begins with partPrefix is that of something
// beside a part, whose own has no further hyphen.
func besidePart(name string) bool { return strings.Contains(name[len(partPrefix):], "-") }

// depthOf returns how many folders deep the folder of that name is in the upload folder.
func depthOf(name string) int { return strings.Count(name, "/") + 1 }

// makeDir makes the folder of that name.
func (u *uploads) makeDir(name string) error {
	return u.room.create(func() error { return u.dir.Mkdir(name, uploadFolderMode) })
}

// openParent opens the folder that what has the name to is in, because what cannot be
// kept in the end need not come, and tells what has that name; old is nil if nothing has.
func (u *uploads) openParent(to string) (parent file, old fs.FileInfo, err error) {
	parent, err = u.dir.OpenFile(path.Dir(to), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return parent, nil, err
	}
	old, err = u.dir.Lstat(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		parent.Close()
		return parent, nil, err
	}
	return parent, old, nil
}

// goesUp tells whether the link of that name leads up from the folder that it is in.
func (u *uploads) goesUp(name string) bool {
	to, err := u.dir.Readlink(name)
	return err != nil || !filepath.IsAbs(to) && !filepath.IsLocal(to)
}

// below calls look for all that is in the folder of that name, and in those in it.
func (u *uploads) below(ctx context.Context, folder string, look func(name string, mode fs.FileMode) error) error {
	f, err := u.dir.OpenFile(folder, os.O_RDONLY|openNonblock, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil // no visitor gets there either, or it is gone
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(listingBatch)
		for _, e := range entries {
			name := path.Join(folder, e.Name())
			err := look(name, e.Type())
			if err == nil && e.IsDir() {
				err = u.below(ctx, name, look)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// put gives what has the name made, and is whole, the name to. What has that name is
// replaced if it is meant to be, and stays if that fails.
func (u *uploads) put(made, to string, replace bool) error {
	old, err := u.dir.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return u.dir.Rename(made, to)
	case err != nil:
		return err
	case !replace:
		return errInTheWay
	}
	info, err := u.dir.Lstat(made)
	switch {
	case err != nil:
		return err
	case old.IsDir() || info.IsDir():
		return u.swap(made, to)
	}
	return u.dir.Rename(made, to)
}

// swap replaces what no rename does: a folder, or something by one. It moves the old
// aside, and the new to its place. If the process is killed between the two, the next
// one puts the old back; so what has lost its name is named in a part.
func (u *uploads) swap(made, to string) error {
	p, err := u.newPart()
	if err != nil {
		return err
	}
	defer p.end(to)
	if _, err := io.WriteString(p, to); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	old := p.name + oldSuffix
	if err := u.dir.Rename(to, old); err != nil {
		return err
	}
	if err := u.dir.Rename(made, to); err != nil {
		return err
	}
	// That something has the name tells nobody that it is the new: somebody else may have
	// made it, or the new may be gone again. If this fails, the old stays aside, with a line.
	u.dir.Rename(old, p.name+tempSuffix)
	return nil
}

// end does away with the part and what is beside it. What cannot be settled stays with
// the part, for the next start to try again.
func (p *part) end(to string) {
	if !p.u.settle(p.name, strings.NewReader(to)) {
		p.file.Close()
		return
	}
	p.discard()
}

// settle puts back what a swap has left aside, to the name that to holds, removes what
// else is beside the part, and tells whether nothing is left there.
func (u *uploads) settle(part string, to io.Reader) bool {
	old, temp := part+oldSuffix, part+tempSuffix
	if err := u.putBack(old, to); err != nil {
		u.limit.Log("replaced", slog.LevelWarn, "what was to be replaced could not be put back", slog.String("name", old), slog.Any("error", err))
		return false
	}
	if err := u.dir.RemoveAll(temp); err != nil {
		u.limit.Log("leftover", slog.LevelWarn, "what an upload left behind could not be removed", slog.String("name", temp), slog.Any("error", err))
		return false
	}
	return true
}

// putBack gives what is aside its name again, unless something else has that by now.
func (u *uploads) putBack(old string, name io.Reader) error {
	_, err := u.dir.Lstat(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // and so the part may hold anything
	}
	if err != nil {
		return err
	}
	to, err := io.ReadAll(name)
	if err != nil {
		return err
	}
	return u.put(old, string(to), false)
}
