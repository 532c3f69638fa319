//go:build linux

package main

import "syscall"

// inodes is how many files can still be made on the file system of a folder, and
// how many there can be at all.
func inodes(dir string) (free, all uint64, err error) {
	var disk syscall.Statfs_t
	err = syscall.Statfs(dir, &disk)
	return disk.Ffree, disk.Files, err
}
