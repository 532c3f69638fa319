//go:build !unix

package tokenfile

import (
	"io/fs"
	"os"
)

// keepOwner does nothing: files have no such owner here.
func keepOwner(*os.File, fs.FileInfo) error { return nil }

// noFollow: there is no such thing here.
const noFollow = 0

func rootInAnothers(string) bool { return false }
