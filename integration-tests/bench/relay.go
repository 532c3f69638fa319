package main

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/pflag"
)

// relayChunks is how many pieces may be under way in one direction. The line's
// bandwidth is not to be the limit: this is more than windows of any sort hold.
const relayChunks = 8192

// chunk is bytes that are due at the other end at a time.
type chunk struct {
	data []byte
	due  time.Time
}

// relay is the part that stands for a long line: it passes connections on, and
// each byte a while after it came.
func relay(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	flags := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	listen := flags.String("listen", "", "")
	to := flags.String("to", "", "")
	delay := flags.Duration("delay", 25*time.Millisecond, "each way")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return accept(ctx, *listen, func(in net.Conn) {
		defer in.Close()
		out, err := net.Dial("tcp", *to)
		if err != nil {
			return
		}
		defer out.Close()
		var both sync.WaitGroup
		// Each ends with its source, or when its target takes nothing more.
		both.Go(func() { late(out, in, *delay) })
		both.Go(func() { late(in, out, *delay) })
		both.Wait()
	})
}

// late copies from one connection to the other, delayed.
func late(to, from net.Conn, delay time.Duration) {
	pool := sync.Pool{New: func() any { return new([bigBuffer]byte) }}
	queue := make(chan chunk, relayChunks)
	// Ends with from, which late's caller closes at the latest; late waits for it
	// by reading queue to its end.
	go func() {
		defer close(queue)
		for {
			buf := pool.Get().(*[bigBuffer]byte)
			n, err := from.Read(buf[:])
			if n > 0 {
				queue <- chunk{buf[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for c := range queue {
		if !broken {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				broken = true
				from.Close()
			}
		}
		pool.Put((*[bigBuffer]byte)(c.data[:bigBuffer]))
	}
	if t, ok := to.(*net.TCPConn); ok && !broken {
		t.CloseWrite()
	}
}

// accept listens at addr and calls serve for each connection, until ctx ends.
func accept(ctx context.Context, addr string, serve func(net.Conn)) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		// Ends with its connection, at the latest with the process.
		go serve(conn)
	}
}
