//go:build linux || darwin

package serve

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// attribute holds the dead properties of a file.
const attribute = "user.spdy-proxy.dav"

// withDescriptor calls f with the descriptor of file, and again while that is interrupted.
func withDescriptor(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		for {
			if err = f(int(fd)); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if cerr != nil {
		return cerr
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errNoAttributes
	}
	return err
}

// readAttribute returns nothing of a file that has no properties.
func readAttribute(file *os.File) ([]byte, error) {
	buf := make([]byte, 512)
	for {
		n := 0
		err := withDescriptor(file, func(fd int) (err error) {
			n, err = unix.Fgetxattr(fd, attribute, buf)
			return err
		})
		switch {
		case err == nil:
			return buf[:n], nil
		case errors.Is(err, unix.ERANGE) && len(buf) < maxDeadProps:
			buf = make([]byte, maxDeadProps)
		case errors.Is(err, errNoAttribute):
			return nil, nil
		default:
			return nil, err
		}
	}
}

func writeAttribute(file *os.File, data []byte) error {
	return withDescriptor(file, func(fd int) error { return unix.Fsetxattr(fd, attribute, data, 0) })
}
