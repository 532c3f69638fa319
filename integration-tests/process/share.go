//go:build linux

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sharePeriod is how often a process gets its part of the CPU. It is short beside what
// the buffers between two processes hold: who waits for its part holds up nobody.
const sharePeriod = 10 * time.Millisecond

// Shares give processes a part of the CPU each, by Linux's control groups: as if each
// were on a machine of its own, none can take it from another.
type Shares struct {
	root string // of the controller
	v2   bool
	dirs []string
}

// NewShares finds where that can be done, which is root's affair in most places.
func NewShares() (*Shares, error) { return newShares("/sys/fs/cgroup") }

func newShares(mounted string) (*Shares, error) {
	s := &Shares{root: filepath.Join(mounted, "cpu")}
	if _, err := os.Stat(filepath.Join(s.root, "cpu.cfs_quota_us")); err != nil {
		s.root, s.v2 = mounted, true
		names, err := os.ReadFile(filepath.Join(mounted, "cgroup.subtree_control"))
		if err != nil || !strings.Contains(" "+strings.TrimSpace(string(names))+" ", " cpu ") {
			return nil, fmt.Errorf("no control groups for the CPU in %s", mounted)
		}
	}
	dir, err := s.group()
	if err != nil {
		return nil, err
	}
	return s, os.Remove(dir)
}

// group makes a group. Beside it others may be made by another run of this program.
func (s *Shares) group() (string, error) { return os.MkdirTemp(s.root, "spdy-proxy-") }

// Limit has a process, and all that it starts from now on, use so much of one core at
// most. Close takes that back.
func (s *Shares) Limit(pid int, cores float64) error {
	dir, err := s.group()
	if err != nil {
		return err
	}
	s.dirs = append(s.dirs, dir)
	period, quota := sharePeriod.Microseconds(), int64(cores*float64(sharePeriod.Microseconds()))
	files := [][2]string{{"cpu.cfs_period_us", fmt.Sprint(period)}, {"cpu.cfs_quota_us", fmt.Sprint(quota)}}
	if s.v2 {
		files = [][2]string{{"cpu.max", fmt.Sprint(quota, " ", period)}}
	}
	for _, f := range append(files, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
		if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Close puts the processes that still run back, and removes the groups.
func (s *Shares) Close() {
	for _, dir := range s.dirs {
		pids, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(pids)) {
			os.WriteFile(filepath.Join(s.root, "cgroup.procs"), []byte(pid), 0o644) // it may have ended
		}
		os.Remove(dir)
	}
	s.dirs = nil
}
