package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
)

// visitorKeepAlive is TCP's on the connections of every port.
const visitorKeepAlive = 30 * time.Second

// inherited returns the port called what if the process was started with it.
func (p *Proxy) inherited(what string) (net.Listener, error) {
	ln, err := p.cfg.Inherited(what)
	if err != nil {
		return nil, &ConfigError{err}
	}
	if sc, ok := ln.(syscall.Conn); ok && what == "front" {
		// As bind does: systemd does not.
		if raw, err := sc.SyscallConn(); err == nil {
			limitUnsent("", "", raw)
		}
	}
	return ln, nil
}

// bind listens on addr for the port called what, which is its flag's name too.
// Its error says what would mend it.
func bind(what, addr string) (net.Listener, error) {
	// Control sets its own options, on each connection.
	lc := net.ListenConfig{KeepAlive: visitorKeepAlive}
	// Go's default takes MPTCP too, and then connections do not inherit what
	// limitUnsent sets.
	lc.SetMultipathTCP(false)
	if what == "front" || what == "peer" {
		lc.Control = limitUnsent
	}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err == nil {
		return ln, nil
	}
	_, unknown := errors.AsType[*net.DNSError](err)
	mend := "give another address with --" + what
	switch {
	case errno.Is(err, syscall.EADDRINUSE):
		mend = "another program listens there: stop it, or " + mend
	case errno.Is(err, syscall.EACCES):
		mend = "ports below 1024 are the system's: allow this program to use one, or " + mend
	case errno.Is(err, syscall.EADDRNOTAVAIL):
		mend = "this machine has no such address: " + mend
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	if se, ok := errors.AsType[*os.SyscallError](err); ok {
		err = se.Err
	}
	err = fmt.Errorf("cannot listen on %s for the %s port: %w; %s", addr, what, err, mend)
	if unknown {
		return nil, &ConfigError{err}
	}
	return nil, err
}
