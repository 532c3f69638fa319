// Command c is the origin server: it connects to the control port of a proxy
// and answers, over that connection, what visitors of the proxy ask for. It
// listens on no port.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/handbook"
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
		Name:  "c",
		Short: "the origin server of spdy-proxy, which needs no open port",
		About: "Serves the files of a folder, or a local web service, through a proxy p.\n" +
			"SIGHUP reads the token and the certificates again; SIGUSR2 has a new process of c take over. " +
			"SPDY_PROXY_TOKEN, if set, stands for the content of --token-file.",
		Examples: []cli.Example{
			{Line: "c", About: "after make, from the repository's root, beside p: serves ./testdata"},
			{Line: "c --proxy example.org:1444 --ca system --token-file token \\\n  -n photos -r ~/Pictures", About: "a folder"},
			{Line: "c --proxy example.org:1444 --ca system --token-file token \\\n  -n wiki --to http://localhost:8080", About: "a local web service"},
		},
		Daemon:   true,
		Flags:    o.flags,
		Each:     map[string]func() *pflag.FlagSet{"origin": o.table},
		Run:      o.run,
		Book:     handbook.Book{},
		Stray:    "a folder goes behind --root, a web service behind --to, an invitation behind --join",
		Remarks:  o.remarks,
		Commands: []*cli.Command{o.check()},
	}
	return program.Main(ctx, args, stdout, stderr)
}
