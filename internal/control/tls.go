package control

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ServerTLS is what P's TLS is made of.
type ServerTLS struct {
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error) // as tls.Config's
	ClientCAFile   string                                               // PEM; if set, a C must show a certificate signed by one of these
}

// Load reads the file. Its error is one line that says what would mend it.
func (f ServerTLS) Load() (*tls.Config, error) {
	cfg := &tls.Config{GetCertificate: f.GetCertificate}
	if f.ClientCAFile != "" {
		var err error
		if cfg.ClientCAs, err = Pool(f.ClientCAFile, "--client-ca"); err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return harden(cfg), nil
}

// SystemCA as a CAFile stands for the roots of the system.
const SystemCA = "system"

// ClientTLS names the files of C's TLS.
type ClientTLS struct {
	CAFile            string   // PEM, or [SystemCA]; what P's certificate is verified against
	CA                [][]byte // DER; if set, in place of CAFile
	ServerName        string   // that P's certificate must bear; "": the host dialled
	CertFile, KeyFile string   // PEM; shown to a P that asks for one; may be ""
}

// Load reads the files. Its error is one line that says what would mend it.
func (f ClientTLS) Load() (*tls.Config, error) {
	cfg := &tls.Config{ServerName: f.ServerName}
	var err error
	if len(f.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		for _, der := range f.CA {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("CA certificate: %w", err)
			}
			cfg.RootCAs.AddCert(cert)
		}
	} else if f.CAFile == SystemCA {
		// A nil RootCAs would do the same; this finds out now that there are none.
		cfg.RootCAs, err = x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the system's CA certificates: %w; name a file instead", err)
		}
	} else if cfg.RootCAs, err = Pool(f.CAFile, `--ca ("system": the system's roots)`); err != nil {
		return nil, err
	}
	switch {
	case f.CertFile != "" && f.KeyFile != "":
		cert, err := KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	case f.CertFile != "" || f.KeyFile != "":
		return nil, errors.New("a client certificate and its key go together: name both files, or none")
	}
	return harden(cfg), nil
}

// harden returns a copy of cfg with what the control port always has.
func harden(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = []string{Protocol, "http/1.1"}
	// The connection lives for months and carries bulk: small first records
	// would only cost.
	cfg.DynamicRecordSizingDisabled = true
	// Tickets save 15 % of a handshake's CPU, both ends together: what is left is
	// the agreement on keys. That does not pay for keys to be kept over a restart.
	cfg.SessionTicketsDisabled = true
	// A C that does not verify would hand its token to anybody.
	cfg.InsecureSkipVerify = false
	return cfg
}

// KeyPair reads a certificate with its chain, and its key, in PEM. Its error is one line
// that says what would mend it.
func KeyPair(certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, unreadable("certificate", certFile, "", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, unreadable("private key", keyFile, "", err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s with key %s: %w; both are PEM and belong together", certFile, keyFile, err)
	}
	return cert, nil
}

// Pool reads certificates of authorities, in PEM. Its error is one line that says what
// would mend it, by flag.
func Pool(file, flag string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable("CA certificate", file, " with "+flag, err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("CA certificate %s: there is no certificate in PEM form in it", file)
	}
	return p, nil
}

// inCheckout says what else would mend that a file is missing: nothing, if it is not one
// of those that make prepares.
func inCheckout(file string) string {
	if filepath.Dir(file) != "certs" {
		return ""
	}
	mend := ", or in a checkout run make to prepare one for development"
	if name := filepath.Base(file); name == "p.pem" || name == "p.key" {
		mend = " with --cert and --key, or by --config the file that does, or give --acme-email" + mend // whose default nobody may have heard of
	}
	return mend
}

// unreadable words the error of reading a file; with says how another one is named.
func unreadable(what, file, with string, err error) error {
	if file == "" {
		return fmt.Errorf("no %s was named", what)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s is missing: name yours%s%s", what, file, with, inCheckout(file))
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("%s %s cannot be read: %w", what, file, err)
}
