// Package bus is the bus of a cluster of Ps over NATS: a server of its own in each
// node's process, with a route to each other node, or one that the operator runs.
//
// Of NATS there is only the core: what is published reaches those who are connected
// at that moment, or does not. Package registry makes good for what is lost.
//
// The server in the process talks to others with TLS alone, and both sides show a
// certificate of the cluster's CA. It has to listen for clients, too, which it does on
// a loopback port with a password that is drawn at each start.
//
// With the build tag nocluster there is no NATS in the program, and Open says so.
package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// Config says where the bus is. The files are needed, and Addr and Advertise, or URL.
type Config struct {
	Addr      string   // HOST:PORT that the nodes' routes are taken on
	Advertise string   // HOST under which others reach it
	Join      []string // HOST:PORT of other nodes, or dns:NAME:PORT, see CheckJoin

	URL string // nats:// or tls:// of a server that the operator runs

	CAFile, CertFile, KeyFile string // PEM; a server of tls:// is shown the certificate, and see serverRoots

	Logger *slog.Logger // nil: nothing is logged

	system func() (*x509.CertPool, error) // x509.SystemCertPool, but in tests
}

// joinDNS begins what stands for all addresses that a name has.
const joinDNS = "dns:"

// CheckJoin reports what is wrong with what stands for other nodes: HOST:PORT is one of
// them, dns:NAME:PORT each address that NAME has, which is looked up again and again.
func CheckJoin(s string) error {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s, joinDNS))
	if err != nil || host == "" || port == "" {
		return errors.New("give HOST:PORT of another node's --cluster, or dns:NAME:PORT for each address that NAME has")
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port: give that of another node's --cluster", port)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsFunc(host, notInName) {
		return fmt.Errorf("%q is not a name: give one of letters, digits and . - _, or an address", host)
	}
	return nil
}

// notInName reports whether no host's name has c in it, as it is looked up.
func notInName(c rune) bool {
	return c > 0x7f || !httpfield.IsAlnum(byte(c)) && !strings.ContainsRune(".-_", c)
}

// identity is what the files hold.
type identity struct {
	ca    []byte // PEM
	roots *x509.CertPool
	cert  *tls.Certificate
	name  string // the node's id
}

// ID is the node's, as its certificate says. Its error is one line: a file is wrong.
func (c *Config) ID() (string, error) {
	id, err := c.load()
	if err != nil {
		return "", err
	}
	return id.name, nil
}

// load reads the files. Its error is one line.
func (c *Config) load() (*identity, error) {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("the cluster's CA certificate: %w", err)
	}
	id := &identity{ca: pem, roots: x509.NewCertPool()}
	if !id.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the cluster's CA certificate %s: there is no certificate in PEM form in it", c.CAFile)
	}
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the cluster's certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	if len(cert.Leaf.DNSNames) == 0 {
		return nil, fmt.Errorf("the cluster's certificate %s bears no DNS name, which is the node's id", c.CertFile)
	}
	id.cert, id.name = &cert, cert.Leaf.DNSNames[0]
	return id, nil
}

// serverRoots returns whom the operator's server is verified against: whom this system
// trusts, or the cluster's CA. A certificate of that alone would not do: whoever has one
// is a node.
func (c *Config) serverRoots(id *identity) *x509.CertPool {
	system := c.system
	if system == nil {
		system = x509.SystemCertPool
	}
	roots, err := system()
	if err != nil {
		roots = x509.NewCertPool() // as where the system has none
	}
	roots.AppendCertsFromPEM(id.ca)
	return roots
}

// tlsConfig returns what a route has at either end. current is asked for each
// connection.
func tlsConfig(current func() *identity) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current().cert, nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return current().cert, nil
		},
		ClientAuth: tls.RequireAnyClientCert,
		// A node is told by its name, not by where it is: its address is in no
		// certificate. VerifyConnection does what is left out here, at both ends.
		InsecureSkipVerify: true,
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error { return verify(cs, current().roots) }
	return c
}

// verify reports what is wrong with the other end's certificate: who has one of the
// cluster's CA is a node.
func verify(cs tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("no certificate was shown")
	}
	rest := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		rest.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}
