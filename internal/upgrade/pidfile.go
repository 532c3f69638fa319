package upgrade

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// checkPIDFile returns an error, one line that says what would mend it, if file
// could not be written. It leaves it as it is: it may be another process's yet.
func checkPIDFile(file string) error {
	if file == "" {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return badPIDFile(file, err)
	}
	tmp.Close()
	return os.Remove(tmp.Name())
}

// CheckPIDFileLater is checkPIDFile of a program that does not start now. A folder below
// /run may not be there yet: systemd makes it as it starts a unit (RuntimeDirectory=).
func CheckPIDFileLater(file string) error {
	err := checkPIDFile(file)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(filepath.ToSlash(filepath.Clean(file)), "/run/") {
		return nil
	}
	return err
}

func badPIDFile(file string, err error) error {
	return fmt.Errorf("--pid-file %s cannot be written: %w; name a file in a folder where this program may write", file, err)
}

// writePIDFile puts this process's id into file, whole or not at all. "" is no
// file. Its error is one line that says what would mend it.
func writePIDFile(file string) error {
	if file == "" {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err == nil {
		defer os.Remove(tmp.Name()) // it is gone when all went well
		_, err = fmt.Fprintln(tmp, os.Getpid())
		if err == nil {
			err = tmp.Chmod(0o644)
		}
		if e := tmp.Close(); err == nil {
			err = e
		}
		if err == nil {
			err = os.Rename(tmp.Name(), file)
		}
	}
	if err != nil {
		return badPIDFile(file, err)
	}
	return nil
}

// removePIDFile removes file if this process's id is in it: not if a successor's
// is.
func removePIDFile(file string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
		os.Remove(file)
	}
}
