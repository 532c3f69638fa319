package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much the kernel keeps for a visitor beyond what is under way
// to it (tcp(7), TCP_NOTSENT_LOWAT). Without it a slow reader gets several MB
// of its download into the kernel, thousands of them make the origin's
// connection carry that first, and what is urgent waits behind it.
const maxUnsent = 128 << 10

// limitUnsent is net.ListenConfig.Control: connections inherit the option from
// the listener. A system that has it not does without.
func limitUnsent(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}
