package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// ACME says how certificates are got from an authority. Email, Domains, State, Names
// and Valid are needed.
type ACME struct {
	Email      string   // the account's; to give it is to agree to the authority's terms
	CA         string   // URL of its directory; "": Let's Encrypt
	RootFile   string   // PEM; what its own certificate is verified against; "": the system's roots
	DNSProgram string   // sets and removes DNS records, for a certificate of all names right below a domain; "": none
	Domains    []string // as a Name's Host
	State      string   // folder of what is kept; several Ps may share one
	ReadOnly   bool     // nothing is written there, not even to see whether that can be

	// Names returns the hosts beside Domains that are to have a certificate, and Valid
	// whether the credential of one is still good. Both may be called at any time and
	// must return soon.
	Names func() []Name
	Valid func(Name) bool
}

// Ports are those by which the authority can be answered, as it comes for each name:
// nil where there is none.
type Ports struct {
	TLS  net.Addr // TLS-ALPN-01 (RFC 8737)
	HTTP net.Addr // HTTP-01 (RFC 8555, 8.3)
}

// tidyAfter is how long a certificate that has ended is kept.
const tidyAfter = 30 * 24 * time.Hour

// tornAfter is above the time from one file of a certificate to the next when they are
// stored, by another P perhaps.
const tornAfter = 30 * time.Second

// answerTime is how long the authority may take to make up its mind about a name, and
// again to make the certificate. Most say soon that nobody answered them; some, as
// step-ca, leave that open for good (RFC 8555, 8.2), and the name would hold its place
// among maxTries meanwhile.
const answerTime = 2 * time.Minute

// magic is certmagic as an authority. Of that, it has the protocol, the folder with
// its locks, and the answers to the authority's questions; when what is tried is the
// manager's, which knows whose names they are. So nothing stays in certmagic's cache,
// whose maintenance would renew it.
type magic struct {
	// Fixed by ACME.authority.
	acme    ACME
	storage *certmagic.FileStorage
	log     *zap.Logger
	roots   *x509.CertPool
	byDNS   chan struct{} // holds a value while a name is proved by DNS: a domain and all right below it have one record

	// Fixed by start; nil before.
	cache       *certmagic.Cache
	direct, dns *issuer // dns is nil without a DNSProgram
}

// issuer is one way to be certified.
type issuer struct {
	config *certmagic.Config
	acme   *certmagic.ACMEIssuer
}

// Check refuses what cannot work, in one line. It changes nothing, and asks nobody.
func (a *ACME) Check() error {
	if !strings.Contains(a.Email, "@") || strings.ContainsAny(a.Email, " ,<>") {
		return fmt.Errorf("--acme-email %q is not an address: give one such as admin@example.org", a.Email)
	}
	if len(a.Domains) == 0 {
		return errors.New("--acme-email is for the certificate of a domain: give one with --domain")
	}
	if a.State == "" {
		return errors.New("--acme-email needs a folder for what is kept: name one with --state")
	}
	if a.CA != "" {
		if u, err := url.Parse(a.CA); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("--acme-ca %q is not the directory of a CA: give an address such as %s", a.CA, certmagic.LetsEncryptProductionCA)
		}
	}
	if a.RootFile != "" {
		if _, err := control.Pool(a.RootFile, "--acme-ca-root"); err != nil {
			return err
		}
	}
	if a.DNSProgram != "" {
		if _, err := lookProgram(a.DNSProgram); err != nil {
			return err
		}
	}
	info, err := os.Stat(a.State)
	switch {
	case err == nil && !info.IsDir():
		err = errors.New("it is a file")
	case errors.Is(err, fs.ErrNotExist): // it is made
		err = nil
	}
	if err != nil {
		return stateError(a.State, err)
	}
	return nil
}

// authority makes ready what asks the CA, without doing so.
func (a *ACME) authority(lines *loglimit.Logger) (_ *magic, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	adoptLibraryLog()
	m := &magic{acme: *a, log: zap.New(zapCore{to: lines.Handler()}), byDNS: make(chan struct{}, 1)}
	m.acme.CA = cmp.Or(a.CA, certmagic.LetsEncryptProductionCA)
	if a.RootFile != "" {
		if m.roots, err = control.Pool(a.RootFile, "--acme-ca-root"); err != nil {
			return nil, err
		}
	}
	if !a.ReadOnly {
		if err := prepareState(a.State); err != nil {
			return nil, err
		}
	}
	m.storage = &certmagic.FileStorage{Path: filepath.Join(a.State, "acme")}
	return m, nil
}

// prepareState makes the folder, which others are not to read, and tries to write to
// it.
func prepareState(dir string) error {
	err := os.MkdirAll(filepath.Join(dir, "acme"), 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(filepath.Join(dir, "acme"), ".try-*"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	if err != nil {
		return stateError(dir, err)
	}
	return nil
}

func stateError(dir string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("--state %s, where certificates are kept, cannot be written: %w; make it a folder of this program's user, or name another", dir, err)
}

// start implements authority.
func (m *magic) start(ctx context.Context, ports Ports) {
	// Has a goroutine, which ends at close.
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(cert certmagic.Certificate) (*certmagic.Config, error) { return m.of(cert.Names[0]).config, nil },
		Logger:           m.log,
	})
	host, tlsPort := splitAddr(ports.TLS)
	_, httpPort := splitAddr(ports.HTTP)
	template := certmagic.ACMEIssuer{
		CA: m.acme.CA, TestCA: m.acme.CA, Email: m.acme.Email, Agreed: true, TrustedRoots: m.roots, Logger: m.log, CertObtainTimeout: answerTime,
		// Certmagic listens where nobody else does. These are where P listens.
		ListenHost: host, AltTLSALPNPort: tlsPort, AltHTTPPort: httpPort,
		DisableTLSALPNChallenge: tlsPort == 0, DisableHTTPChallenge: httpPort == 0,
	}
	m.direct = m.newIssuer(template)
	if m.acme.DNSProgram != "" {
		template.DNS01Solver = dnsProgram{ctx, m.acme.DNSProgram, m.log}
		m.dns = m.newIssuer(template)
	}
}

func splitAddr(a net.Addr) (host string, port int) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "", 0
	}
	if !tcp.IP.IsUnspecified() {
		host = tcp.IP.String()
	}
	return host, tcp.Port
}

func (m *magic) newIssuer(template certmagic.ACMEIssuer) *issuer {
	config := certmagic.New(m.cache, certmagic.Config{
		Storage: m.storage, Logger: m.log, RenewalWindowRatio: 1.0 / 3,
		// This gives those who say whether a certificate is revoked 30 s to answer; else
		// they have as long as they like.
		OCSP: certmagic.OCSPConfig{HTTPProxy: http.ProxyFromEnvironment},
	})
	acme := certmagic.NewACMEIssuer(config, template)
	config.Issuers = []certmagic.Issuer{acme}
	return &issuer{config, acme}
}

// of returns how a host is certified.
func (m *magic) of(host string) *issuer {
	if m.dns != nil && slices.ContainsFunc(m.acme.Domains, func(d string) bool { return host == d || host == "*."+d }) {
		return m.dns
	}
	return m.direct
}

// all returns the hosts that are to have a certificate: those right below a domain
// have one together where its DNS can be changed.
func (a *ACME) all() []Name {
	var all []Name
	for _, d := range a.Domains {
		all = append(all, Name{Host: d})
		if a.DNSProgram != "" {
			all = append(all, Name{Host: "*." + d})
		}
	}
	for _, n := range a.Names() {
		if _, parent, _ := strings.Cut(n.Host, "."); a.DNSProgram == "" || !slices.Contains(a.Domains, parent) {
			all = append(all, n)
		}
	}
	return all
}

// close implements authority.
func (m *magic) close() {
	if m.cache != nil {
		m.cache.Stop()
	}
}

// tidy implements authority.
func (m *magic) tidy(ctx context.Context) {
	err := certmagic.CleanStorage(ctx, m.storage, certmagic.CleanStorageOptions{
		Logger: m.log, OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: tidyAfter,
	})
	if err != nil && ctx.Err() == nil {
		m.log.Warn("what has ended cannot be removed from the folder of --state", zap.Error(err))
	}
}

// stored implements authority.
func (m *magic) stored(host string) *tls.Certificate {
	certPEM, keyPEM, err := m.pair(host)
	if err != nil {
		return nil
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil
	}
	m.staple(&cert)
	return &cert
}

// pair returns what the state folder has of a host.
func (m *magic) pair(host string) (certPEM, keyPEM []byte, err error) {
	ctx, issuer := context.Background(), m.issuerKey()
	if certPEM, err = m.storage.Load(ctx, certmagic.StorageKeys.SiteCert(issuer, host)); err == nil {
		keyPEM, err = m.storage.Load(ctx, certmagic.StorageKeys.SitePrivateKey(issuer, host))
	}
	return certPEM, keyPEM, err
}

// issuerKey is the authority's in the keys of the state folder.
func (m *magic) issuerKey() string { return (&certmagic.ACMEIssuer{CA: m.acme.CA}).IssuerKey() }

// removeTorn removes the key of a certificate that it does not fit, which the end of a
// process between the two leaves: certmagic refuses them for ever, and gets a new
// certificate where one of them is missing.
func (m *magic) removeTorn(ctx context.Context, host string) {
	certPEM, keyPEM, err := m.pair(host)
	if err != nil {
		return // certmagic says it
	}
	_, unfit := tls.X509KeyPair(certPEM, keyPEM)
	if unfit == nil {
		return
	}
	key := certmagic.StorageKeys.SitePrivateKey(m.issuerKey(), host)
	info, err := m.storage.Stat(ctx, key)
	if err != nil || time.Since(info.Modified) < tornAfter {
		return
	}
	if err := m.storage.Delete(ctx, key); err == nil {
		m.log.Warn("the folder of --state had a key that does not fit its certificate, it was removed", zap.String("name", host), zap.Error(unfit))
	}
}

// staple gives a certificate the last answer (RFC 6960) that the state folder has of
// whether it is revoked, if that holds now. Certmagic asks anew halfway to its end, and
// shows none while nobody replies.
func (m *magic) staple(cert *tls.Certificate) {
	var chain bytes.Buffer
	for _, der := range cert.Certificate {
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	key := certmagic.StorageKeys.OCSPStaple(&certmagic.Certificate{Names: cert.Leaf.DNSNames}, chain.Bytes())
	answer, err := m.storage.Load(context.Background(), key)
	if err != nil {
		return
	}
	if r, err := ocsp.ParseResponse(answer, nil); err == nil && r.Status == ocsp.Good && time.Now().Before(r.NextUpdate) {
		cert.OCSPStaple = answer
	}
}

// certify implements authority.
func (m *magic) certify(ctx context.Context, host string) (*tls.Certificate, error) {
	is := m.of(host)
	if is == m.dns {
		select {
		case m.byDNS <- struct{}{}:
			defer func() { <-m.byDNS }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.removeTorn(ctx, host)
	err := is.config.ManageSync(ctx, []string{host})
	var newest *tls.Certificate
	for _, c := range m.cache.AllMatchingCertificates(host) {
		if slices.Contains(c.Names, host) && (newest == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = &c.Certificate
		}
	}
	m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
	if err == nil && newest == nil {
		err = errors.New("the certificate that is in the folder of --state is for another name")
	}
	if newest != nil && newest.OCSPStaple == nil {
		m.staple(newest)
	}
	return newest, err
}

// Challenge is for tls.Config.GetConfigForClient at the front port: it returns how to
// answer the handshake by which an authority looks whether a name is this P's (RFC
// 8737), and nil for all others.
func (s *Source) Challenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if s.manager == nil || len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acmez.ACMETLS1Protocol || hello.ServerName == "" {
		return nil, nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acmez.ACMETLS1Protocol}, SessionTicketsDisabled: true,
		GetCertificate: s.manager.ca.(*magic).direct.config.GetCertificate,
	}, nil
}

// AnswerHTTP answers the request by which an authority looks whether a name is this
// P's (RFC 8555, 8.3), and reports whether r is one.
func (s *Source) AnswerHTTP(w http.ResponseWriter, r *http.Request) bool {
	return s.manager != nil && s.manager.ca.(*magic).direct.acme.HandleHTTPChallenge(w, r)
}
