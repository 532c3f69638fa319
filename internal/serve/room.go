package serve

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
)

const (
	// diskStep is how many bytes uploads write together between two looks at the disk.
	diskStep = 16 << 20

	// lookAgain is how long what was seen of the disk holds: others write to it too.
	lookAgain = time.Second

	// diskKeep is what uploads leave free on the disk, or a twentieth of a
	// small one: a full disk stops more than uploads.
	diskKeep = 64 << 20

	// filesKeep is how many files uploads leave to be made on the disk, or a
	// twentieth of what a small one can hold.
	filesKeep = 1 << 16
)

var (
	errDiskFull  = errors.New("the disk is nearly full")
	errFilesFull = errors.New("the disk can hold hardly any more files (inodes)")
)

// A disk is what the system says of a file system.
type disk struct {
	free, total           int64 // bytes that an ordinary user may still write, and all
	freeFiles, totalFiles int64 // files that can still be made, and all; totalFiles 0: no fixed number
}

// bytesLeft is how many bytes uploads may still write.
func (d disk) bytesLeft() int64 { return d.free - min(diskKeep, d.total/20) }

// filesLeft is how many files uploads may still make; ok is false where there is
// no limit, as on btrfs.
func (d disk) filesLeft() (n int64, ok bool) {
	return d.freeFiles - min(filesKeep, d.totalFiles/20), d.totalFiles > 0
}

// A room is what uploads together may take of their disk. Nothing is theirs
// before it is there: what an upload announces takes nothing from others.
type room struct {
	// Fixed when it is made.
	look func() (d disk, ok bool) // ok is false where the system does not tell: then a failing write does

	mu sync.Mutex
	// Guarded by mu.
	seen    time.Time // when the disk was looked at last
	granted int64     // bytes that may be written before it is looked at again
	writing int64     // bytes of writes under way, which the disk may not show yet
	making  int64     // files being made, likewise
}

// fits tells whether a body of n bytes would find room now. It claims nothing.
func (r *room) fits(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := r.look(); ok && d.bytesLeft()-r.writing < n {
		return errDiskFull
	}
	return nil
}

// write calls f, which writes n bytes, if there is room for them.
func (r *room) write(n int64, f func() error) error {
	if err := r.claim(n); err != nil {
		return err
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.writing -= n
	}()
	return f()
}

func (r *room) claim(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.granted < n || time.Since(r.seen) >= lookAgain {
		r.granted = max(n, diskStep)
		if d, ok := r.look(); ok {
			r.granted = min(r.granted, d.bytesLeft()-r.writing)
		}
		r.seen = time.Now()
		if r.granted < n {
			return errDiskFull
		}
	}
	r.granted -= n
	r.writing += n
	return nil
}

// create calls f, which makes a file or folder, if there is room for one.
func (r *room) create(f func() error) error {
	if err := r.claimFile(); err != nil {
		return err
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.making--
	}()
	return f()
}

func (r *room) claimFile() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := r.look(); ok {
		if left, limited := d.filesLeft(); limited && left-r.making < 1 {
			return errFilesFull
		}
	}
	r.making++
	return nil
}

// diskFull tells whether err means that the disk, or its owner's share, is full.
func diskFull(err error) bool {
	return errno.Is(err, syscall.ENOSPC) || errno.Is(err, syscall.EDQUOT) || errno.Is(err, syscall.EFBIG)
}
