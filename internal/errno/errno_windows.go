package errno

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// others returns what else Windows returns for e: of its API's numbers, and of those of its
// sockets.
func others(e syscall.Errno) []syscall.Errno {
	switch e {
	case syscall.EADDRINUSE:
		return []syscall.Errno{windows.WSAEADDRINUSE}
	case syscall.EADDRNOTAVAIL:
		return []syscall.Errno{windows.WSAEADDRNOTAVAIL}
	case syscall.ECONNREFUSED:
		return []syscall.Errno{windows.WSAECONNREFUSED}
	case syscall.ECONNRESET:
		return []syscall.Errno{windows.WSAECONNRESET, windows.WSAECONNABORTED}
	case syscall.EDQUOT:
		return []syscall.Errno{windows.ERROR_DISK_QUOTA_EXCEEDED}
	case syscall.EFBIG:
		return []syscall.Errno{windows.ERROR_FILE_TOO_LARGE}
	case syscall.EIO:
		return []syscall.Errno{
			windows.ERROR_IO_DEVICE, windows.ERROR_CRC, windows.ERROR_NOT_READY, windows.ERROR_SEEK, windows.ERROR_SECTOR_NOT_FOUND,
			windows.ERROR_WRITE_FAULT, windows.ERROR_READ_FAULT, windows.ERROR_GEN_FAILURE, windows.ERROR_UNEXP_NET_ERR,
			windows.ERROR_NETNAME_DELETED, windows.ERROR_DEVICE_NOT_CONNECTED, windows.ERROR_FILE_CORRUPT, windows.ERROR_DISK_CORRUPT,
		}
	case syscall.ELOOP:
		return []syscall.Errno{windows.ERROR_CANT_RESOLVE_FILENAME}
	case syscall.EMFILE:
		return []syscall.Errno{windows.ERROR_TOO_MANY_OPEN_FILES, windows.WSAEMFILE}
	case syscall.ENAMETOOLONG: // and what no file can be called for its letters, of which POSIX has none
		return []syscall.Errno{windows.ERROR_FILENAME_EXCED_RANGE, windows.ERROR_INVALID_NAME, windows.ERROR_BAD_PATHNAME}
	case syscall.ENOMEM:
		return []syscall.Errno{windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_NO_SYSTEM_RESOURCES}
	case syscall.ENOSPC:
		return []syscall.Errno{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}
	case syscall.ENOTDIR:
		return []syscall.Errno{windows.ERROR_DIRECTORY}
	case syscall.EPIPE:
		return []syscall.Errno{windows.ERROR_BROKEN_PIPE, windows.ERROR_NO_DATA}
	case syscall.EROFS:
		return []syscall.Errno{windows.ERROR_WRITE_PROTECT}
	case syscall.ETIMEDOUT:
		return []syscall.Errno{windows.WSAETIMEDOUT, windows.ERROR_SEM_TIMEOUT}
	case syscall.ETXTBSY: // a file that another program has open, and shares with nobody
		return []syscall.Errno{windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION}
	case syscall.EXDEV:
		return []syscall.Errno{windows.ERROR_NOT_SAME_DEVICE}
	}
	return nil
}
