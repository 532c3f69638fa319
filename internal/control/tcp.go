package control

import (
	"net"
	"time"
)

// The system's own watch over a connection, for when a session's pings cannot
// speak: during C's handshake, and behind a write that does not end.
const (
	tcpKeepAliveIdle     = 15 * time.Second
	tcpKeepAliveInterval = 10 * time.Second
	tcpKeepAliveCount    = 3
	tcpUserTimeout       = 45 * time.Second // sent bytes may stay unacknowledged so long
)

// tcpUnsent is how much the kernel keeps of a connection beyond what is under way.
// Without it several MB are in the kernel before the session chooses what goes
// next: what is urgent, and what is another visitor's, waits behind that on a slow
// line, even if nobody wants it any more.
const tcpUnsent = 128 << 10

// tuneTCP sets the options of a TCP connection. A system that has not one of
// them does without: the session's pings find a dead peer too.
func tuneTCP(conn net.Conn) {
	tc := tcpOf(conn)
	if tc == nil {
		return
	}
	tc.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: tcpKeepAliveIdle, Interval: tcpKeepAliveInterval, Count: tcpKeepAliveCount,
	})
	setUserTimeout(tc, tcpUserTimeout)
	setUnsent(tc, tcpUnsent)
}

// tcpOf returns the TCP connection that conn is or stands on, nil if there is none.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		if tc, ok := conn.(*net.TCPConn); ok {
			return tc
		}
		on, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = on.NetConn()
	}
}
