// Command p is the proxy: visitors come to its front port, and their requests
// travel to origin servers that have connected to its control port.
package main

import (
	"context"
	"io"
	"os"

	"github.com/amahi/spdy-proxy/internal/cli"
)

func main() {
	cli.RelaxTimers()
	stop := cli.PaceGC()
	status := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	program := &cli.Program{
		Name: "p",
		About: "Takes requests on a front port and hands them to origin servers (c) that\n" +
			"connected to its control port. Reads the tokens from SPDY_PROXY_TOKEN or\n" +
			"--token-file. SIGHUP reads certificates, tokens and passwords again; SIGUSR2 has a\n" +
			"new process of p take over.",
		Daemon: true,
		Flags:  o.flags,
		Run:    o.run,
	}
	return program.Main(ctx, args, stdout, stderr)
}
