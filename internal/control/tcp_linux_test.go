package control

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Both ends have the system watch their connection.
func TestTCPOptions(t *testing.T) {
	p := startPort(t, nil, nil)
	c, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := <-p.regs
	for end, conn := range map[string]net.Conn{"C": c.NetConn(), "P": r.Conn.NetConn().(*turnConn).NetConn()} {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			for _, opt := range []struct {
				name             string
				level, opt, want int
			}{
				{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout.Milliseconds())},
				{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, tcpUnsent},
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(tcpKeepAliveIdle.Seconds())},
			} {
				if got, err := unix.GetsockoptInt(int(fd), opt.level, opt.opt); err != nil || got != opt.want {
					t.Errorf("%s: %s = %d, %v; want %d", end, opt.name, got, err, opt.want)
				}
			}
		})
	}
}
