//go:build !linux

package proxy

import "syscall"

// limitUnsent does nothing: the option is Linux's.
func limitUnsent(_, _ string, _ syscall.RawConn) error { return nil }
