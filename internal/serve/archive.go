package serve

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"time"
)

const (
	// maxArchiveDepth bounds the folders that an archive holds open at once.
	maxArchiveDepth = 200
	// maxNested bounds those that all archives hold open beyond the first usualDepth of
	// each: a visitor who reads nothing has as many of them as the folders are deep. The
	// first are not counted, or one address could keep all others from usual trees.
	maxNested  = 4096
	usualDepth = 8
)

// wantsArchive returns "zip" or "tar" if r asks for a folder as such, else "".
func wantsArchive(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	switch format := r.URL.Query().Get("archive"); format {
	case "zip", "tar":
		return format
	}
	return ""
}

// sendArchive answers with all that is served of the folder f, whose name in
// the root is name, as one file. It is made as it is read: nothing is held, and
// nothing is done for a visitor who has left. Nothing is compressed, because
// that costs more than reading, and most of what is large is compressed already.
func (d *folder) sendArchive(w http.ResponseWriter, r *http.Request, name string, f file, format string) {
	base := path.Base(name)
	if name == "." {
		base = "files" // what the owner calls it is nobody's business
	}
	h := w.Header()
	h.Set("Content-Type", map[string]string{"zip": "application/zip", "tar": "application/x-tar"}[format])
	h.Set("Content-Disposition", disposition(base+"."+format))
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	a := &archive{ctx: r.Context(), d: d, buf: make([]byte, copySize)}
	if format == "zip" {
		a.to = &zipArchive{zip.NewWriter(w)}
	} else {
		a.to = &tarArchive{tar.NewWriter(w)}
	}
	err := a.addFolder(name, base, f, 1)
	if err == nil {
		err = a.to.Close()
	}
	if err == nil {
		return
	}
	switch {
	case r.Context().Err() != nil:
	case status(err) == http.StatusServiceUnavailable:
		noDescriptors(d.limit, r.URL.Path, err)
	default:
		d.limit.Log("archive", slog.LevelInfo, "an archive of a folder was broken off", slog.String("path", r.URL.Path), slog.Any("error", reason(err)))
	}
	panic(http.ErrAbortHandler) // or it would look whole
}

// An archive is a folder on its way to a visitor.
type archive struct {
	// Fixed when it is made.
	ctx context.Context
	d   *folder
	to  archiver
	buf []byte
}

// An archiver writes one format.
type archiver interface {
	// add begins an entry. What is written to it is as long as info says, and
	// comes before the next. A folder's path ends in a slash.
	add(path string, info fs.FileInfo) (io.Writer, error)
	Close() error
}

// addFolder adds what is served of the folder f, whose name in the root is name.
func (a *archive) addFolder(name, as string, f file, depth int) error {
	if depth > maxArchiveDepth {
		return errors.New("the folders are nested too deep")
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := a.to.add(as+"/", info); err != nil {
		return err
	}
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if err := a.ctx.Err(); err != nil {
				return err
			}
			if !a.d.visible(e.Name()) {
				continue
			}
			if err := a.addEntry(path.Join(name, e.Name()), as+"/"+e.Name(), e, depth); err != nil {
				return err
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

func (a *archive) addEntry(name, as string, e dirEntry, depth int) error {
	f, info, err := a.d.open(name)
	switch {
	case err == nil:
		defer f.Close()
	case status(err) == http.StatusServiceUnavailable, status(err) == http.StatusInternalServerError:
		return err
	default:
		// It is gone, or not served: no file, or nothing that may be read, or it leads out.
		return nil
	}
	if info.IsDir() {
		if e.Type() == fs.ModeSymlink {
			return nil // it may lead to where we are
		}
		if depth >= usualDepth {
			defer a.d.nested.Add(-1)
			if a.d.nested.Add(1) > maxNested {
				return errors.New("all archives together hold too many folders open")
			}
		}
		return a.addFolder(name, as, f, depth+1)
	}
	to, err := a.to.add(as, info)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{io.LimitReader(f, info.Size())}, a.buf)
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s: %w", as, errChanged)
	}
	return err
}

// archiveMode is the mode of an entry: what of it is the owner's alone stays here.
func archiveMode(info fs.FileInfo) fs.FileMode {
	if info.IsDir() || info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

type zipArchive struct{ *zip.Writer }

func (z *zipArchive) add(path string, info fs.FileInfo) (io.Writer, error) {
	h := &zip.FileHeader{Name: path, Method: zip.Store, Modified: info.ModTime()}
	h.SetMode(archiveMode(info) | info.Mode()&fs.ModeDir)
	return z.CreateHeader(h)
}

type tarArchive struct{ *tar.Writer }

func (t *tarArchive) add(path string, info fs.FileInfo) (io.Writer, error) {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: path, Size: info.Size(), Mode: int64(archiveMode(info)),
		ModTime: info.ModTime().Truncate(time.Second),
	}
	if info.IsDir() {
		h.Typeflag, h.Size = tar.TypeDir, 0
	}
	return t.Writer, t.WriteHeader(h)
}
