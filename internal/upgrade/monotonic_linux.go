package upgrade

import "golang.org/x/sys/unix"

// monotonic is the system's clock that no one sets, in microseconds: systemd
// compares it with its own.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano() / 1000
}
