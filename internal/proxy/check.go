package proxy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/certs"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/policy"
)

// Check reads every file that cfg names, as New does, and returns what it found, and
// all that is wrong, in a line each. Nothing is listened on, opened for writing or
// changed.
func Check(cfg Config) (found []string, faults []error) {
	fault := func(err error) bool {
		if err != nil {
			faults = append(faults, err)
		}
		return err == nil
	}
	say := func(format string, a ...any) { found = append(found, fmt.Sprintf(format, a...)) }

	cfg, err := cfg.withDefaults()
	if several, ok := errors.AsType[ConfigErrors](err); ok {
		faults = append(faults, several...)
	} else if fault(err) {
		say("ports: front %s, control %s, admin %s", cfg.Front, cfg.Control, orNone(cfg.Admin))
		cfg.warnAdmin(cfg.Admin)
	}
	_, err = prefixes("trusted-proxy", cfg.TrustedProxies)
	fault(err)
	_, err = prefixes("proxy-protocol", cfg.ProxyProtocol)
	fault(err)
	until := func(cert certs.Certificate) {
		text := fmt.Sprintf("certificate %s: for %s, until %s", cert.File, strings.Join(cert.Names, ", "), cert.NotAfter.UTC().Format(time.DateOnly))
		if time.Now().After(cert.NotAfter) {
			fault(errors.New(text + ", which is over: renew it"))
		} else {
			say("%s", text)
		}
	}
	for _, pair := range pairs(cfg.CertFiles, cfg.KeyFiles) {
		source, err := certs.New(certs.Config{Pairs: []certs.Pair{pair}})
		if err != nil && cfg.ACMEEmail != "" {
			err = certs.BesideACME(err)
		}
		if fault(err) {
			until(source.Snapshot()[0])
		}
	}
	domains, err := originname.ParseDomains(cfg.Domains)
	if err != nil {
		fault(configErrorf("--domain %w", err))
	}
	if cfg.ACMEEmail != "" && fault(cfg.acme(domains).Check()) {
		say("certificates by ACME, kept in %s", cfg.State)
	}
	if cfg.AdminToken != "" {
		if _, err := admin.LoadToken(cfg.AdminToken); fault(err) {
			say("admin token in %s", cfg.AdminToken)
		}
	}
	_, err = control.ServerTLS{ClientCAFile: cfg.ClientCAFile}.Load()
	fault(err)
	if !cfg.NoAuth {
		tokens, err := cfg.Tokens.Load()
		switch {
		case !fault(err):
		case cfg.Tokens.Value != "":
			say("tokens from the environment: %v", tokens)
		default:
			say("token file %s: %v", cfg.Tokens.File, tokens)
		}
	}
	if cfg.Htpasswd != "" {
		if _, err := front.LoadHtpasswd(cfg.Htpasswd); fault(err) {
			say("htpasswd file %s", cfg.Htpasswd)
		}
	}
	if cfg.Policies != nil {
		list, err := cfg.Policies()
		if err == nil {
			err = policy.New(front.NewChecks(), domains).Set(list)
		}
		fault(err)
		cfg.Policies = func() ([]policy.Table, error) { return list, nil } // the file is read once
	}
	if cfg.AccessLog != "" && cfg.AccessLog != "-" && fault(accesslog.Check(cfg.AccessLog)) {
		say("access log %s", cfg.AccessLog)
	}
	if c := cfg.Cluster; c != nil {
		say("node %s of a cluster: peer port %s, reached at %s; origins are told %s", c.ID, c.Peer, c.PeerAdvertise, orNone(c.PublicControl))
		if id, err := c.files().Load(); fault(err) {
			for _, cert := range c.certificates(id) {
				until(cert)
			}
		}
	}
	if len(faults) == 0 {
		// New has the last word. It would open the access log, and write to the folder
		// of certificates.
		cfg.AccessLog, cfg.looks = "", true
		_, err := New(cfg)
		fault(err)
	}
	return found, faults
}

func orNone(addr string) string {
	if addr == "" {
		return "none"
	}
	return addr
}
