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
	setOption(c, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}

// setUnsent has the system take no more of what is written while that many bytes
// have not been sent (tcp(7), TCP_NOTSENT_LOWAT).
func setUnsent(c *net.TCPConn, bytes int) { setOption(c, unix.TCP_NOTSENT_LOWAT, bytes) }

func setOption(c *net.TCPConn, option, value int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value) })
}
