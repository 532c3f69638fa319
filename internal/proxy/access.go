package proxy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// accessFile is where the access log goes: a file that can be opened anew after
// it was moved away, or standard output. A nil one does nothing.
type accessFile struct {
	path string // "" for a writer that is not ours to close; fixed

	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func openAccess(path string, stdout io.Writer) (*accessFile, error) {
	if path == "-" {
		return &accessFile{w: stdout}, nil
	}
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &accessFile{path: path, w: f}, nil
}

func openAppend(path string) (*os.File, error) {
	// Who asked for what is nobody else's business.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("access log %s cannot be opened: %w; name a file that can be written with --access-log", path, err)
	}
	return f, nil
}

// Write writes one line.
func (a *accessFile) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.w.Write(p)
}

// Reopen opens the file anew; if that fails, the old one stays.
func (a *accessFile) Reopen() error {
	if a == nil || a.path == "" {
		return nil
	}
	f, err := openAppend(a.path)
	if err != nil {
		return err
	}
	a.mu.Lock()
	old := a.w
	a.w = f
	a.mu.Unlock()
	return closeFile(old)
}

// Close closes the file.
func (a *accessFile) Close() error {
	if a == nil || a.path == "" {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.w
	a.w = io.Discard
	return closeFile(w)
}

func closeFile(w io.Writer) error {
	if c, ok := w.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
