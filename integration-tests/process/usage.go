package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stat is what /proc says of one process.
type stat struct {
	parent int
	cpu    time.Duration
}

// tick is the unit of times in /proc: USER_HZ, which is 100 on all of Linux.
const tick = time.Second / 100

// parseStat reads /proc/PID/stat. The name in it may hold blanks and brackets.
func parseStat(text []byte) (s stat, err error) {
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return s, fmt.Errorf("/proc/PID/stat is %q", text)
	}
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return s, err
	}
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return s, err
		}
		s.cpu += time.Duration(n) * tick
	}
	return s, nil
}

// tree returns the processes and all that descend from them.
func tree(roots []*Process) (map[int]stat, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := map[int]stat{}
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(text)
		if err != nil {
			return nil, err
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		all[pid] = s
	}
	found := map[int]stat{}
	for _, p := range roots {
		found[p.PID()] = all[p.PID()]
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range all {
			_, known := found[pid]
			if _, ours := found[s.parent]; ours && !known {
				found[pid], grown = s, true
			}
		}
	}
	return found, nil
}

// CPU is the time that a side has used until now.
func CPU(side []*Process) (total time.Duration, err error) {
	all, err := tree(side)
	for _, s := range all {
		total += s.cpu
	}
	return total, err
}

// Peak is the most memory that a side has had resident, in bytes: VmHWM of its
// processes, added up.
func Peak(side []*Process) (int64, error) { return memory(side, "VmHWM") }

// Resident is the memory that a side has resident now, in bytes: VmRSS of its
// processes, added up.
func Resident(side []*Process) (int64, error) { return memory(side, "VmRSS") }

// memory adds up what /proc/PID/status says in one line, in bytes.
func memory(side []*Process, field string) (total int64, err error) {
	all, err := tree(side)
	if err != nil {
		return 0, err
	}
	for pid := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, ok := strings.Cut(string(text), field+":")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			continue // a zombie has none
		}
		kb, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += kb << 10
	}
	return total, nil
}

// TCPMemory is what the kernel uses for the buffers of all TCP connections, in
// bytes. No process has it resident.
func TCPMemory() (int64, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	return parseSockstat(text)
}

func parseSockstat(text []byte) (int64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		for i := 1; i+1 < len(fields) && fields[0] == "TCP:"; i += 2 {
			if fields[i] == "mem" {
				pages, err := strconv.ParseInt(fields[i+1], 10, 64)
				return pages * int64(os.Getpagesize()), err
			}
		}
	}
	return 0, fmt.Errorf("/proc/net/sockstat is %q", text)
}
