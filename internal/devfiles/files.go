package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// create writes a file that appears whole, readable by its owner alone, or not
// at all. One that exists stays, and that is no error.
func (m *maker) create(file string, content []byte) error {
	if exists(file) {
		return nil
	}
	made, err := createExclusive(file, content, 0o600)
	if made {
		fmt.Fprintln(m.out, "made", file)
	}
	return err
}

// createExclusive reports whether it was this call that made the file. A
// temporary file and a hard link, because a rename would replace what another
// process has just put there.
func createExclusive(file string, content []byte, mode fs.FileMode) (made bool, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".devfiles-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return false, fmt.Errorf("making %s: %w", file, err)
	}
	err = os.Link(f.Name(), file)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	// A file system without hard links: never replacing is worth more than appearing whole.
	return writeExclusive(file, content, mode)
}

func writeExclusive(file string, content []byte, mode fs.FileMode) (made bool, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.Write(content)
	return true, errors.Join(err, f.Close())
}

// copyMedia copies the files of media, its README apart, to testdata.
func (m *maker) copyMedia(media, testdata string) error {
	entries, err := os.ReadDir(media)
	if err != nil {
		return fmt.Errorf("%w: run this from the repository's root, or name the folder with --media", err)
	}
	if err := os.MkdirAll(testdata, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || filepath.Ext(e.Name()) == ".md" {
			continue
		}
		want, err := os.ReadFile(filepath.Join(media, e.Name()))
		if err != nil {
			return err
		}
		file := filepath.Join(testdata, e.Name())
		if exists(file) {
			// Somebody's own film may bear that name: it is told, not replaced.
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
				m.warnf("%s is not the sample of that name: remove it and run make again to have that", file)
			}
			continue
		}
		made, err := createExclusive(file, want, 0o644)
		if err != nil {
			return err
		}
		if made {
			fmt.Fprintln(m.out, "made", file)
		}
	}
	return nil
}
