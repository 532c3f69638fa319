// Command devfiles puts in place what the programs need to run without a flag
// from the repository's root: under certs/ a development CA, P's certificate
// for this machine and a random token, in testdata/ the sample media. make runs
// it.
//
// A file that exists stays as it is, whatever is in it: devfiles may run at any
// time, beside itself too, and never takes a key or a token away from a running
// program.
//
// With --issue it makes one more certificate of the same CA: for a second P, or
// for a C that has to show one. With --nodes it makes those of a cluster of Ps, whose
// CA is another one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var certs, media, testdata, issue string
	var nodes []string
	program := &cli.Program{
		Name:  "devfiles",
		Args:  "[HOST...]",
		About: "Makes the development certificates, token and sample files that are missing.",
		Flags: func(fs *cli.Flags) {
			fs.StringVar(&certs, "certs", "certs", "`DIR` of certificates, keys and the token")
			fs.StringVar(&media, "media", "integration-tests/media", "`DIR` of the sample media")
			fs.StringVar(&testdata, "testdata", "testdata", "`DIR` to copy the sample media to")
			fs.StringVar(&issue, "issue", "", "only make NAME.pem and NAME.key for the HOSTs (default: this machine), for a server or a client; `NAME` is a file name")
			fs.StringSliceVar(&nodes, "nodes", nil, "only make what several p that are one need, in the folder cluster of --certs: a CA of their own, and a certificate for each node `NAME`")
		},
		Run: func(_ context.Context, p *cli.Process) error {
			m := &maker{dir: certs, now: time.Now(), out: p.Stdout, warn: p.Stderr}
			if issue != "" {
				return m.issue(issue, p.Args)
			}
			if len(nodes) > 0 && len(p.Args) == 0 {
				return m.cluster(nodes)
			}
			if len(p.Args) > 0 {
				return cli.Usagef("%q: hosts go with --issue NAME", p.Args[0])
			}
			if err := m.all(); err != nil {
				return err
			}
			return m.copyMedia(media, testdata)
		},
	}
	return program.Main(ctx, args, stdout, stderr)
}

// maker makes files and says what it made.
type maker struct {
	dir  string    // of certificates, keys and the token
	now  time.Time // when the certificates begin
	out  io.Writer // a line a file made
	warn io.Writer // a line a file that is there and does not serve
}

func (m *maker) warnf(format string, a ...any) {
	fmt.Fprintf(m.warn, "devfiles: "+format+"\n", a...)
}
