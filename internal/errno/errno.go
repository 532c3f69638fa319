// Package errno asks what an error of the system is by the name that POSIX has for it,
// whatever number the system gives it.
package errno

import (
	"errors"
	"slices"
	"syscall"
)

// Is reports whether err is what POSIX calls e. Go has these names on Windows, but hardly
// any of their numbers is one that the system there returns. ENOTDIR is a path there of
// which a part is missing, too, which fs.ErrNotExist says of it.
func Is(err error, e syscall.Errno) bool {
	if errors.Is(err, e) {
		return true
	}
	got, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(others(e), got)
}
