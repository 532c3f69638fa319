package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/upgrade"
)

// check is the command that finds what is wrong without starting.
func (o *options) check() *cli.Command {
	var live bool
	return &cli.Command{
		Name: "check", Lenient: true,
		About: "Says what is wrong, without starting. It reads flags, environment and files; the exit status is 2 if one is wrong, with a line for each fault.",
		Examples: []cli.Example{
			{Line: "p check --config /etc/spdy-proxy/p.toml", About: "before a restart"},
			{Line: "p check --live", About: "the health check of a container"},
		},
		Flags: func(fs *cli.Flags) {
			fs.BoolVar(&live, "live", false, "only ask the running p's admin port whether it lives: exit status 1 if it does not")
		},
		Run: func(ctx context.Context, p *cli.Process) error {
			if live && len(p.Faults) == 0 {
				return o.lives(ctx, p.Stdout)
			}
			cfg := o.config(p)
			o.cluster.warnReadable(p)
			_, clustered, wrong := o.cluster.config(cfg.Control)
			if wrong == nil {
				cfg.Cluster = clustered
			}
			found, faults := proxy.Check(cfg)
			faults = append(p.Faults, faults...)
			if wrong != nil {
				faults = append(faults, wrong)
			}
			if err := upgrade.CheckPIDFileLater(o.pidFile); err != nil {
				faults = append(faults, err)
			}
			if len(faults) > 0 {
				return cli.Usage(cli.LineErrors(faults))
			}
			for _, text := range found {
				fmt.Fprintln(p.Stdout, "ok:", text)
			}
			return nil
		},
	}
}

// lives asks the admin port of a p with the same flags.
func (o *options) lives(ctx context.Context, stdout io.Writer) error {
	url, err := o.adminURL("/healthz")
	if err != nil {
		return err
	}
	resp, err := askAdmin(ctx, http.MethodGet, url, "")
	if err != nil {
		return fmt.Errorf("p does not live: %w; does it run, and has it this --admin?", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("p does not live: %s answered %s", url, resp.Status)
	}
	_, err = fmt.Fprintf(stdout, "ok: %s\n", url)
	return err
}

// reachable returns where to connect to a port that listens on addr.
func reachable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
		if strings.Contains(addr, ".") {
			host = "127.0.0.1"
		}
	}
	return net.JoinHostPort(host, port), nil
}
