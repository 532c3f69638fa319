package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// noFollow has the system open no link, and wait for nobody.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// mayHangUp tells why a process whose id a file has is to be sent no SIGHUP. Root would
// otherwise signal whatever somebody wrote there who may signal nobody, and whoever has the
// id of a p that was killed would be ended by it.
func mayHangUp(pidFile *os.File, pid int) error {
	info, err := pidFile.Stat()
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if !ok || err != nil {
		return nil // there is no such process, or nobody to ask
	}
	if ids := strings.Fields(field(text, "Uid")); len(ids) == 0 || ids[0] != strconv.FormatUint(uint64(stat.Uid), 10) {
		return errors.New("which is somebody else's")
	}
	caught, err := strconv.ParseUint(strings.TrimSpace(field(text, "SigCgt")), 16, 64)
	if err == nil && caught&(1<<(syscall.SIGHUP-1)) == 0 {
		return errors.New("which SIGHUP would end: it is no p any more, or has just begun")
	}
	return nil
}

// field returns a field of /proc/PID/status (proc(5)).
func field(status []byte, name string) string {
	_, rest, _ := strings.Cut(string(status), "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
