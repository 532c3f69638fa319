package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/policy"
)

// alpnSpoken is what the front port can speak over TLS.
var alpnSpoken = []string{"h2", "http/1.1", "spdy/3.1", "spdy/3"}

// maxHeaderBytes bounds --max-header-bytes: what C takes of its P.
const maxHeaderBytes = 1 << 20

// Config is what P can be told; the fields are p's flags. Front, Control,
// CertFiles, KeyFiles, and a source of tokens or NoAuth, are needed.
type Config struct {
	Front   string // HOST:PORT for visitors
	Control string // HOST:PORT for Cs
	Admin   string // HOST:PORT for the operator; "": none
	HTTP    string // HOST:PORT beside TLS, for who comes without: it is sent to the front port; "": none

	TLS  bool          // on the front port
	ALPN []string      // what it then speaks, the favourite first; nil: h2, http/1.1, spdy/3.1
	HSTS time.Duration // for which browsers are told to come by TLS alone; 0: they are not

	CertFiles, KeyFiles []string // PEM, in pairs; of the control port, and of the front port with TLS
	ACMEEmail           string   // certificates are got from an authority, in this address's name; "": they are not
	ACMECA              string   // URL of its directory; "": Let's Encrypt
	ACMERootFile        string   // PEM; what its own certificate is verified against; "": the system's roots
	ACMEDNSProgram      string   // sets DNS records, for a certificate of all names below a domain; "": none
	State               string   // folder of what is kept; with ACMEEmail
	ClientCAFile        string   // PEM; if set, a C must show a certificate of this CA
	Tokens              control.TokenSource
	NoAuth              bool // take any C; only on a loopback address

	Domains         []string      // origins are NAME.D for each D of them; none: visitors reach the default one, and those named as hosts
	PublicURL       string        // what visitors' addresses have in place of the front port's own, such as https://example.org; "": that
	Hold            time.Duration // how long a request waits for an origin that was there; 0: not
	ResponseTimeout time.Duration // until the response's headers; 0: no limit
	Stall           time.Duration // how long a visitor may read nothing of a response; 0: no limit, nor for a body that it sends
	MaxHeaderBytes  int           // of a request's head, and of an answer's from C; 0: 65536
	TrustedProxies  []string      // CIDRs or addresses
	ProxyProtocol   []string      // CIDRs or addresses of load balancers, which tell by a PROXY header whose a connection to the front port is
	Htpasswd        string        // file with visitors' names and passwords; "": none are asked for
	// Policies reads the tables of what the visitors of each origin may; it is asked at
	// each Reload, too. Nil: there are none.
	Policies       func() ([]policy.Table, error)
	AccessLog      string // file, "-" is Stdout; "": none
	AccessFormat   accesslog.Format
	PProf          bool     // Go's profiles on the admin port
	AdminHosts     []string // further names that the admin port answers to
	AdminToken     string   // file with the token that it asks for; "": none, and nothing can be changed there
	MetricsOrigins int      // how many origins have metrics of their own; 0: inspect.DefaultLabels

	Cluster *ClusterConfig // nil: P is one by itself

	KeepAlive time.Duration // a PING after this much silence; 0: never
	Drain     time.Duration // how long open requests may finish at the end; 0: they may not

	// Inherited returns a port by its name that the process was started with, nil
	// if there is none. Nil: there is none.
	Inherited func(name string) (net.Listener, error)
	// Kept reports whether somebody else listens on that port, too, such as systemd:
	// when P stops, it leaves those who come to them. Nil: nobody does.
	Kept func(name string) bool
	// Started, if set, is called when P takes Cs, and P takes visitors when it has
	// returned. It must return soon after ctx ends.
	Started func(ctx context.Context) error

	Version string       // for the status page
	Logger  *slog.Logger // nil: nothing is logged
	Stdout  io.Writer    // nil: discarded

	// Trace, if set, is called with a line for each SPDY frame, by several
	// goroutines at once. It must not block.
	Trace func(line string)
	// LogDropped returns how many lines of the log, and of Trace, were left out because
	// nobody took them. Nil: none were.
	LogDropped func() (log, trace uint64)

	looks bool // for Check: nothing is written
}

// ConfigError says that P cannot run as it was told to: a bad flag, file or
// address.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns what was wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

func configErrorf(format string, a ...any) error {
	return &ConfigError{fmt.Errorf(format, a...)}
}

// ConfigErrors are several, each a *ConfigError. Its own text is the first's.
type ConfigErrors []error

func (e ConfigErrors) Error() string { return e[0].Error() }

// Unwrap returns them all.
func (e ConfigErrors) Unwrap() []error { return e }

// withDefaults checks c and returns it with every default filled in. Its error is
// [ConfigErrors].
func (c Config) withDefaults() (Config, error) {
	c.fillIn()
	if faults := c.faults(); len(faults) > 0 {
		return c, faults
	}
	return c, nil
}

// fillIn fills in the defaults.
func (c *Config) fillIn() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Inherited == nil {
		c.Inherited = func(string) (net.Listener, error) { return nil, nil }
	}
	if c.Kept == nil {
		c.Kept = func(string) bool { return false }
	}
	if c.Started == nil {
		c.Started = func(context.Context) error { return nil }
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 64 << 10
	}
	if c.ALPN == nil {
		c.ALPN = []string{"h2", "http/1.1", "spdy/3.1"}
	}
}

// faults returns what is wrong with what c says by itself.
func (c *Config) faults() (faults ConfigErrors) {
	fault := func(format string, a ...any) { faults = append(faults, configErrorf(format, a...)) }
	for _, a := range []struct{ flag, addr string }{{"front", c.Front}, {"control", c.Control}, {"admin", c.Admin}, {"http", c.HTTP}} {
		if (a.flag == "admin" || a.flag == "http") && a.addr == "" {
			continue
		}
		if err := checkAddr(a.addr); err != nil {
			fault("--%s %q: %w; give HOST:PORT, such as localhost:1443", a.flag, a.addr, err)
		}
	}
	for _, d := range []struct {
		flag string
		d    time.Duration
	}{{"hold", c.Hold}, {"response-timeout", c.ResponseTimeout}, {"stall", c.Stall}, {"keepalive", c.KeepAlive}, {"drain", c.Drain}, {"hsts", c.HSTS}} {
		if d.d < 0 {
			fault("--%s %v: give a time such as 10s, or 0", d.flag, d.d)
		}
	}
	if c.MaxHeaderBytes < 1024 || c.MaxHeaderBytes > maxHeaderBytes {
		fault("--max-header-bytes %d: give a number from 1024 to %d", c.MaxHeaderBytes, maxHeaderBytes)
	}
	if !c.TLS && (c.HTTP != "" || c.HSTS != 0) {
		fault("--http and --hsts are for a front port with TLS: give -t too")
	}
	if c.ACMEEmail != "" && !c.TLS && c.HTTP == "" && c.ACMEDNSProgram == "" {
		fault("--acme-email needs a way to answer the CA: -t, --http or --acme-dns-exec")
	}
	if n, k := len(c.CertFiles), len(c.KeyFiles); n != k {
		fault("--cert is there %d times and --key %d times: give both for each certificate, in the same order", n, k)
	}
	if c.MetricsOrigins < 0 || c.MetricsOrigins > maxMetricsOrigins {
		fault("--metrics-origins %d: give a number from 1 to %d, or 0 for %d", c.MetricsOrigins, maxMetricsOrigins, inspect.DefaultLabels)
	}
	if err := checkHosts(c.AdminHosts); err != nil {
		fault("%w", err)
	}
	if err := checkALPN(c.ALPN); err != nil {
		fault("%w", err)
	}
	if _, err := parsePublic(c.PublicURL); err != nil {
		fault("%w", err)
	}
	if c.NoAuth && !loopbackHost(c.Control) {
		fault("--no-auth lets anybody serve your visitors, and --control %s is not a loopback address: listen on localhost, or use tokens", c.Control)
	}
	return faults
}

// maxMetricsOrigins is how many origins may have metrics of their own: as many as there
// can be.
const maxMetricsOrigins = 10_000

// checkHosts finds what is no name in --admin-host.
func checkHosts(names []string) error {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, ":/ *") {
			return fmt.Errorf("--admin-host %q: give a name as it stands in the address, without a port, such as admin.example.org", name)
		}
	}
	return nil
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		if ae, ok := errors.AsType[*net.AddrError](err); ok {
			return errors.New(ae.Err)
		}
		return err
	}
	if port == "" {
		return errors.New("there is no port in it")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// checkReached is checkAddr for what is told to others: they have to find somebody there.
func checkReached(addr string) error {
	if err := checkAddr(addr); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	if n, _ := net.LookupPort("tcp", port); n == 0 {
		return fmt.Errorf("nobody is reached at port %s", port)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return errors.New("it names no host")
	}
	return nil
}

func checkALPN(list []string) error {
	if len(list) == 0 {
		return errors.New("--alpn: the list is empty; give some of " + strings.Join(alpnSpoken, ","))
	}
	for i, p := range list {
		if !slices.Contains(alpnSpoken, p) {
			return fmt.Errorf("--alpn: %q is not spoken here; give some of %s", p, strings.Join(alpnSpoken, ","))
		}
		if slices.Contains(list[:i], p) {
			return fmt.Errorf("--alpn: %q is there twice", p)
		}
	}
	return nil
}

// loopbackHost reports whether addr can only mean this machine. A name other
// than localhost is what somebody's resolver makes of it.
func loopbackHost(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// warnAdmin warns of an admin port at addr that shows other machines what passes, and
// asks them for nothing. A name is what a resolver makes of it, and a socket of the file
// system has a mode.
func (c Config) warnAdmin(addr string) {
	host, _, err := net.SplitHostPort(addr)
	ip, none := netip.ParseAddr(host)
	if err != nil || c.AdminToken != "" || host != "" && (none != nil || ip.Unmap().IsLoopback()) {
		return
	}
	c.Logger.Warn("the admin port is reached by other machines, and asks for nothing: give --admin-token-file, or listen on localhost", "admin", addr)
}

// prefixes reads the values of a flag: networks, or single addresses.
func prefixes(flag string, list []string) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	for _, s := range list {
		p, err := addrkey.ParseNetwork(s)
		if err != nil {
			return nil, configErrorf("--%s %w", flag, err)
		}
		ps = append(ps, p)
	}
	return ps, nil
}
