package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/policy"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/upgrade"
)

// options are the values of p's flags.
type options struct {
	proxy.Config
	tables  policy.Tables // of the configuration file
	cluster clusterOptions
	debug   bool
	pidFile string
}

func (o *options) flags(fs *cli.Flags) {
	fs.Group("Ports")
	fs.StringVar(&o.Front, "front", "localhost:1443", "front port `ADDR`: requests from visitors")
	fs.StringVar(&o.Control, "control", "localhost:1444", "control port `ADDR`: connections from origin servers, always TLS")
	fs.StringVar(&o.Admin, "admin", "localhost:1445", "admin port `ADDR`: status page, metrics, health; empty turns it off")
	fs.BoolVarP(&o.TLS, "tls", "t", false, "TLS on the front port")
	fs.StringSliceVar(&o.ALPN, "alpn", []string{"h2", "http/1.1", "spdy/3.1"}, "`LIST` of what the front port speaks over TLS: h2, http/1.1, spdy/3.1, spdy/3")
	fs.StringVar(&o.HTTP, "http", "", "port `ADDR` beside -t for who comes without TLS: sent to the front port")
	fs.DurationVar(&o.HSTS, "hsts", 0, "tell browsers to come by TLS alone for so long; 0: do not")
	fs.Group("Certificates")
	fs.StringSliceVar(&o.CertFiles, "cert", []string{"certs/p.pem"}, "certificate `FILE` of the control port, and of the front port with -t; may be repeated with --key")
	fs.StringSliceVar(&o.KeyFiles, "key", []string{"certs/p.key"}, "`FILE` with its private key")
	fs.StringVar(&o.ACMEEmail, "acme-email", "", "get certificates by ACME in the name of `EMAIL`, which is to agree to the CA's terms")
	fs.StringVar(&o.ACMECA, "acme-ca", "", "`URL` of the CA's directory; default: Let's Encrypt")
	fs.StringVar(&o.ACMERootFile, "acme-ca-root", "", "verify the CA's own certificate against `FILE`")
	fs.StringVar(&o.ACMEDNSProgram, "acme-dns-exec", "", "`PROGRAM` that sets DNS records: one certificate for all names below a domain")
	fs.StringVar(&o.State, "state", cli.StateDir(), "keep certificates in the folder `DIR`")
	fs.StringVar(&o.ClientCAFile, "client-ca", "", "an origin server must show a certificate signed by the CA in `FILE`")
	fs.Group("Origins and tokens")
	fs.StringVar(&o.Tokens.File, "token-file", "certs/token", "`FILE` with the tokens of origin servers")
	fs.BoolVar(&o.NoAuth, "no-auth", false, "take any origin server; only with a control port on a loopback address")
	fs.StringSliceVar(&o.Domains, "domain", nil, "origins are reached as ORIGIN.`NAME`; may be repeated")
	fs.StringVar(&o.PublicURL, "public-url", "", "what visitors call the front port, if it is behind something else: a `URL` such as https://example.org")
	fs.Group("Time and size")
	fs.DurationVar(&o.Hold, "hold", 10*time.Second, "how long a request waits for an origin that was connected in the last minute, or may come in as long after p's start")
	fs.DurationVar(&o.ResponseTimeout, "response-timeout", 60*time.Second, "from the request's end to the response's headers; 0: no limit")
	fs.DurationVar(&o.Stall, "stall", 60*time.Second, "how long a visitor may read nothing of a response before it is broken off; 0: no limit")
	fs.IntVar(&o.MaxHeaderBytes, "max-header-bytes", 65536, "largest head of a request, and of an origin's answer, in bytes (`N`), at most 1048576")
	fs.Group("Visitors")
	fs.StringSliceVar(&o.TrustedProxies, "trusted-proxy", nil, "believe the X-Forwarded-* and Forwarded of peers in the network `CIDR`; may be repeated")
	fs.StringSliceVar(&o.ProxyProtocol, "proxy-protocol", nil, "load balancers in the network `CIDR` tell whose a connection to the front port is, by a PROXY header; may be repeated")
	fs.StringVar(&o.Htpasswd, "htpasswd", "", "ask visitors for a name and password of `FILE` (bcrypt)")
	fs.StringVar(&o.AccessLog, "access-log", "", "one line a request to `FILE`; - is standard output")
	fs.Var(&o.AccessFormat, "access-log-format", "its lines as `combined|json` (default: json with --log-format json, else combined)")
	o.cluster.flags(fs)
	fs.Group("Running")
	fs.StringSliceVar(&o.AdminHosts, "admin-host", nil, "a further `NAME` that the admin port answers to; may be repeated")
	fs.StringVar(&o.AdminToken, "admin-token-file", "", "the admin port asks for the token in `FILE`, and allows changes with it")
	fs.IntVar(&o.MetricsOrigins, "metrics-origins", 1000, "how many origins (`N`) have metrics of their own")
	fs.BoolVar(&o.PProf, "pprof", false, "Go's profiles on the admin port")
	fs.DurationVar(&o.KeepAlive, "keepalive", 15*time.Second, "a PING after this much silence; silent for that long again, an origin is dead; 0: never")
	fs.DurationVar(&o.Drain, "drain", 30*time.Second, "how long open requests may finish when p stops")
	fs.StringVar(&o.pidFile, "pid-file", "", "keep the process's id in `FILE`, at a hand-over the new one's")
	fs.BoolVarP(&o.debug, "spdy-debug", "s", false, "print one line a SPDY frame on standard error")
}

// config returns what P is told.
func (o *options) config(p *cli.Process) proxy.Config {
	cfg := o.Config
	if cfg.ACMEEmail != "" && !p.Flags.Changed("cert") && !p.Flags.Changed("key") {
		cfg.CertFiles, cfg.KeyFiles = nil, nil // those of make
	}
	cfg.Tokens.Value = p.Token()
	cfg.Version = cli.Version()
	cfg.Logger, cfg.LogDropped = p.Log, p.LogDropped
	cfg.Stdout = p.Stdout
	// Who reads the log as JSON reads the access log so too, unless told otherwise.
	cfg.AccessFormat = cfg.AccessFormat.Or(p.Flags.Lookup("log-format").Value.String() == "json")
	begun := false
	cfg.Policies = func() ([]policy.Table, error) {
		if !begun {
			begun = true
			return o.tables.Origin, nil
		}
		var again policy.Tables
		err := p.ReadTables(&again)
		return again.Origin, err
	}
	if o.debug {
		cfg.Trace = p.Trace
	}
	return cfg
}

func (o *options) run(ctx context.Context, p *cli.Process) error {
	cfg := o.config(p)
	var px *proxy.Proxy
	life, err := upgrade.Begin(upgrade.Options{
		PIDFile: o.pidFile, Ports: proxy.Ports, Works: func(ctx context.Context) error { return px.Answers(ctx) }, Log: p.Log,
	})
	if err != nil {
		return cli.Usage(err)
	}
	defer life.End()
	o.cluster.warnReadable(p)
	b, clustered, err := o.cluster.open(cfg.Control, p.Log)
	if err != nil {
		return err
	}
	if b != nil {
		defer b.Close()
	}
	cfg.Cluster = clustered
	cfg.Inherited, cfg.Kept, cfg.Started = life.Listener, life.Kept, life.Started
	px, err = proxy.New(cfg)
	if err == nil {
		err = px.Listen()
	}
	if err != nil {
		if _, ok := errors.AsType[*proxy.ConfigError](err); ok {
			return cli.Usage(err)
		}
		return err
	}
	p.OnReload(func() { life.Reload(px.Reload) })
	p.OnHandOver(func() {
		life.HandOver(ctx, func() error {
			return px.HandOver(ctx, func(ports map[string]net.Listener) (proxy.Successor, error) {
				return life.Start(ctx, upgrade.Handover{Ports: ports})
			})
		})
	})
	return px.Run(ctx, p.Now)
}
