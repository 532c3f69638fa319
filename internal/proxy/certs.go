package proxy

import (
	"crypto/tls"
	"strings"

	"github.com/amahi/spdy-proxy/internal/certs"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// newCerts reads the certificates that there are.
func (p *Proxy) newCerts(domains originname.Domains) (err error) {
	cfg := certs.Config{Pairs: pairs(p.cfg.CertFiles, p.cfg.KeyFiles), Logger: p.log, Others: func() []certs.Certificate { return p.cluster.certificates() }}
	if p.cfg.ACMEEmail != "" {
		cfg.ACME = p.cfg.acme(domains)
		cfg.ACME.Names = p.certNames
		cfg.ACME.Valid = func(n certs.Name) bool {
			return p.auth.Valid(n.Credential, string(p.auth.Domains.Canonical(originname.Name(n.Host))))
		}
	}
	p.certs, err = certs.New(cfg)
	return err
}

// acme returns what is said of the authority.
func (c Config) acme(domains originname.Domains) *certs.ACME {
	return &certs.ACME{
		Email: c.ACMEEmail, CA: c.ACMECA, RootFile: c.ACMERootFile, DNSProgram: c.ACMEDNSProgram, State: c.State, ReadOnly: c.looks, Domains: domains,
	}
}

// pairs joins certificates' files and those of their keys.
func pairs(certFiles, keyFiles []string) (list []certs.Pair) {
	for i := range min(len(certFiles), len(keyFiles)) {
		list = append(list, certs.Pair{CertFile: certFiles[i], KeyFile: keyFiles[i]})
	}
	return list
}

// loadTLS makes the control port's configuration.
func (p *Proxy) loadTLS() error {
	conf, err := control.ServerTLS{GetCertificate: p.certs.GetCertificate, ClientCAFile: p.cfg.ClientCAFile}.Load()
	if err == nil {
		p.tls.Store(conf)
	}
	return err
}

// frontTLS is the front port's configuration, of what is for certificates.
func (p *Proxy) frontTLS() *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: p.cfg.ALPN, GetCertificate: p.certs.GetCertificate}
	challenge := func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }
	if p.cfg.ACMEEmail != "" {
		challenge = p.certs.Challenge
	}
	conf.GetConfigForClient = challenge
	if !p.cfg.NoAuth { // whose port may be on any address
		p.takeOrigins(conf, challenge)
	}
	return conf
}

// startCerts has the certificates looked after, and got.
func (p *Proxy) startCerts() {
	var ports certs.Ports
	if p.cfg.TLS {
		ports.TLS = p.FrontAddr()
	}
	if p.httpLn != nil {
		ports.HTTP = p.httpLn.Addr()
	}
	p.certs.Start(ports)
}

// Certificates returns what certificates P has, and those that it should have.
func (p *Proxy) Certificates() []certs.Certificate { return p.certs.Snapshot() }

// certNames returns the hosts beside the domains that are to have a certificate: of
// the names that the token file has, and of those that are connected, here or at another
// node, whose visitors come here as well.
func (p *Proxy) certNames() (names []certs.Name) {
	add := func(id control.Credential, name string) {
		if strings.HasPrefix(name, "*") {
			return // what is below gets one when it is connected
		}
		for _, host := range p.auth.Domains.Hosts(originname.Name(name)) {
			names = append(names, certs.Name{Host: host, Credential: id})
		}
	}
	p.auth.Named(add)
	unwritten := p.auth.Unwritten()
	for _, o := range p.origins.Snapshot() {
		here := false
		for _, s := range o.Sessions {
			if id, ok := s.Credential().(control.Credential); ok {
				add(id, string(o.Name))
				here = true
			}
		}
		if !here && len(o.Sessions) > 0 {
			// A node does not say by which token: it counts for one that could be it.
			if id, ok := unwritten(string(o.Name)); ok {
				add(id, string(o.Name))
			}
		}
	}
	return names
}
