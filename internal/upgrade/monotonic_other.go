//go:build !linux

package upgrade

// monotonic: systemd is Linux's.
func monotonic() int64 { return 0 }
