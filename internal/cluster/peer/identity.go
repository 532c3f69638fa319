package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/originname"
)

// Files names what a node needs for its links. The CA is the cluster's own: each
// certificate that it signs is a node's.
type Files struct {
	CAFile            string // PEM
	CertFile, KeyFile string // PEM; the first DNS name of the certificate is this node's id
}

// Identity is what Files hold.
type Identity struct {
	id    string
	cert  tls.Certificate
	ca    *x509.Certificate // whose it is
	roots *x509.CertPool
}

// Load reads the files. Its error is one line that says what would mend it. That their
// time is over is none: the other nodes refuse such a node, and it goes on with what it
// has itself. See Leaf and CA.
func (f Files) Load() (*Identity, error) {
	pem, err := read("CA certificate", f.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the cluster's CA certificate %s: there is no certificate in PEM form in it", f.CAFile)
	}
	certPEM, err := read("certificate", f.CertFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := read("private key", f.KeyFile)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the cluster's certificate %s with key %s: %w; both are PEM and belong together", f.CertFile, f.KeyFile, err)
	}
	id, err := nodeID(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("the cluster's certificate %s: %w", f.CertFile, err)
	}
	ca, err := issuer(cert, roots)
	if err != nil {
		return nil, fmt.Errorf("the cluster's certificate %s is not one of the CA %s, for servers and for clients: %w", f.CertFile, f.CAFile, err)
	}
	return &Identity{id: id, cert: cert, ca: ca, roots: roots}, nil
}

func read(what, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("the cluster's %s %s cannot be read: %w", what, file, pe.Err)
	}
	return data, err
}

func intermediates(cert tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(c)
		}
	}
	return pool
}

// issuer returns the CA's certificate that cert is of: now, or when it was good last.
func issuer(cert tls.Certificate, roots *x509.CertPool) (ca *x509.Certificate, err error) {
	now, leaf, between := time.Now(), cert.Leaf, intermediates(cert)
	ca, err = verify(leaf, between, roots, now)
	for _, at := range []time.Time{leaf.NotAfter, leaf.NotBefore} {
		if err == nil || at.After(now) {
			continue
		}
		if was, e := verify(leaf, between, roots, at); e == nil {
			return was, nil
		}
	}
	return ca, err
}

// verify returns the CA's certificate that leaf is of at a time, for servers and for
// clients: of several the one that ends last.
func verify(leaf *x509.Certificate, between, roots *x509.CertPool, at time.Time) (ca *x509.Certificate, err error) {
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: at})
		if err != nil {
			return nil, err
		}
		for _, chain := range chains {
			if last := chain[len(chain)-1]; ca == nil || last.NotAfter.After(ca.NotAfter) {
				ca = last
			}
		}
	}
	return ca, nil
}

// nodeID returns the id of the node whose certificate it is: its first DNS name, a
// label. Others may follow, by which the node is reached.
func nodeID(cert *x509.Certificate) (string, error) {
	if len(cert.DNSNames) == 0 {
		return "", errors.New("it has no DNS name, which is the node's id")
	}
	id := cert.DNSNames[0]
	if name, err := originname.ParseLabel(id); err != nil || string(name) != id {
		return "", fmt.Errorf("its first DNS name %.70q is no node's id: 1 to 63 of a-z, 0-9 and inner hyphens are", id)
	}
	return id, nil
}

// peerID returns the id of the node at the other end of a connection whose handshake
// is over.
func peerID(state tls.ConnectionState) string {
	id, err := nodeID(state.PeerCertificates[0])
	if err != nil {
		return "" // not reached: the handshake has failed
	}
	return id
}

// ID returns the node's id.
func (i *Identity) ID() string { return i.id }

// Leaf returns the node's certificate.
func (i *Identity) Leaf() *x509.Certificate { return i.cert.Leaf }

// CA returns the CA's certificate that Leaf is of.
func (i *Identity) CA() *x509.Certificate { return i.ca }

var errOwnID = errors.New("it shows this node's own id: each node needs a certificate of its own")

// server returns the configuration for links that others make.
func (i *Identity) server() *tls.Config {
	c := i.config(func(state tls.ConnectionState) error {
		switch id, err := nodeID(state.PeerCertificates[0]); {
		case err != nil:
			return err
		case id == i.id:
			return errOwnID
		}
		return nil
	})
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, i.roots
	return c
}

// client returns the configuration for the link to a node. It is the node's id that
// counts, not the name or address by which it is reached.
func (i *Identity) client(id string) *tls.Config {
	c := i.config(func(state tls.ConnectionState) error {
		switch got, err := nodeID(state.PeerCertificates[0]); {
		case err != nil:
			return err
		case got == i.id:
			return errOwnID
		case got != id:
			return fmt.Errorf("it is the node %q, not %q", got, id)
		}
		return nil
	})
	c.ServerName, c.RootCAs = id, i.roots
	return c
}

// config returns what both have. TLS has verified the chain, and by a client the name,
// when check is called.
func (i *Identity) config(check func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{ALPN}, Certificates: []tls.Certificate{i.cert},
		VerifyConnection: check,
		// As on the control port: these connections live for long and carry bulk.
		DynamicRecordSizingDisabled: true, SessionTicketsDisabled: true,
	}
}

// oneLine keeps what TLS says of a peer in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }
