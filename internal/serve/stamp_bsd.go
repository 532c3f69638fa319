//go:build darwin || freebsd

package serve

import "syscall"

func inodeChange(st *syscall.Stat_t) *syscall.Timespec { return &st.Ctimespec }
