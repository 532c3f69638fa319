package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// archive makes the archive for a system: a zip for Windows, else a tar.gz. All is in
// one folder.
func (r *release) archive(s system, files []file) error {
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	for i := range files {
		files[i].name = r.name(s) + "/" + files[i].name
	}
	var b bytes.Buffer
	name, write := r.name(s)+".tar.gz", writeTarGz
	if s.os == "windows" {
		name, write = r.name(s)+".zip", writeZip
	}
	if err := write(&b, files, r.date); err != nil {
		return err
	}
	return r.write(name, b.Bytes())
}

// source makes an archive of the commit, which knows which one it is, where git is
// there to make it.
func (r *release) source(ctx context.Context) error {
	if _, err := os.Stat(".git"); err != nil {
		fmt.Fprintln(r.say, "no archive of the source: this is one, not a clone")
		return nil
	}
	if r.modified {
		fmt.Fprintln(r.say, "no archive of the source: there are changes that no commit has")
		return nil
	}
	name := fmt.Sprintf("%s-%s-source", product, r.version)
	text, err := output(ctx, os.Environ(), "git", "archive", "--format=tar", "--prefix="+name+"/", r.commit)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := compressed(&b, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	return r.write(name+".tar.gz", b.Bytes())
}

// compressed writes what write does as gzip, with no name and no time.
func compressed(w io.Writer, write func(io.Writer) error) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := write(z); err != nil {
		return err
	}
	return z.Close()
}

func writeTarGz(w io.Writer, files []file, at time.Time) error {
	return compressed(w, func(w io.Writer) error { return writeTar(w, files, at) })
}

// writeTar writes files that are root's, all of one time.
func writeTar(w io.Writer, files []file, at time.Time) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode.Perm()), Size: int64(len(f.data)), ModTime: at, Format: tar.FormatPAX}
		if f.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, f.name+"/"
		}
		h.Uid, h.Gid = f.owner, f.owner
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, files []file, at time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at.UTC()}
		h.SetMode(f.mode)
		entry, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}
