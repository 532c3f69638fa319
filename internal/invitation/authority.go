package invitation

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// System as a CA file stands for the roots of the system.
const System = "system"

// Authority returns what a C is to verify P's certificate against, as in
// [Invitation.CA]. certFile is P's, in PEM, with its chain; host is the name that it
// must bear. caFile is a file in PEM or [System]; "" has it found: the system's
// roots, a CA in the chain, or ca.pem beside certFile, as make makes it. The
// certificate is verified by it, or there is an error, one line that says what would
// mend it.
func Authority(certFile, host, caFile string) (ca [][]byte, err error) {
	return authority(certFile, host, caFile, nil)
}

// Given returns what caFile names, as in Authority, where P's certificate cannot be
// looked at: "" is the system's roots.
func Given(caFile string) (ca [][]byte, err error) {
	if caFile == "" || caFile == System {
		return nil, nil
	}
	list, err := read(caFile, byCA)
	return raw(list), err
}

// authority is Authority with roots for the system's, nil for those.
func authority(certFile, host, caFile string, system *x509.CertPool) ([][]byte, error) {
	chain, err := read(certFile, "p's with --cert, or the file that names it with --config")
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	if err := leaf.VerifyHostname(host); err != nil {
		return nil, fmt.Errorf("certificate %s: %w; give p one for that name, or say by --address or --server-name which it bears", certFile, err)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	verifies := func(roots *x509.CertPool) error {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
		return err
	}
	verifiesBy := func(list []*x509.Certificate) error {
		roots := x509.NewCertPool()
		for _, c := range list {
			roots.AddCert(c)
		}
		return verifies(roots)
	}
	if caFile != "" && caFile != System {
		list, err := read(caFile, byCA)
		if err == nil {
			if err = verifiesBy(list); err != nil {
				err = fmt.Errorf("certificate %s is not verified by the CA in %s: %w; name the right one with --ca", certFile, caFile, err)
			}
		}
		return raw(list), err
	}
	bySystem := verifies(system)
	if bySystem == nil {
		return nil, nil
	}
	if caFile == System {
		return nil, fmt.Errorf("certificate %s is not verified by the system's CAs: %w; name its CA's certificate with --ca", certFile, bySystem)
	}
	for _, c := range chain {
		if (c.IsCA || c.CheckSignatureFrom(c) == nil) && verifiesBy([]*x509.Certificate{c}) == nil {
			return raw([]*x509.Certificate{c}), nil
		}
	}
	beside := filepath.Join(filepath.Dir(certFile), "ca.pem")
	if list, err := read(beside, byCA); err == nil && verifiesBy(list) == nil {
		return raw(list), nil
	}
	return nil, fmt.Errorf("certificate %s is not verified by the system's CAs (%w): name its CA's certificate with --ca", certFile, bySystem)
}

func raw(list []*x509.Certificate) (ders [][]byte) {
	for _, c := range list {
		ders = append(ders, c.Raw)
	}
	return ders
}

// byCA is how the CA's certificate is named.
const byCA = "yours with --ca"

// read returns the certificates in a file, at least one. mend says what to name in its
// place.
func read(file, mend string) (list []*x509.Certificate, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("certificate %s is missing: name %s", file, mend)
	}
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("certificate %s cannot be read: %w", file, err)
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %s", file, strings.TrimPrefix(err.Error(), "x509: "))
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("certificate %s: there is none in PEM form in it", file)
	}
	return list, nil
}
