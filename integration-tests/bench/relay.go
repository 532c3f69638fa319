package main

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/relay"
)

// relayPart is the part that stands for a long line. The line's bandwidth is not
// to be the limit.
func relayPart(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	flags := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	listen := flags.String("listen", "", "")
	to := flags.String("to", "", "")
	delay := flags.Duration("delay", 25*time.Millisecond, "each way")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return accept(ctx, *listen, func(in net.Conn) {
		out, err := net.Dial("tcp", *to)
		if err != nil {
			in.Close()
			return
		}
		relay.Line{Delay: *delay}.Pass(in, out)
	})
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
