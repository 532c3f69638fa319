package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strings"
)

// What is made of several files, or replaces a folder, has a part too, which is
// empty or names what is replaced, and one of these names beside it:
const (
	newSuffix = "-new" // what is made, until it is whole
	oldSuffix = "-old" // what is replaced, from then on until its place is taken
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

// fitsBelow tells whether the folder of that name has at most so many levels of
// folders in it.
func (u *uploads) fitsBelow(ctx context.Context, name string, levels int) error {
	if levels < 0 {
		return errTooDeep
	}
	f, err := u.dir.OpenFile(name, os.O_RDONLY|openNonblock, 0)
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
			if !e.IsDir() {
				continue
			}
			if err := u.fitsBelow(ctx, path.Join(name, e.Name()), levels-1); err != nil {
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
	old := p.name + oldSuffix
	if _, err = io.WriteString(p, to); err == nil {
		err = p.file.Sync()
	}
	if err == nil {
		err = u.dir.Rename(to, old)
	}
	if err == nil {
		err = u.dir.Rename(made, to)
	}
	if unsettled := u.settle(old, to); unsettled != nil {
		u.logUnsettled(old, unsettled)
		p.file.Close() // its name stays, for the next start to try again
		return err
	}
	p.discard()
	return err
}

// settle ends a swap, however far it came: what is aside goes back if nothing has
// taken its place, and away if something has.
func (u *uploads) settle(old, to string) error {
	if _, err := u.dir.Lstat(old); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	_, err := u.dir.Lstat(to)
	switch {
	case err == nil:
		return u.dir.RemoveAll(old)
	case errors.Is(err, fs.ErrNotExist):
		return u.dir.Rename(old, to)
	}
	return err
}

// settleBeside does away with what an earlier run left beside the part f.
func (u *uploads) settleBeside(part string, f file) error {
	if err := u.dir.RemoveAll(part + newSuffix); err != nil {
		return err
	}
	old := part + oldSuffix
	if _, err := u.dir.Lstat(old); err != nil {
		return nil // and so f may hold anything
	}
	to, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return u.settle(old, string(to))
}

// logUnsettled tells of leftovers that stay.
func (u *uploads) logUnsettled(name string, err error) {
	u.limit.Log("leftover", slog.LevelWarn, "what an upload left behind could not be removed", slog.String("name", name), slog.Any("error", err))
}
