package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/invitation"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/tokenfile"
)

// invite is the command that makes all that a second machine needs one word.
func (o *options) invite() *cli.Command {
	var i inviting
	return &cli.Command{
		Name: "invite", Args: "NAME",
		About: "Prints an invitation, with which c serves under a name. It says where this proxy is, what its certificate is verified by, and a new token, " +
			"which is added to --token-file for NAME alone: @ is the default origin, * any name. Whoever has it can serve under that name: it is a secret, until p token remove NAME takes it back. " +
			"It has to be used for the first time within --expires, by this machine's clock; what has joined by then stays.",
		Examples: []cli.Example{
			{Line: "p invite photos --address example.org:1444", About: "what c --join takes on the other machine, and keeps there"},
		},
		Flags: func(fs *cli.Flags) {
			fs.StringVar(&i.address, "address", "", "control port `ADDR` as the other machine reaches it (default: that of --control, or of --front if only that is reached and has -t; the domain where it names no host)")
			fs.StringVar(&i.serverName, "server-name", "", "`NAME` in this proxy's certificate, if it is not the host of --address")
			fs.StringVar(&i.ca, "ca", "", "certificate `FILE` of the CA that this proxy's certificate is of, or \"system\" (default: found)")
			fs.StringVar(&i.comment, "comment", "", "`TEXT` to stand behind the token in the file, for people")
			fs.DurationVar(&i.expires, "expires", defaultExpires, "`DURATION` in which it must be used for the first time; 0: no limit, as for one of several p (--cluster)")
			fs.BoolVar(&i.also, "also", false, "though another token is for that name: all of them share its requests")
		},
		Run: func(_ context.Context, p *cli.Process) error {
			if o.cluster.Peer != "" && p.Source("expires") == cli.Default {
				i.expires = 0 // only the nodes that c comes to see that it is used
			}
			return o.runInvite(p, i)
		},
	}
}

// defaultExpires is what a letter and a weekend take.
const defaultExpires = 7 * 24 * time.Hour

// inviting are the values of invite's flags.
type inviting struct {
	address, serverName, ca, comment string
	expires                          time.Duration
	also                             bool
}

func (o *options) runInvite(p *cli.Process, i inviting) error {
	if len(p.Args) != 1 {
		return cli.Usagef("invite: give one name, @ for the default origin, * for any")
	}
	name := p.Args[0]
	switch {
	case o.NoAuth:
		return cli.Usagef("invite: --no-auth takes anybody, and asks for no token: leave it out")
	case p.Token() != "":
		return cli.Usagef("invite: SPDY_PROXY_TOKEN stands for the token file, so that p would not know a new token: unset it, or give --token-file")
	}
	if i.expires < 0 {
		return cli.Usagef("invite: --expires %v: give a time such as 24h, or 0 for no limit", i.expires)
	}
	domains, err := originname.ParseDomains(o.Domains)
	if err != nil {
		return cli.Usagef("--domain %w", err)
	}
	address, err := o.address(p, i.address, domains)
	if err != nil {
		return cli.Usage(err)
	}
	host, _, _ := net.SplitHostPort(address)
	if i.serverName != "" {
		if i.serverName, err = hostName(i.serverName); err != nil {
			return cli.Usagef("--server-name: %w; give the name or address that p's certificate bears", err)
		}
		host = i.serverName
	}
	in := &invitation.Invitation{Address: address, ServerName: i.serverName, Token: tokenfile.New()}
	if name != "@" && !strings.HasPrefix(name, "*") { // else c says which
		in.Name = name
	}
	if in.CA, err = o.authority(p, host, i.ca); err != nil {
		return cli.Usage(err)
	}
	now := time.Now()
	comment := strings.TrimSpace("invited on " + now.Format(time.DateOnly) + " " + i.comment)
	var joinBy time.Time
	if i.expires > 0 {
		joinBy = now.Add(i.expires).Truncate(time.Second)
	}
	var over []string // the invitations for the name that have expired
	if err := tokenfile.Edit(o.Tokens.File, func(f *tokenfile.File) error {
		mine := func(n string) bool { return sameName(domains, n, name) }
		for _, e := range f.Entries() {
			switch {
			case !slices.ContainsFunc(e.Names, mine):
			case !e.JoinBy.IsZero() && e.JoinBy.Before(now):
				// It stays: p may have seen it used, and could not write that down.
				over = append(over, e.Fingerprint)
			case !i.also:
				return fmt.Errorf("token %s is for the name %q already: take it back with p token remove, choose another name, or give --also, and all share its requests", e.Fingerprint, name)
			}
		}
		return f.Add(in.Token, []string{name}, joinBy, comment)
	}); err != nil {
		return cli.Usage(err)
	}
	if _, err := fmt.Fprintln(p.Stdout, in.Code()); err != nil {
		return err
	}
	what := "the certificate is verified by the system's CAs"
	if len(in.CA) > 0 {
		what = "the CA's certificate is in it"
	}
	if !joinBy.IsZero() {
		what += ", it must be used by " + joinBy.Format("2006-01-02 15:04")
	}
	o.tellRunning(p, fmt.Sprintf("on the other machine, run: c --join and the above; it leads to %s, %s; token %s was added to %s", address, what, tokenfile.Fingerprint(in.Token), o.Tokens.File), takesAdded)
	if below, many := strings.CutPrefix(name, "*."); many {
		fmt.Fprintf(p.Stderr, "p: it is for any host below %s: say with c --name which\n", below)
	}
	for _, token := range over {
		fmt.Fprintf(p.Stderr, "p: token %s stays in the file, an invitation for the name %q that has expired: if nobody serves by it, p token remove %[1]s takes it away\n", token, name)
	}
	if o.ClientCAFile != "" {
		fmt.Fprintln(p.Stderr, "p: with --client-ca it needs a certificate, too: c --client-cert and --client-key")
	}
	if loopback(address) {
		fmt.Fprintln(p.Stderr, "p: this address is only reached from this machine: give --address for another one")
	}
	return nil
}

// sameName reports whether two names, as they are written in a token file, are of one
// origin.
func sameName(domains originname.Domains, a, b string) bool {
	canonical := func(s string) string {
		if name, err := originname.Parse(s); err == nil {
			return string(domains.Canonical(name))
		}
		return strings.ToLower(s) // "*", or what control refuses
	}
	return canonical(a) == canonical(b)
}

// authority returns what c is to verify the certificate by that p shows for host: one
// of --cert, or one that it gets by itself, which may not be there yet.
func (o *options) authority(p *cli.Process, host, ca string) (found [][]byte, err error) {
	cfg := o.config(p)
	for _, file := range cfg.CertFiles {
		found, wrong := invitation.Authority(file, host, ca)
		if wrong == nil {
			return found, nil
		}
		err = cmp.Or(err, wrong)
	}
	if cfg.ACMEEmail != "" {
		if ca == "" && cfg.ACMERootFile != "" {
			return nil, errors.New("--acme-ca-root says that the CA is none of the system's: name with --ca what its certificates are verified by")
		}
		return invitation.Given(ca)
	}
	return nil, err
}

// loopback reports whether a port is reached from this machine alone.
func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// address returns where another machine reaches the control port, or the front port in
// its place: what is given, or what the flags say, with the first domain's name where
// they name no host. The certificate has to bear that name.
func (o *options) address(p *cli.Process, given string, domains originname.Domains) (string, error) {
	addr, flag := given, "--address"
	if public := p.Flags.Lookup("public-control"); addr == "" && public != nil {
		addr, flag = public.Value.String(), "--public-control"
	}
	switch {
	case addr != "":
	case o.TLS && loopback(o.Control) && !loopback(o.Front):
		addr, flag = o.Front, "--front" // which takes Cs, too
	default:
		addr, flag = o.Control, "--control"
	}
	host, port, err := net.SplitHostPort(addr)
	number, wrong := net.LookupPort("tcp", port)
	if err != nil || wrong != nil || number == 0 {
		return "", fmt.Errorf("%s %q: give the control port's HOST:PORT as the other machine reaches it with --address", flag, addr)
	}
	port = strconv.Itoa(number) // the other machine may know no names of ports
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		if host, err = hostName(host); err != nil {
			return "", fmt.Errorf("%s %q: %w; give HOST:PORT as the other machine reaches it with --address", flag, addr, err)
		}
		return net.JoinHostPort(host, port), nil
	}
	if len(domains) == 0 {
		return "", fmt.Errorf("%s %q names no host: give HOST:PORT as the other machine reaches it with --address", flag, addr)
	}
	return net.JoinHostPort(domains[0], port), nil
}

// hostName returns a host as another machine is told of it: an address, or a name as it
// is and not as it was typed.
func hostName(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, nil
	}
	s = strings.TrimSuffix(s, ".")
	name, err := originname.ParseNamed(s)
	if err == nil {
		return string(name), nil
	}
	// Containers are found by names with "_", as no origin is.
	if _, wrong := originname.ParseNamed(strings.ReplaceAll(s, "_", "x")); wrong == nil {
		return strings.ToLower(s), nil
	}
	return "", err
}
