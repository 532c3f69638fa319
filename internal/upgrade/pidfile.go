package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// WritePIDFile puts this process's id into file, whole or not at all. "" is no
// file. Its error is one line that says what would mend it.
func WritePIDFile(file string) error {
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
		return fmt.Errorf("--pid-file %s cannot be written: %w; name a file in a folder where this program may write", file, err)
	}
	return nil
}

// RemovePIDFile removes file if this process's id is in it: not if a successor's
// is.
func RemovePIDFile(file string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
		os.Remove(file)
	}
}
