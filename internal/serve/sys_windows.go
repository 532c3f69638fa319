package serve

import (
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// There are no FIFOs among the files.
const openNonblock = 0

// lockFile takes the lock of f, which ends when f is closed or the process ends, however it
// ends. With wait false it fails if another process has it.
func lockFile(f *os.File, wait bool) error {
	how := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK)
	if !wait {
		how |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	// Nobody else can read or write what is locked: it is a byte behind all that a file holds.
	at := windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxInt32}
	return with(f, func(h windows.Handle) error { return windows.LockFileEx(h, how, 0, 1, 0, &at) })
}

// unlinked tells whether f has lost its name, as it may while it is open, or is about to:
// where files are not removed as in POSIX the name stays until all have closed it.
func unlinked(f *os.File) (bool, error) {
	var info struct { // FILE_STANDARD_INFO
		allocated, end           int64
		links                    uint32
		deletePending, directory bool
	}
	err := with(f, func(h windows.Handle) error {
		return windows.GetFileInformationByHandleEx(h, windows.FileStandardInfo, (*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	})
	return info.deletePending || info.links == 0, err
}

// syncFolder does nothing: a folder that is open for reading cannot be flushed.
func syncFolder(*os.File) error { return nil }

// lookAt tells what is left of the disk that holds folder, an open one; ok is false where
// that cannot be known. Files have no number there.
func lookAt(folder *os.File) (d disk, ok bool) {
	var name [windows.MAX_LONG_PATH]uint16
	var free, total uint64
	err := with(folder, func(h windows.Handle) error {
		n, err := windows.GetFinalPathNameByHandle(h, &name[0], uint32(len(name)), 0)
		if err == nil && n >= uint32(len(name)) {
			err = windows.ERROR_FILENAME_EXCED_RANGE
		}
		if err != nil {
			return err
		}
		return windows.GetDiskFreeSpaceEx(&name[0], &free, &total, nil)
	})
	if err != nil || total == 0 || total > math.MaxInt64 {
		return disk{}, false
	}
	return disk{free: int64(free), total: int64(total)}, true
}

// with calls a function of the system for f while f is open.
func with(f *os.File, call func(windows.Handle) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = call(windows.Handle(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
