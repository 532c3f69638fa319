// Command c is the origin server: it connects to the control port of a proxy
// and answers, over that connection, what visitors of the proxy ask for. It
// listens on no port.
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
		Name: "c",
		About: "Serves the files of a folder, or a local web service, through a proxy p.\n" +
			"Reads the token from SPDY_PROXY_TOKEN or --token-file. SIGHUP reads the token\n" +
			"and the certificates again; SIGUSR2 has a new process of c take over.",
		Daemon: true,
		Flags:  o.flags,
		Run:    o.run,
	}
	return program.Main(ctx, args, stdout, stderr)
}
