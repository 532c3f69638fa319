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
func FreeAddr() (addr string, err error) {
	err = FreeAddrs(&addr)
	return addr, err
}

// FreeAddrs fills each of addrs, all with different ones.
func FreeAddrs(addrs ...*string) error {
	for _, a := range addrs {
		ln, err := listenFree()
		if err != nil {
			return err
		}
		defer ln.Close() // no other gets it before
		*a = ln.Addr().String()
	}
	return nil
}

func listenFree() (net.Listener, error) {
	for range 100 {
		if ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(10000)))); err == nil {
			return ln, nil
		}
	}
	return nil, errors.New("no free port was found from 20000 to 30000")
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
