package invitation

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stateFile is where an invitation is kept, in a folder of state.
const stateFile = "invitation"

// Credential returns the invitation in a file that is systemd's credential, or what that
// comes from; nil if there is none: an empty one is its unit's word for that. Its error
// is as Load's.
func Credential(file string) (*Invitation, error) {
	if code, err := os.ReadFile(file); file == "" || err == nil && len(bytes.TrimSpace(code)) == 0 {
		return nil, nil
	}
	return load(file)
}

// Load returns the invitation that Save has kept in a folder, nil if there is none.
// Its error is one line that says what would mend it.
func Load(dir string) (*Invitation, error) { return load(File(dir)) }

// File is where Save keeps the invitation of a folder.
func File(dir string) string { return filepath.Join(dir, stateFile) }

func load(file string) (*Invitation, error) {
	code, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the invitation in %s cannot be read: %w; join anew with --join, or name another folder with --state", file, reason(err))
	}
	in, err := Parse(string(code))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; join anew with --join", file, err)
	}
	return in, nil
}

// Save keeps an invitation in a folder, which is made if it is missing, for its owner
// alone, and whole or not at all. Its error is one line that says what would mend it.
func (in *Invitation) Save(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	var tmp *os.File
	if err == nil {
		tmp, err = os.CreateTemp(dir, stateFile+".*") // of mode 0600
	}
	if err == nil {
		defer os.Remove(tmp.Name()) // it is gone when all went well
		_, err = tmp.WriteString(in.Code() + "\n")
		if err == nil {
			err = tmp.Sync()
		}
		if e := tmp.Close(); err == nil {
			err = e
		}
		if err == nil {
			err = os.Rename(tmp.Name(), File(dir))
		}
	}
	if err != nil {
		return fmt.Errorf("the invitation cannot be kept in the folder %s: %w; name one that can be written with --state", dir, reason(err))
	}
	return nil
}

// reason is an error without the file, which was said.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
