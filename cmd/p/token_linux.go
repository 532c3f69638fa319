package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// noFollow has the system open no link, and wait for nobody.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// wroteItself reports whether a file with a process's id is of that process's user.
// Root would otherwise signal whatever somebody wrote there who may signal nobody.
func wroteItself(pidFile *os.File, pid int) bool {
	info, err := pidFile.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if !ok || err != nil {
		return true // there is no such process, or nobody to ask
	}
	_, rest, _ := strings.Cut(string(status), "\nUid:")
	ids := strings.Fields(rest)
	return len(ids) > 0 && ids[0] == strconv.FormatUint(uint64(stat.Uid), 10)
}

// otherProgram returns the name of the program that a process runs, if it is another than
// this one: a file with an id outlives a p that is killed, and the id is somebody else's
// later, whom SIGHUP would end. An upgrade may have replaced the program's file.
func otherProgram(pid int) (name string, other bool) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "", false // there is no such process, or nobody to ask
	}
	name = programName(its)
	return name, name != programName(own)
}

func programName(exe string) string {
	return filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
}
