package control

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
)

// WarnReadable logs a warning if a file with a secret may be read, or written, by
// others than its owner; or, if that is root, than a group it is lent to, as a
// service's configuration is. what names it for people: "token file". A file that is
// not there, or not a regular one, is no concern of its; nor is any where the
// system has no such modes.
func WarnReadable(log *slog.Logger, what, file string) {
	if file == "" || runtime.GOOS == "windows" {
		return
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 || lentToGroup(info) {
		return
	}
	log.Warn(what+" is open to others: chmod 600 "+file, "mode", fmt.Sprintf("%04o", info.Mode().Perm()))
}
