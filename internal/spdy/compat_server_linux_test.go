package spdy_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/amahi/spdy"
)

// tappedListener hands out what it accepts.
type tappedListener struct {
	net.Listener
	accepted chan net.Conn
}

func (l *tappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- c
	}
	return c, err
}

// Needs a real socket: the kernel is asked.
func TestUpstreamTCPKeepAlive(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &tappedListener{tcp, make(chan net.Conn, 1)}
	s := &spdy.Server{Handler: http.NotFoundHandler()}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c, err := spdy.NewClient(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if pinged, err := c.Ping(limit); !pinged { // the session has begun
		t.Fatal(err)
	}
	raw, err := (<-ln.accepted).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		on, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		if err != nil || on == 0 {
			t.Errorf("SO_KEEPALIVE: %d, %v, want on", on, err)
		}
		idle, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
		if err != nil || idle != 180 {
			t.Errorf("TCP_KEEPIDLE: %d s, %v, want 180", idle, err)
		}
	})
	s.Close()
	<-served
	c.Close()
}
