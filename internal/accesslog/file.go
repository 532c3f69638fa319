package accesslog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/linelog"
)

// diskTime is how long Reopen and Close wait for the disk.
const diskTime = time.Second

// File is where an access log goes: a file that can be opened anew after
// it was moved away, or standard output. No request waits for it: lines that it
// does not take are dropped, counted and said. A nil one does nothing.
type File struct {
	path  string                              // "" for a writer that is not ours to close; fixed
	open  func(path string) (*os.File, error) // openAppend, but in tests; fixed
	log   *slog.Logger
	lines *linelog.Writer
	turn  chan struct{} // capacity 1; full while the file is opened anew

	mu   sync.Mutex
	file *os.File // guarded by mu; nil without a path, and after Close
}

// Open opens the file at path to append to it, "-" for stdout; log is told of lines that
// are lost. The error is one line that says what would mend it.
func Open(path string, stdout io.Writer, log *slog.Logger) (*File, error) {
	losses := linelog.Losses{
		Begin: func(cause error) {
			log.Warn("access log: lines are left out, requests go on", "file", path, "err", cause)
		},
		End: func(lines uint64) {
			log.Warn("access log: lines were left out", "file", path, "lines", lines)
		},
	}
	if path == "-" {
		return &File{lines: linelog.NewGathering(stdout, losses)}, nil
	}
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &File{
		path: path, open: openAppend, log: log, lines: linelog.NewGathering(f, losses),
		turn: make(chan struct{}, 1), file: f,
	}, nil
}

func openAppend(path string) (*os.File, error) {
	// Who asked for what is nobody else's business. Opening a named pipe that nobody
	// reads would wait for somebody.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|openWithoutWaiting, 0o600)
	if err == nil {
		return f, nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if errors.Is(err, syscall.ENXIO) {
		return nil, fmt.Errorf("access log %s is a pipe that nobody reads: start its reader first, or name a file with --access-log", path)
	}
	return nil, fmt.Errorf("access log %s cannot be opened: %w; name a file that can be written with --access-log", path, err)
}

// Write writes a line of a [Log], which waits for others, for 50 ms at most. Write does
// not wait.
func (a *File) Write(p []byte) (int, error) {
	a.lines.WriteClean(p)
	return len(p), nil
}

// Flush has the lines that wait for others written now. It does not wait for that.
func (a *File) Flush() {
	if a != nil {
		a.lines.Flush()
	}
}

// Dropped returns how many lines were left out.
func (a *File) Dropped() uint64 {
	if a == nil {
		return 0
	}
	return a.lines.Dropped()
}

// Reopen opens the file anew, and has what waits written to it now; if that fails, the
// old one stays. It waits a second at most: a disk that answers later is used then.
func (a *File) Reopen() error {
	if a == nil || a.path == "" {
		return nil
	}
	late := fmt.Errorf("access log %s: its disk does not answer, the file before stays until it does; look at the disk", a.path)
	select {
	case a.turn <- struct{}{}:
	default:
		return late
	}
	return inTime(late, a.reopen, func(err error) {
		switch {
		case errors.Is(err, os.ErrClosed):
		case err != nil:
			a.log.Warn("access log: the file could not be opened anew, the one before stays: send SIGHUP again when its disk is well", "file", a.path, "err", err)
		default:
			a.log.Info("access log: the file was opened anew, its disk answers again", "file", a.path)
		}
	})
}

// inTime returns what f does, or late if the disk holds it up: then what it does in the end
// is told, if tell is not nil.
func inTime(late error, f func() error, tell func(error)) error {
	done, given := make(chan error), make(chan struct{})
	// Ends when the disk has answered, or with the process: nobody can end it before.
	go func() {
		err := f()
		select {
		case done <- err:
		case <-given:
			if tell != nil {
				tell(err)
			}
		}
	}()
	limit := time.NewTimer(diskTime)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		close(given)
		return late
	}
}

func (a *File) reopen() error {
	defer func() { <-a.turn }()
	f, err := a.open(a.path)
	if err != nil {
		return err
	}
	old, fresh := a.swap(f)
	if fresh {
		a.lines.SetOutput(f)
	} else {
		err = os.ErrClosed
	}
	go old.Close() // ends when the disk has answered
	return err
}

// swap has f in place of the file that it returns, to be closed: f itself after Close.
func (a *File) swap(f *os.File) (old *os.File, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return f, false
	}
	old, a.file = a.file, f
	return old, true
}

// Close writes what waits, for a second at most, and closes the file, for which it waits
// as long.
func (a *File) Close() error {
	if a == nil {
		return nil
	}
	a.lines.Close()
	a.mu.Lock()
	f := a.file
	a.file = nil
	a.mu.Unlock()
	if f == nil {
		return nil
	}
	return inTime(fmt.Errorf("access log %s cannot be closed: its disk does not answer; look at the disk", a.path), f.Close, nil)
}

// Check returns an error if a log cannot be at path: its folder is looked at
// where it is not there yet.
func Check(path string) error {
	info, err := os.Stat(filepath.Dir(path))
	if err == nil && !info.IsDir() {
		err = errors.New("its folder is a file")
	}
	if err == nil {
		if info, err = os.Stat(path); err == nil && info.IsDir() {
			err = errors.New("it is a folder")
		} else if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if err != nil {
		return fmt.Errorf("access log %s cannot be opened: %w; name a file that can be written with --access-log", path, err)
	}
	return nil
}
