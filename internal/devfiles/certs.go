package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
)

const (
	authorityYears = 10
	// Below the 825 days that some systems allow any certificate.
	certificateDays = 730
	// Two machines' clocks may differ.
	backdate = time.Hour
	// A warning this long before the end leaves time to act on it.
	warnBefore = 30 * 24 * time.Hour
)

var localhost = []string{"localhost", "127.0.0.1", "::1"}

// issuable are the names of files that --issue makes: no path, no dotfile.
var issuable = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// all makes the CA, P's certificate and the token.
func (m *maker) all() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	if err := m.certificate("p", localhost); err != nil {
		return err
	}
	return m.create(m.path("token"), []byte(rand.Text()+" *\n"))
}

// issue makes NAME.pem and NAME.key for hosts.
func (m *maker) issue(name string, hosts []string) error {
	if !issuable.MatchString(name) || name == "ca" {
		return cli.Usagef("--issue %q: want a file name of letters, digits, dots and hyphens, not ca", name)
	}
	if exists(m.path(name + ".pem")) {
		return cli.Usagef("%s is there already: remove it and %s to have new ones", m.path(name+".pem"), m.path(name+".key"))
	}
	if len(hosts) == 0 {
		hosts = localhost
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	return m.certificate(name, hosts)
}

// cluster makes, in a folder of their own, the CA of a cluster and the certificates of
// its nodes, which bear their names.
func (m *maker) cluster(nodes []string) error {
	own := *m
	own.dir = m.path("cluster")
	if err := os.MkdirAll(own.dir, 0o755); err != nil {
		return err
	}
	for _, name := range nodes {
		if !issuable.MatchString(name) || name == "ca" {
			return cli.Usagef("--nodes %q: want names of letters, digits, dots and hyphens, not ca", name)
		}
		if err := own.certificate(name, []string{name}); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) path(name string) string { return filepath.Join(m.dir, name) }

// authority returns the CA's certificate and key, made if there is none. The
// key is nil if the CA is one whose key is kept elsewhere.
func (m *maker) authority() (*x509.Certificate, crypto.Signer, error) {
	keyFile, certFile := m.path("ca.key"), m.path("ca.pem")
	if exists(certFile) && !exists(keyFile) {
		cert, err := readCertificate(certFile)
		return cert, nil, err
	}
	key, err := m.key(keyFile)
	if err != nil {
		return nil, nil, err
	}
	if !exists(certFile) {
		template := &x509.Certificate{
			// A part of its own, or two CAs of two clones look the same in a browser's list.
			Subject:               pkix.Name{CommonName: "spdy-proxy development CA " + rand.Text()[:6]},
			NotBefore:             m.now.Add(-backdate),
			NotAfter:              m.now.AddDate(authorityYears, 0, 0),
			IsCA:                  true,
			BasicConstraintsValid: true,
			MaxPathLenZero:        true,
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		if err := m.sign(certFile, template, template, key.Public(), key); err != nil {
			return nil, nil, err
		}
	}
	cert, err := readCertificate(certFile)
	if err == nil && !samePublicKey(cert, key) {
		err = notAPair(certFile, keyFile)
	}
	return cert, key, err
}

// certificate makes NAME.pem and NAME.key, or looks at those that are there.
//
// The key comes first, and a key that is there gets a certificate: so a run
// that was cut off is completed by the next, and of two runs at once each ends
// with files that fit, whoever wrote which.
func (m *maker) certificate(name string, hosts []string) error {
	keyFile, certFile := m.path(name+".key"), m.path(name+".pem")
	ca, caKey, err := m.authority()
	if err != nil {
		return err
	}
	// The certificate is asked for first: another run makes it last.
	if exists(certFile) && !exists(keyFile) {
		return fmt.Errorf("%s is missing beside %s: put it back, or remove %[2]s to have new ones", keyFile, certFile)
	}
	key, err := m.key(keyFile)
	if err != nil {
		return err
	}
	if !exists(certFile) {
		if caKey == nil {
			return fmt.Errorf("%s is missing, so %s cannot be made: put it back, or remove %s to have a new CA", m.path("ca.key"), certFile, m.path("ca.pem"))
		}
		if !m.now.Before(ca.NotAfter) {
			return fmt.Errorf("%s ended on %s: remove it and %s to have a new CA", m.path("ca.pem"), date(ca.NotAfter), m.path("ca.key"))
		}
		template := &x509.Certificate{
			Subject:   pkix.Name{CommonName: name},
			NotBefore: m.now.Add(-backdate),
			NotAfter:  earlier(m.now.AddDate(0, 0, certificateDays), ca.NotAfter),
			KeyUsage:  x509.KeyUsageDigitalSignature,
			// One kind serves P, and a C that has to show one.
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		for _, h := range hosts {
			if ip := net.ParseIP(h); ip != nil {
				template.IPAddresses = append(template.IPAddresses, ip)
			} else {
				template.DNSNames = append(template.DNSNames, h)
			}
		}
		if err := m.sign(certFile, template, ca, key.Public(), caKey); err != nil {
			return err
		}
	}
	cert, err := readCertificate(certFile)
	if err != nil {
		return err
	}
	if !samePublicKey(cert, key) {
		return notAPair(certFile, keyFile)
	}
	m.look(certFile, cert, ca)
	return nil
}

// look warns of a certificate that is there, stays, and does not serve.
func (m *maker) look(file string, cert, ca *x509.Certificate) {
	mend := "remove it and run make again to have a new one"
	switch left := cert.NotAfter.Sub(m.now); {
	case left <= 0:
		m.warnf("%s ended on %s: %s", file, date(cert.NotAfter), mend)
	case left < warnBefore:
		m.warnf("%s ends on %s: %s", file, date(cert.NotAfter), mend)
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		m.warnf("%s is not signed by %s: %s, or give c the right --ca", file, m.path("ca.pem"), mend)
	}
}

// key returns the private key in file, made if there is none.
func (m *maker) key(file string) (crypto.Signer, error) {
	if !exists(file) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := m.create(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return nil, err
		}
	}
	// What counts is what the file holds now: another run may have been first.
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block: remove it to have a new one", file)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key that can be read (%w): remove it to have a new one", file, err)
	}
	return key, nil
}

func parseKey(der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// A key that somebody else's tool made and put here.
		if k, err := x509.ParseECPrivateKey(der); err == nil {
			return k, nil
		}
		if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return k, nil
		}
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return key, nil
}

func (m *maker) sign(file string, template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		return fmt.Errorf("making %s: %w", file, err)
	}
	return m.create(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// readCertificate returns the first certificate in file, the server's own where
// there is a chain.
func readCertificate(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s does not begin with a PEM certificate: remove it to have a new one", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it to have a new one", file, err)
	}
	return cert, nil
}

func samePublicKey(cert *x509.Certificate, key crypto.Signer) bool {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(cert.PublicKey)
}

func notAPair(certFile, keyFile string) error {
	return fmt.Errorf("%s and %s do not belong together: remove both to have new ones", certFile, keyFile)
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }
