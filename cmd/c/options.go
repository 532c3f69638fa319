package main

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/originserver"
	"github.com/amahi/spdy-proxy/internal/upgrade"
)

// options are the values of c's flags.
type options struct {
	originserver.Config
	origin  origin    // as flags say
	origins []*origin // as tables of the configuration file do
	debug   bool
	pidFile string
	join    string
	kept    bool // what join said is kept
	state   string
	from    string // the file of the invitation in effect, "" if there is none or --join gives it
	given   string // the file that --join names, "" if it names none
}

// origin is a name, and what is served under it.
type origin struct{ originserver.Origin }

func (o *options) flags(fs *cli.Flags) {
	fs.Group("Proxy")
	fs.StringVar(&o.join, "join", "", "take the invitation `CODE`, as p invite prints it, and keep it in --state: then c alone will do; @FILE reads it from a file, - from standard input")
	fs.Secret("join")
	fs.StringVar(&o.state, "state", cli.StateDir(), "keep the invitation in the folder `DIR`")
	fs.StringSliceVar(&o.Proxies, "proxy", []string{"localhost:1444"}, "control port `ADDR` of a proxy; several: a connection to each")
	fs.IntVar(&o.Connections, "connections", 1, "`N` parallel connections to each proxy")
	fs.IntVar(&o.Spread, "spread", 2, "of several proxies that are one, be connected to `K` at least")
	fs.BoolVar(&o.NoFollow, "no-follow", false, "connect to no proxy but those of --proxy")
	fs.StringVar(&o.TLS.CAFile, "ca", "certs/ca.pem", "`FILE` that the proxy's certificate is verified against, or \"system\"")
	fs.StringVar(&o.TLS.ServerName, "server-name", "", "`NAME` that the proxy's certificate must bear (default: the host dialled)")
	fs.StringVar(&o.TLS.CertFile, "client-cert", "", "certificate `FILE` for a proxy that asks for one")
	fs.StringVar(&o.TLS.KeyFile, "client-key", "", "`FILE` with its private key")
	fs.StringVar(&o.Tokens.File, "token-file", "certs/token", "`FILE` whose first token is shown to the proxy")
	o.origin.flags(fs)
	o.runFlags(fs)
}

func (o *origin) flags(fs *cli.Flags) {
	fs.Group("What is served")
	fs.StringVarP(&o.Name, "name", "n", "", "the origin's `NAME` (default: the default origin)")
	fs.StringVarP(&o.Serve.Root, "root", "r", "./testdata", "folder `DIR` to serve")
	fs.StringVar(&o.Serve.To, "to", "", "local web service `URL` to serve in place of a folder: http://, https:// or unix:/PATH")
	fs.StringVar(&o.Serve.ToHost, "to-host", "", "`HOST` that the service gets in place of the visitor's; -: that of --to")
	fs.StringVar(&o.Serve.ToCA, "to-ca", "", "`FILE` with the CA of an https service's certificate (default: the system's roots)")
	fs.StringVar(&o.Serve.Upload, "upload", "", "keep the bodies of POST and PUT in the folder `DIR`")
	fs.Int64Var(&o.Serve.UploadMax, "upload-max", originserver.DefaultUploadMax, "largest body kept, in `BYTES`")
	fs.BoolVar(&o.Serve.DAV, "dav", false, "serve the folder by WebDAV too: for reading, and for writing what of it is in --upload")
	fs.BoolVar(&o.Serve.Dotfiles, "dotfiles", false, "also serve names that begin with a dot")
	fs.BoolVar(&o.Serve.NoListing, "no-listing", false, "answer 404 for a folder without an index.html")
	fs.BoolVar(&o.Serve.FollowLinks, "follow-links", false, "also serve what links lead to outside the folder")
	fs.BoolVar(&o.Serve.CORS, "cors", false, "let pages of any site read the files")
	fs.StringVar(&o.Serve.CacheControl, "cache-control", "", "`VALUE` of the Cache-Control header of files")
	fs.StringVar(&o.Serve.Fallback, "fallback", "", "`FILE` in the folder that answers for a missing path: with 404 if it is 404.html, else with 200")
}

func (o *options) runFlags(fs *cli.Flags) {
	fs.Group("Running")
	fs.StringVar(&o.Inspect, "inspect", "", "a page at `ADDR`, on this machine alone, with the last requests, their bodies, and replay")
	fs.StringVar(&o.AccessLog, "access-log", "", "one line a request to `FILE`; - is standard output")
	fs.Var(&o.AccessFormat, "access-log-format", "its lines as `combined|json` (default: json with --log-format json, else combined)")
	fs.DurationVar(&o.KeepAlive, "keepalive", 15*time.Second, "a PING after this much silence; silent for that long again, the proxy is dead; 0: never")
	fs.DurationVar(&o.Drain, "drain", 30*time.Second, "how long open requests may finish when c stops")
	fs.StringVar(&o.pidFile, "pid-file", "", "keep the process's id in `FILE`, at a hand-over the new one's")
	fs.BoolVarP(&o.debug, "spdy-debug", "s", false, "print one line a SPDY frame on standard error")
}

// table begins an [[origin]] of the configuration file, and returns its flags. What
// flags say of how to serve holds for each that does not say otherwise.
func (o *options) table() *pflag.FlagSet {
	next := new(origin)
	fs := cli.NewFlags("origin")
	next.flags(fs)
	*next = o.origin
	next.Name, next.Serve.Root, next.Serve.To, next.Serve.Upload = "", "", "", ""
	o.origins = append(o.origins, next)
	return fs.FlagSet
}

// served returns what is to be served: what the tables say, or else the flags.
func (o *options) served(p *cli.Process) (origins []originserver.Origin, err error) {
	if len(o.origins) > 0 {
		for _, flag := range []string{"name", "root", "to", "upload"} {
			if f := p.Flags.Lookup(flag); f.Value.String() != f.DefValue {
				return nil, cli.Usagef("--%s does not go with the [[origin]] tables of the configuration file: write it into one of them", flag)
			}
		}
		for _, next := range o.origins {
			origins = append(origins, next.Origin)
		}
		return origins, nil
	}
	one := o.origin.Origin
	if one.Serve.To != "" {
		switch root, to := p.Source("root"), p.Source("to"); {
		case root == to:
			return nil, cli.Usagef("--root and --to exclude each other: give one of them")
		case root > to:
			one.Serve.To = "" // it was given less directly
		default:
			one.Serve.Root = ""
		}
	}
	return append(origins, one), nil
}

// config returns what C is told.
func (o *options) config(p *cli.Process) (cfg originserver.Config, err error) {
	cfg = o.Config
	if cfg.Origins, err = o.served(p); err != nil {
		return cfg, err
	}
	cfg.Tokens.Value = p.Token()
	cfg.Version = cli.Version()
	cfg.Logger = p.Log
	cfg.Getenv = os.Getenv
	cfg.Stdout = p.Stdout
	// Who reads the log as JSON reads the access log so too, unless told otherwise.
	cfg.AccessFormat = cfg.AccessFormat.Or(p.Flags.Lookup("log-format").Value.String() == "json")
	if o.debug {
		cfg.Trace = p.Trace
	}
	return cfg, o.invited(p, &cfg)
}

func (o *options) run(ctx context.Context, p *cli.Process) error {
	life, err := upgrade.Begin(upgrade.Options{PIDFile: o.pidFile, Ports: []string{originserver.InspectPort}, Log: p.Log})
	if err != nil {
		return cli.Usage(err)
	}
	defer life.End()
	if life.TakesOver() && o.join == "-" {
		o.join, o.kept = "", true // the process before was told, and has kept it
	}
	cfg, err := o.config(p)
	if err == nil {
		err = o.keepInvitation(ctx, p, cfg)
	}
	if err != nil {
		return err
	}
	o.warnReadable(p)
	if o.from != "" {
		p.Log.Info("an invitation is in effect in place of the defaults", "file", o.from)
	}
	var server *originserver.Server
	cfg.ID, cfg.Inherited = life.State(), life.Listener
	cfg.Started = func(ctx context.Context) error {
		if life.TakesOver() {
			if err := server.Connected(ctx); err != nil {
				return err
			}
		}
		return life.Started(ctx)
	}
	if server, err = originserver.New(cfg); errors.Is(err, syscall.EADDRINUSE) {
		return err // which another try may mend
	} else if err != nil {
		return cli.Usage(err)
	}
	p.OnReload(func() { life.Reload(server.Reload) })
	p.OnHandOver(func() {
		life.HandOver(ctx, func() error {
			return server.HandOver(func(id string, ports map[string]net.Listener) (originserver.Successor, error) {
				return life.Start(ctx, upgrade.Handover{State: id, Ports: ports})
			})
		})
	})
	return server.Run(ctx, p.Now)
}
