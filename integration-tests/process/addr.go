package process

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// FreeAddr returns a loopback address on which nobody listens. The ports are
// below those that the kernel gives to outgoing connections.
func FreeAddr() (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(10000)))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr, nil
		}
	}
	return "", errors.New("no free port was found from 20000 to 30000")
}

// FreeAddrs fills each of addrs.
func FreeAddrs(addrs ...*string) (err error) {
	for _, a := range addrs {
		if *a, err = FreeAddr(); err != nil {
			return err
		}
	}
	return nil
}

// Listening waits for a port to accept connections.
func Listening(ctx context.Context, addr string) error {
	return Poll(ctx, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// ErrEnded is that a program which should run does not.
var ErrEnded = errors.New("it has ended")

// Poll calls ready until it returns nil or ErrEnded, for ten seconds at most.
func Poll(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ready()
		if err == nil || errors.Is(err, ErrEnded) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}
