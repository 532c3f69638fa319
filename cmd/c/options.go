package main

import (
	"context"
	"fmt"
	"time"

	"github.com/amahi/spdy"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// options are the values of c's flags.
type options struct {
	proxies     []string
	connections int
	name        string

	tls       control.ClientTLS
	tokenFile string

	serve serve.Config

	keepAlive time.Duration
	drain     time.Duration
	debug     bool
}

func (o *options) flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.proxies, "proxy", []string{"localhost:1444"}, "control port `ADDR` of a proxy; several: a connection to each")
	fs.IntVar(&o.connections, "connections", 1, "parallel connections to each proxy")
	fs.StringVar(&o.tls.CAFile, "ca", "certs/ca.pem", "`FILE` that the proxy's certificate is verified against, or \"system\"")
	fs.StringVar(&o.tls.ServerName, "server-name", "", "`NAME` that the proxy's certificate must bear (default: the host dialled)")
	fs.StringVar(&o.tls.CertFile, "client-cert", "", "certificate `FILE` for a proxy that asks for one")
	fs.StringVar(&o.tls.KeyFile, "client-key", "", "`FILE` with its private key")
	fs.StringVar(&o.tokenFile, "token-file", "certs/token", "`FILE` whose first token is shown to the proxy")
	fs.StringVarP(&o.name, "name", "n", "", "the origin's `NAME` (default: the default origin)")
	fs.StringVarP(&o.serve.Root, "root", "r", "./testdata", "folder `DIR` to serve")
	fs.StringVar(&o.serve.To, "to", "", "local web service `URL` to serve in place of a folder: http://, https:// or unix:/PATH")
	fs.StringVar(&o.serve.Upload, "upload", "", "keep the bodies of POST and PUT in the folder `DIR`")
	fs.Int64Var(&o.serve.UploadMax, "upload-max", serve.DefaultUploadMax, "largest body kept, in `BYTES`")
	fs.BoolVar(&o.serve.DAV, "dav", false, "serve the folder by WebDAV too: for reading, and for writing what of it is in --upload")
	fs.BoolVar(&o.serve.Dotfiles, "dotfiles", false, "also serve names that begin with a dot")
	fs.BoolVar(&o.serve.NoListing, "no-listing", false, "answer 404 for a folder without an index.html")
	fs.BoolVar(&o.serve.FollowLinks, "follow-links", false, "also serve what links lead to outside the folder")
	fs.BoolVar(&o.serve.CORS, "cors", false, "let pages of any site read the files")
	fs.StringVar(&o.serve.CacheControl, "cache-control", "", "`VALUE` of the Cache-Control header of files")
	fs.StringVar(&o.serve.Fallback, "fallback", "", "`FILE` in the folder that answers for a missing path: with 404 if it is 404.html, else with 200")
	fs.DurationVar(&o.keepAlive, "keepalive", 15*time.Second, "a PING after this much silence; silent for that long again, the proxy is dead; 0: never")
	fs.DurationVar(&o.drain, "drain", 30*time.Second, "how long open requests may finish when c stops")
	fs.BoolVarP(&o.debug, "spdy-debug", "s", false, "print one line a SPDY frame on standard error")
}

func (o *options) run(ctx context.Context, p *cli.Process) error {
	if o.serve.To != "" {
		if p.Flags.Changed("root") {
			return cli.Usagef("--root and --to exclude each other: give one of them")
		}
		o.serve.Root = ""
	}
	switch {
	case o.keepAlive < 0:
		return cli.Usagef("--keepalive %v: give a time such as 15s, or 0 for never", o.keepAlive)
	case o.drain < 0:
		return cli.Usagef("--drain %v: give a time such as 30s, or 0 for none", o.drain)
	case o.connections < 1:
		return cli.Usagef("--connections %d: give 1 or more", o.connections)
	case o.serve.UploadMax < 1:
		return cli.Usagef("--upload-max %d: give a number of bytes above 0", o.serve.UploadMax)
	}
	o.serve.Logger = p.Log
	handler, err := serve.New(o.serve)
	if err != nil {
		return cli.Usage(err)
	}
	defer handler.Close()

	cfg := agent.Config{
		Proxies:     o.proxies,
		Connections: o.connections,
		Name:        o.name,
		Load: func() (agent.Identity, error) {
			tokens, err := control.TokenSource{File: o.tokenFile, Value: p.Token()}.Load()
			if err != nil {
				return agent.Identity{}, err
			}
			if p.Token() == "" {
				control.WarnReadable(p.Log, "token file", o.tokenFile)
			}
			control.WarnReadable(p.Log, "private key", o.tls.KeyFile)
			tls, err := o.tls.Load()
			return agent.Identity{Token: tokens.First(), TLS: tls}, err
		},
		Handler: handler,
		Session: spdy.Config{KeepAlive: o.keepAlive},
		Drain:   o.drain,
		Logger:  p.Log,
	}
	if o.debug {
		cfg.Trace = func(slot int, f spdy.FrameInfo) { p.Trace(fmt.Sprintf("spdy %d: %v", slot, f)) }
	}
	a, err := agent.New(cfg)
	if err != nil {
		return cli.Usage(err)
	}
	p.OnReload(func() {
		if err := a.Reload(); err != nil {
			p.Log.Error("reload failed, what was read before stays in use", "err", err)
			return
		}
		p.Log.Info("token and certificates were read again")
	})
	p.Log.Info("c starts", "version", cli.Version(), "proxies", o.proxies, "connections", o.connections)
	a.Run(ctx, p.Now)
	p.Log.Info("c has stopped")
	return nil
}
