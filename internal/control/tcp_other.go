//go:build !linux

package control

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the option is Linux's.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// setUnsent does nothing: the option is Linux's.
func setUnsent(*net.TCPConn, int) {}
