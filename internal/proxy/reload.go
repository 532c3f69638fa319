package proxy

import (
	"slices"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// Reload reads certificates, tokens, htpasswd and policies again, opens the access log
// anew, and ends the sessions whose credential is gone. What cannot be read
// stays as it was; there is one line about each file.
func (p *Proxy) Reload() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.warnReadable()
	// The cluster's first: with the others it is said which of all end soon.
	loads := []func() error{p.cluster.reload, p.certs.Reload, p.loadTLS}
	if !p.cfg.NoAuth {
		loads = append(loads, p.reloadTokens)
	}
	if p.users != nil {
		loads = append(loads, p.users.Reload)
	}
	if p.adminAt != nil && p.adminAt.Token != nil {
		loads = append(loads, p.adminAt.Token.Reload)
	}
	ok := true
	for _, load := range append(loads, p.readPolicies, p.access.Reopen) {
		if err := load(); err != nil {
			ok = false
			p.log.Error("reload failed, what was read before stays in use", "err", err)
		}
	}
	p.nameOrigins()
	p.warnLacking()
	p.reloads.note(ok)
	if ok {
		p.log.Info("certificates, tokens and passwords were read again")
	}
}

// reloadTokens reads the tokens again, and ends what those that are gone let in.
func (p *Proxy) reloadTokens() error {
	gone, err := p.setTokens()
	if err != nil {
		return err
	}
	p.endRevoked()
	if p.cfg.Tokens.Value == "" {
		p.settleInvitations()
	}
	p.cluster.revoke(gone)
	p.certs.Changed()
	return nil
}

// readPolicies puts the tables that there are now in force. After an error those before
// hold.
func (p *Proxy) readPolicies() error {
	if p.cfg.Policies == nil {
		return nil
	}
	list, err := p.cfg.Policies()
	if err != nil {
		return err
	}
	if err := p.policy.Set(list); err != nil {
		return err
	}
	p.warnIdle()
	return nil
}

// warnIdle says which tables are of hosts that nobody can serve: who writes one for a
// domain itself may mean the default origin, which it does not hold for.
func (p *Proxy) warnIdle() {
	if p.cfg.NoAuth { // anybody can serve them
		return
	}
	hosts := slices.DeleteFunc(p.policy.Hosts(), p.auth.Names)
	if len(hosts) > 0 {
		p.log.Warn("an [[origin]] table holds for nobody, since no token is for its host: that of the default origin is @", "hosts", someOf(hosts))
	}
}

// warnReadable warns of files with secrets that others may read.
func (p *Proxy) warnReadable() {
	for _, file := range p.cfg.KeyFiles {
		control.WarnReadable(p.log, "private key", file)
	}
	if p.cluster != nil {
		control.WarnReadable(p.log, "private key of the cluster", p.cluster.cfg.KeyFile)
	}
	if !p.cfg.NoAuth && p.cfg.Tokens.Value == "" {
		control.WarnReadable(p.log, "token file", p.cfg.Tokens.File)
	}
	for _, file := range append(p.policy.Files(), p.cfg.Htpasswd) {
		control.WarnReadable(p.log, "htpasswd file", file)
	}
	control.WarnReadable(p.log, "admin token file", p.cfg.AdminToken)
}

// endRevoked ends the sessions whose credential is gone, or may not serve their
// name any more.
func (p *Proxy) endRevoked() {
	p.origins.EndByCredential(func(credential any, name origin.Name) bool {
		id, ok := credential.(control.Credential)
		return !ok || !p.auth.Valid(id, string(name))
	})
}
