package serve

import "syscall"

func inodeChange(st *syscall.Stat_t) *syscall.Timespec { return &st.Ctim }
