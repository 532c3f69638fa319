package main

import (
	"context"
	"fmt"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/originserver"
	"github.com/amahi/spdy-proxy/internal/upgrade"
)

// check is the command that finds what is wrong without starting.
func (o *options) check() *cli.Command {
	var offline bool
	return &cli.Command{
		Name: "check", Lenient: true,
		About: "Says what is wrong, without starting. It reads flags, environment and files, connects to each web service that is to be served, and then asks each proxy whether it would take c, " +
			"step by step: the host's name, the connection, the certificate, the token, and who serves the name now. Nobody who serves is disturbed. " +
			"The exit status is 2 if a flag or file is wrong, 1 if a service or a proxy is, with a line for each fault.",
		Examples: []cli.Example{{Line: "c check --config /etc/spdy-proxy/c.toml", About: "before a restart"}},
		Flags:    func(fs *cli.Flags) { fs.BoolVar(&offline, "offline", false, "connect to no service and ask no proxy") },
		Run: func(ctx context.Context, p *cli.Process) error {
			faults := p.Faults
			cfg, err := o.config(p)
			o.warnReadable(p)
			if err != nil {
				faults = append(faults, err)
			} else {
				faults = append(faults, originserver.CheckFiles(cfg)...)
			}
			if err := upgrade.CheckPIDFileLater(o.pidFile); err != nil {
				faults = append(faults, err)
			}
			if len(faults) > 0 {
				return cli.Usage(cli.LineErrors(faults))
			}
			say := func(found string) { fmt.Fprintln(p.Stdout, "ok:", found) }
			say("flags, environment and files")
			if offline {
				return nil
			}
			faults = append(originserver.CheckServices(ctx, cfg, say), originserver.CheckProxies(ctx, cfg, say)...)
			if len(faults) > 0 {
				return cli.LineErrors(faults)
			}
			return nil
		},
	}
}
