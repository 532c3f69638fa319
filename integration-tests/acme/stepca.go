//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// missing is what a test needs and this machine has not.
type missing string

func (m missing) Error() string { return string(m) }

// The certificates of step-ca are good for claimed from now on, and begin backdated
// earlier, as they do unless it is told otherwise: the last third of their time, in
// which p renews them, begins some 10 s after they are given.
const (
	claimed   = 45 * time.Second
	backdated = time.Minute
)

// undecided is more than p waits for a CA that comes to no end with a name.
const undecided = 3 * time.Minute

// ownCA is smallstep's step-ca, as somebody runs it for names of their own.
type ownCA struct {
	*process.Process
	program  string
	rootFile string
	root     *x509.CertPool
}

// ofOnesOwn has the pair live by the certificates of step-ca alone: c verifies p by its
// root, and so does curl.
func ofOnesOwn(l *lab) error {
	ca, err := l.newOwnCA()
	if err != nil {
		return err
	}
	if err := l.startOwnCA(ca); err != nil {
		return err
	}
	x, err := l.startOwnP(ca)
	if err != nil {
		return err
	}
	names := []string{"example.test", "photos.example.test"}
	for _, name := range names {
		for _, addr := range []string{l.front, l.control} {
			if err := verifiesBy(ca.root, addr, name); err != nil {
				return err
			}
		}
	}
	if err := l.private(); err != nil {
		return err
	}
	if err := l.startC(ca); err != nil {
		return err
	}
	if err := l.curls(ca); err != nil {
		return err
	}
	if err := l.renewsWithoutGap(ca, "photos.example.test", 2); err != nil {
		return err
	}
	if strings.Contains(x.Log(), "level=ERROR") || strings.Contains(x.Log(), "level=WARN") {
		return errors.New("p's log has lines that it should not")
	}

	// Nobody is asked at another start.
	before, err := shown(l.front, "photos.example.test")
	if err != nil {
		return err
	}
	x.Stop()
	ca.Stop()
	if x, err = l.startOwnP(ca); err != nil {
		return err
	}
	for _, addr := range []string{l.front, l.control} {
		for _, name := range names {
			if err := verifiesBy(ca.root, addr, name); err != nil {
				return err
			}
		}
	}
	if now, err := shown(l.front, "photos.example.test"); err != nil || now.NotAfter.Before(before.NotAfter) {
		return fmt.Errorf("after another start the front port shows %v, %v", now, err)
	}
	// The account is the CA's as before when that is back.
	if err := l.startOwnCA(ca); err != nil {
		return err
	}
	if err := l.signal(x, syscall.SIGHUP); err != nil {
		return err
	}
	if err := l.renewsWithoutGap(ca, "photos.example.test", 1); err != nil {
		return err
	}
	return l.curls(ca)
}

// leadsNowhere has a name whose DNS record leads elsewhere: step-ca, unlike others,
// leaves that undecided, so that who asks may have it looked at once more.
func leadsNowhere(l *lab) error {
	ca, err := l.newOwnCA()
	if err != nil {
		return err
	}
	if err := l.startOwnCA(ca); err != nil {
		return err
	}
	if err := l.tellNames("add-a", map[string]any{"host": "photos.example.test.", "addresses": []string{"127.0.0.2"}}); err != nil {
		return err
	}
	x, err := l.startOwnP(ca)
	if err != nil {
		return err
	}
	if err := verifiesBy(ca.root, l.front, "example.test"); err != nil {
		return err
	}
	const want = `msg="no certificate: the CA does not find the answer to its question in 2m0s: the name's DNS record must have this machine's address`
	return await(undecided, "p's word that photos.example.test leads elsewhere", func() bool { return strings.Contains(x.Log(), want) })
}

// newOwnCA makes a root, an intermediate that it signed, and step-ca's file that names
// them.
func (l *lab) newOwnCA() (*ownCA, error) {
	program, err := exec.LookPath(l.stepCA)
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return nil, missing(l.stepCA + " is not here: go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2, and name it with --step-ca")
	}
	ca := &ownCA{program: program, rootFile: l.path("root.pem"), root: x509.NewCertPool()}
	root, rootKey, err := l.sign("root", nil, nil)
	if err != nil {
		return nil, err
	}
	ca.root.AddCert(root)
	if _, _, err := l.sign("intermediate", root, rootKey); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"root": ca.rootFile, "crt": l.path("intermediate.pem"), "key": l.path("intermediate.key"),
		"address": l.directory, "dnsNames": []string{"127.0.0.1"}, "logger": map[string]any{"format": "text"},
		"db": map[string]any{"type": "badgerv2", "dataSource": l.path("step-ca")},
		"authority": map[string]any{
			"backdate": backdated.String(),
			"provisioners": []any{map[string]any{"type": "ACME", "name": "acme", "claims": map[string]any{
				"minTLSCertDuration": claimed.String(), "defaultTLSCertDuration": claimed.String(), "maxTLSCertDuration": "24h",
			}}},
		},
	})
	if err != nil {
		return nil, err
	}
	_, err = l.write("ca.json", string(config))
	return ca, err
}

// sign makes a CA's certificate, NAME.pem and NAME.key; one without a parent is its own.
func (l *lab) sign(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "The lab's " + name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	} else {
		template.MaxPathLenZero = true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if _, err := l.write(name+file, string(pem.EncodeToMemory(block))); err != nil {
			return nil, nil, err
		}
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// startOwnCA starts step-ca, whose questions come to the front port.
func (l *lab) startOwnCA(ca *ownCA) (err error) {
	_, port, _ := net.SplitHostPort(l.front)
	if ca.Process, err = l.start("step-ca", ca.program, l.path("ca.json"), "--resolver", l.names, "--insecure", "--acme-tls-port", port); err != nil {
		return err
	}
	return process.Listening(l.ctx, l.directory)
}

func (l *lab) startOwnP(ca *ownCA) (*proxy, error) {
	return l.startP("sesame photos\n", "--acme-ca", "https://"+l.directory+"/acme/acme/directory", "--acme-ca-root", ca.rootFile)
}

// startC starts the origin of photos.example.test, which verifies p by the CA's root.
func (l *lab) startC(ca *ownCA) error {
	token, err := l.write("c-token", "sesame\n")
	if err != nil {
		return err
	}
	if err := os.Chmod(token, 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(l.path("photos"), 0o700); err != nil {
		return err
	}
	if _, err := l.write("photos/hello.txt", "hello from c\n"); err != nil {
		return err
	}
	_, err = l.start("c", filepath.Join(l.bin, "c"), "--proxy", l.control, "--ca", ca.rootFile, "--server-name", "example.test",
		"--token-file", token, "--name", "photos", "--root", l.path("photos"))
	return err
}

// curls waits until curl, which knows the root alone, has c's file.
func (l *lab) curls(ca *ownCA) error {
	_, port, _ := net.SplitHostPort(l.front)
	var said []byte
	var last error
	if await(patience, "", func() bool {
		cmd := exec.CommandContext(l.ctx, "curl", "-sS", "--fail", "--max-time", "10", "--noproxy", "*", "--cacert", ca.rootFile,
			"--resolve", "photos.example.test:"+port+":127.0.0.1", "https://photos.example.test:"+port+"/hello.txt")
		said, last = cmd.CombinedOutput()
		return last == nil
	}) != nil {
		return fmt.Errorf("curl: %w: %s", last, bytes.TrimSpace(said))
	}
	if string(said) != "hello from c\n" {
		return fmt.Errorf("curl was told %q", said)
	}
	return nil
}

// renewsWithoutGap asks for name until its certificate was renewed n times: each one
// that is shown must verify, and none may be left to its end.
func (l *lab) renewsWithoutGap(ca *ownCA, name string, n int) error {
	serials := map[string]bool{}
	least := claimed
	var bad error
	if err := await(2*patience, fmt.Sprintf("%d renewals of %s", n, name), func() bool {
		var conn *tls.Conn
		if conn, bad = tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.front, &tls.Config{ServerName: name, RootCAs: ca.root}); bad != nil {
			return true
		}
		defer conn.Close()
		cert := conn.ConnectionState().PeerCertificates[0]
		serials[cert.SerialNumber.String()] = true
		least = min(least, time.Until(cert.NotAfter))
		return len(serials) > n
	}); err != nil {
		return err
	}
	if bad != nil {
		return fmt.Errorf("a gap for %s: %w", name, bad)
	}
	// Renewed at a third of the whole, p has the rest of that for it; the half is what a
	// machine with other things to do may take.
	if least < (claimed+backdated)/6 {
		return fmt.Errorf("%s was shown with %v left", name, least.Round(time.Second))
	}
	return nil
}
