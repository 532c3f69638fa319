// Command p is the proxy: visitors come to its front port, and their requests
// travel to origin servers that have connected to its control port.
package main

import (
	"context"
	"io"
	"os"

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
		Name:  "p",
		Short: "the proxy of spdy-proxy, which visitors come to",
		About: "Takes requests on a front port and hands them to origin servers (c) that connected to its control port.\n" +
			"SIGHUP reads certificates, tokens, passwords and [[origin]] tables again; SIGUSR2 has a new process of p take over. " +
			"SPDY_PROXY_TOKEN, if set, stands for the content of --token-file.",
		Examples: []cli.Example{
			{Line: "p", About: "after make, from the repository's root: http://localhost:1443/"},
			{Line: "p --front :443 -t --control :1444 --domain example.org \\\n  --cert fullchain.pem --key privkey.pem --token-file tokens",
				About: "on the internet: https://NAME.example.org/ is what the c of that name serves"},
		},
		Daemon:   true,
		Flags:    o.flags,
		Tables:   &o.tables,
		Run:      o.run,
		Book:     handbook.Book{},
		Commands: []*cli.Command{o.check(), o.ctl(), o.token(), o.invite()},
	}
	return program.Main(ctx, args, stdout, stderr)
}
