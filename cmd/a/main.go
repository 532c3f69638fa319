// Command a is the slow reader: it fetches one URL at a fixed rate and keeps no
// more of it in hand than it has to, so that a proxy, or whatever else stands
// before the file, feels a client that does not keep up.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/amahi/spdy-proxy/internal/cli"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	program := &cli.Program{
		Name:  "a",
		Args:  "[URL]",
		Short: "a reader of one URL that is slow on purpose",
		About: "Fetches URL (default " + defaultURL + ") slowly, and says on standard error how many bytes were received.",
		Flags: func(fs *cli.Flags) {
			fs.Int64Var(&o.rate, "rate", 16384, "read no more than these `BYTES/S`")
			fs.StringVarP(&o.output, "output", "o", "", "write to `FILE` (default: standard output)")
		},
		Run: func(ctx context.Context, p *cli.Process) error {
			if err := o.arguments(p.Args); err != nil {
				return err
			}
			n, err := o.fetch(ctx, p.Stdout)
			if err == nil {
				fmt.Fprintf(p.Stderr, "a: %d bytes received\n", n)
			}
			return err
		},
	}
	return program.Main(ctx, args, stdout, stderr)
}
