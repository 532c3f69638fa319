//go:build !linux && !darwin && !freebsd

package serve

import "io/fs"

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), changed: info.ModTime(), inodeChanged: info.ModTime()}
}
