package control

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout has the system give a connection up whose peer acknowledges
// nothing for d (tcp(7), TCP_USER_TIMEOUT); alone it would go on for a quarter of an
// hour.
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
