package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/cluster/bus"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// clusterOptions are the values of the flags of a p that is one of several.
type clusterOptions struct {
	addr, url string
	join      []string
	proxy.ClusterConfig
}

func (o *clusterOptions) flags(fs *cli.Flags) {
	fs.Group("Several p as one")
	fs.StringVar(&o.addr, "cluster", "", "be one of several p: bus port `ADDR`, for the other nodes alone")
	fs.StringSliceVar(&o.join, "cluster-join", nil, "bus port `HOST:PORT` of another node, or dns:NAME:PORT for each address of NAME; may be repeated")
	fs.StringVar(&o.url, "cluster-url", "", "`URL` of a NATS server in place of --cluster and --cluster-join: nats:// or tls://")
	fs.Secret("cluster-url") // there may be a password in it
	fs.StringVar(&o.Peer, "peer", "", "peer port `ADDR`: requests from other nodes, always TLS")
	fs.StringVar(&o.PeerAdvertise, "peer-advertise", "", "`ADDR` under which other nodes reach the peer port (default: --peer)")
	fs.StringVar(&o.CAFile, "cluster-ca", "", "the nodes' own CA certificate `FILE`: who has one of its certificates is a node")
	fs.StringVar(&o.CertFile, "cluster-cert", "", "this node's certificate `FILE`; its first DNS name is the node's id")
	fs.StringVar(&o.KeyFile, "cluster-key", "", "`FILE` with its private key")
	fs.StringVar(&o.Site, "site", "", "`NAME` of the place where this node is; an origin server prefers nodes of one place")
	fs.StringVar(&o.PublicControl, "public-control", "", "control port `ADDR` that origin servers are told of this node (default: --control)")
}

// warnReadable warns of a configuration file with a password in --cluster-url, if others
// may read it.
func (o *clusterOptions) warnReadable(p *cli.Process) {
	if p.Source("cluster-url") == cli.File && strings.Contains(o.url, "@") {
		control.WarnReadable(p.Log, "configuration file, which has a password in cluster-url,", p.ConfigFile())
	}
}

// config returns what the flags say of the bus, and what the proxy is told but for the
// bus itself. Both are nil if the flags name no cluster. It reads the node's files;
// control is the control port.
func (o *clusterOptions) config(control string) (*bus.Config, *proxy.ClusterConfig, error) {
	if o.addr == "" && o.url == "" {
		for _, f := range []struct {
			name  string
			given bool
		}{
			{"cluster-join", len(o.join) > 0}, {"peer", o.Peer != ""}, {"peer-advertise", o.PeerAdvertise != ""}, {"cluster-ca", o.CAFile != ""},
			{"cluster-cert", o.CertFile != ""}, {"cluster-key", o.KeyFile != ""}, {"site", o.Site != ""}, {"public-control", o.PublicControl != ""},
		} {
			if f.given {
				return nil, nil, fmt.Errorf("--%s is for one of several p: give --cluster ADDR, or --cluster-url, as well", f.name)
			}
		}
		return nil, nil, nil
	}
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	cfg := o.ClusterConfig
	if cfg.PeerAdvertise == "" {
		if _, _, err := net.SplitHostPort(cfg.Peer); err == nil && !named(cfg.Peer) {
			return nil, nil, fmt.Errorf("--peer %s does not say under which address other nodes reach this one: give --peer-advertise HOST:PORT", cfg.Peer)
		}
		cfg.PeerAdvertise = cfg.Peer
	}
	if cfg.PublicControl == "" && named(control) {
		cfg.PublicControl = control
	}
	if err := cfg.CheckAddrs(); err != nil {
		return nil, nil, err
	}
	b := &bus.Config{Addr: o.addr, Join: o.join, URL: o.url, CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}
	var err error
	if o.url == "" {
		// Where each node takes routes on all its addresses, it has one name for both ports.
		addr := o.addr
		if !named(addr) {
			addr = cfg.PeerAdvertise
		}
		b.Advertise, _, _ = net.SplitHostPort(addr)
	}
	cfg.ID, err = b.ID()
	return b, &cfg, err
}

// open joins the cluster that the flags name: it returns the bus, which is to be closed
// when the proxy has ended, and what the proxy is told. Both are nil if they name none.
func (o *clusterOptions) open(control string, log *slog.Logger) (*bus.Bus, *proxy.ClusterConfig, error) {
	c, cfg, err := o.config(control)
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	if c == nil {
		return nil, nil, nil
	}
	if cfg.PublicControl == "" {
		log.Warn("origins are not told of this node, so that only those connect to it that know it: give --public-control HOST:PORT", "control", control)
	}
	c.Logger = log
	b, err := bus.Open(*c)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			err = cli.Usage(err)
		}
		return nil, nil, err
	}
	cfg.Bus, cfg.ReloadBus = b, b.Reload
	return b, cfg, nil
}

// named reports whether addr says where others find it: its host is not all of a
// machine's addresses, nor its port any.
func named(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" || port == "0" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsUnspecified()
}

func isPort(s string) bool {
	_, err := net.LookupPort("tcp", s)
	return s != "" && err == nil
}

func (o *clusterOptions) check() error {
	if o.url != "" {
		if o.addr != "" || len(o.join) > 0 {
			return errors.New("--cluster-url and --cluster or --cluster-join exclude each other: the bus is the NATS server at that URL, or each node has its own")
		}
		// The URL may have a password in it: it is not repeated.
		if u, err := url.Parse(o.url); err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return errors.New("--cluster-url: give nats://HOST:PORT or tls://HOST:PORT; with a name and password better as SPDY_PROXY_CLUSTER_URL in the environment")
		}
	}
	for _, f := range []struct{ name, value, example string }{
		{"peer", o.Peer, "ADDR, such as 10.0.0.1:1447, where other nodes reach this one"},
		{"cluster-ca", o.CAFile, "the certificate of the nodes' own CA"}, {"cluster-cert", o.CertFile, "this node's certificate"}, {"cluster-key", o.KeyFile, "its private key"},
	} {
		if f.value == "" {
			return fmt.Errorf("one of several p needs --%s: %s", f.name, f.example)
		}
	}
	if o.addr != "" {
		if _, port, err := net.SplitHostPort(o.addr); err != nil || !isPort(port) {
			return fmt.Errorf("--cluster %q: give HOST:PORT, such as 10.0.0.1:1446", o.addr)
		}
	}
	for _, join := range o.join {
		if err := bus.CheckJoin(join); err != nil {
			return fmt.Errorf("--cluster-join %q: %w", join, err)
		}
	}
	return nil
}
