package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/invitation"
	"github.com/amahi/spdy-proxy/internal/originserver"
)

const (
	maxInvitation = 64 << 10         // bytes that are read of one
	joinTimeout   = 20 * time.Second // for asking P whether an invitation is good
)

// invited has cfg say what an invitation does, where flags, environment and
// configuration file say nothing. A --proxy is another P, which is not to see the
// token of the one that invites.
func (o *options) invited(p *cli.Process, cfg *originserver.Config) error {
	if from := p.Source("join"); o.join == "" && !o.kept && (from == cli.Flag || from == cli.File) {
		return cli.Usagef("--join is empty: give the invitation, as p invite prints it, @FILE or -, or leave it out where one is kept")
	}
	if p.Source("proxy") != cli.Default {
		if o.join != "" {
			return cli.Usagef("--join and --proxy exclude each other: an invitation says which proxy it is of")
		}
		if in, _ := o.invitation(p); in != nil {
			p.Log.Info("the invitation is left aside: --proxy is given", "file", o.from)
			o.from = ""
		}
		return nil
	}
	in, err := o.invitation(p)
	if in == nil || err != nil {
		return cli.Usage(err)
	}
	if err := o.mayKeep(p, in); err != nil {
		return err
	}
	cfg.Proxies = []string{in.Address}
	if p.Source("ca") == cli.Default {
		cfg.TLS.CA, cfg.TLS.CAFile = in.CA, invitation.System
	}
	if p.Source("server-name") == cli.Default {
		cfg.TLS.ServerName = in.ServerName
	}
	if cfg.Tokens.Value == "" && p.Source("token-file") == cli.Default {
		cfg.Tokens.Value = in.Token
	}
	if len(o.origins) == 0 && p.Source("name") == cli.Default {
		cfg.Origins[0].Name = in.Name
	}
	return nil
}

// invitation returns the one that --join gives, or else the credential that systemd
// does, or the one that is kept; nil if there is none.
func (o *options) invitation(p *cli.Process) (*invitation.Invitation, error) {
	if o.join == "" {
		o.from = p.Credential("invitation")
		in, err := invitation.Credential(o.from)
		if in == nil && err == nil {
			o.from = invitation.File(o.state)
			in, err = invitation.Load(o.state)
		}
		if in == nil {
			o.from = ""
		}
		return in, err
	}
	code := o.join
	switch file, isFile := strings.CutPrefix(code, "@"); {
	case isFile:
		o.given = file
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--join %s: the file cannot be read: %w", code, errors.Unwrap(err))
		}
		defer f.Close()
		// All of it: a mail may have broken the one line into several.
		whole, err := io.ReadAll(io.LimitReader(f, maxInvitation+1))
		if err != nil {
			return nil, fmt.Errorf("--join %s: the file cannot be read: %w", o.join, errors.Unwrap(err))
		}
		code = string(whole)
	case code == "-":
		if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprint(p.Stdout, "Paste the invitation, and press Enter: ")
		}
		line, err := firstLine(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("--join -: %w", err)
		}
		code = line
	}
	in, err := parse(code)
	if err != nil {
		return nil, fmt.Errorf("--join: %w", err)
	}
	o.join = in.Code() // what was read is not there a second time
	return in, nil
}

// parse reads an invitation: all of the text, or the first line, where more follows it.
func parse(text string) (*invitation.Invitation, error) {
	in, err := invitation.Parse(text)
	if err == nil {
		return in, nil
	}
	if line, bad := firstLine(strings.NewReader(text)); bad == nil {
		if first, bad := invitation.Parse(line); bad == nil {
			return first, nil
		}
	}
	return nil, err
}

// warnReadable warns of the files that an invitation is in, if others may read them.
func (o *options) warnReadable(p *cli.Process) {
	file := cmp.Or(o.given, o.from)
	if filepath.Dir(file) == os.Getenv("CREDENTIALS_DIRECTORY") {
		file = "" // systemd's, whose list of who may read it looks like a group's right
	}
	control.WarnReadable(p.Log, "invitation", file)
	if o.given == "" && p.Source("join") == cli.File {
		control.WarnReadable(p.Log, "configuration file, which has an invitation,", p.ConfigFile())
	}
}

// firstLine returns the first line that has something in it, without its end: who pastes
// it does not end the input.
func firstLine(r io.Reader) (string, error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxInvitation+1))
	lines.Buffer(nil, maxInvitation)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			return line, nil
		}
	}
	return "", lines.Err()
}

// mayKeep refuses an invitation of a flag --join that would replace the one of another
// name: the c that serves by that would come back with this one's name at its next start.
func (o *options) mayKeep(p *cli.Process, in *invitation.Invitation) error {
	if o.join == "" || p.Source("join") != cli.Flag {
		return nil // nothing is kept
	}
	if kept, err := invitation.Load(o.state); err == nil && kept != nil && kept.Name != in.Name {
		return cli.Usagef("--join: an invitation for the name %q is kept in %s: give the one for %q a folder of its own with --state, or remove that file",
			cmp.Or(kept.Name, "@"), invitation.File(o.state), cmp.Or(in.Name, "@"))
	}
	return nil
}

// keepInvitation keeps the invitation of a flag --join, so that c alone will do from
// now on, unless P says that it is not good. What the environment or a file says is
// there at the next start, too.
func (o *options) keepInvitation(ctx context.Context, p *cli.Process, cfg originserver.Config) error {
	if o.join == "" || p.Source("join") != cli.Flag {
		return nil
	}
	in, err := invitation.Parse(o.join)
	if err != nil {
		return cli.Usage(err)
	}
	if kept, err := invitation.Load(o.state); err == nil && kept != nil && kept.Code() == in.Code() {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	faults := originserver.CheckProxies(asking, cfg, func(string) {})
	for _, err := range faults {
		if originserver.Refused(err) {
			return cli.Usagef("--join: %s: %w", whyRefused(err), err)
		}
	}
	if err := in.Save(o.state); err != nil {
		return cli.Usage(err)
	}
	for _, err := range faults {
		p.Log.Warn("nobody could say yet whether the invitation is good", "err", err)
	}
	p.Log.Info("the invitation is kept, from now on c without --join will do", "state", o.state, "proxy", in.Address)
	return nil
}

// whyRefused says what is wrong with an invitation that P, or its certificate, has
// refused. P itself says of one that has expired.
func whyRefused(err error) string {
	r, answered := errors.AsType[*control.RefusedError](err)
	switch {
	case !answered:
		return "the invitation is of another proxy than the one that answers there, or that has a certificate of another CA by now"
	case r.Status == http.StatusForbidden:
		return "the invitation is not for this name"
	case r.Expired:
		return "the invitation is not good any more"
	}
	return "the proxy does not know the invitation: it was taken back, or is of another proxy"
}

// remarks say what an invitation has in effect, for c config.
func (o *options) remarks(p *cli.Process) []string {
	if o.join == "-" || p.Source("proxy") != cli.Default {
		return nil
	}
	in, err := o.invitation(p)
	if in == nil || err != nil {
		return nil
	}
	verified := "the system's CAs"
	if len(in.CA) > 0 {
		verified = "a CA of its own"
	}
	return []string{
		"an invitation is in effect in place of defaults below: proxy " + in.Address + ", verified by " + verified + ", with a token for the name " +
			cmp.Or(in.Name, "@"),
	}
}
