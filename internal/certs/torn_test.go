package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// pairPEM returns a certificate for example.test and its key.
func pairPEM(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// stateOf returns an authority that nobody reaches, and its log.
func stateOf(t *testing.T) (*magic, *testlog.Buffer) {
	t.Helper()
	log := &testlog.Buffer{}
	acme := &ACME{Email: "a@example.test", Domains: []string{"example.test"}, State: t.TempDir(), CA: "https://127.0.0.1:1/dir", Names: func() []Name { return nil }}
	m, err := acme.authority(loglimit.New(log.Logger(slog.LevelInfo), 1))
	if err != nil {
		t.Fatal(err)
	}
	m.start(t.Context(), Ports{})
	t.Cleanup(m.close)
	m.direct.config.DisableARI = true // which asks the authority
	return m, log
}

// A P that ends between a new key and its certificate leaves two that do not fit. The
// next one has the authority asked, once another P cannot be about to store the rest.
func TestTornPair(t *testing.T) {
	m, log := stateOf(t)
	cert, _ := pairPEM(t)
	_, key := pairPEM(t)
	keys, issuer := certmagic.StorageKeys, m.issuerKey()
	for name, text := range map[string][]byte{
		keys.SiteCert(issuer, "example.test"): cert, keys.SitePrivateKey(issuer, "example.test"): key, keys.SiteMeta(issuer, "example.test"): []byte("{}"),
	} {
		if err := m.storage.Store(t.Context(), name, text); err != nil {
			t.Fatal(err)
		}
	}
	file := m.storage.Filename(keys.SitePrivateKey(issuer, "example.test"))
	if _, err := m.certify(t.Context(), "example.test"); err == nil || problemOf(err).kind == unreachable {
		t.Errorf("two that were just stored: %v, want that they do not fit", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a key that was just stored: %v", err)
	}
	old := time.Now().Add(-2 * tornAfter)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := m.certify(t.Context(), "example.test"); err == nil || problemOf(err).kind != unreachable {
		t.Errorf("later: %v, want that the authority was asked", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key: %v, want that it is gone", err)
	}
	if log.Count("does not fit its certificate") != 1 {
		t.Errorf("the log has\n%s\nwant one line about the key", log)
	}
}

// A lock that a power cut has left without sense is said with what mends it.
func TestTornLock(t *testing.T) {
	m, _ := stateOf(t)
	lock := filepath.Join(m.acme.State, "acme", "locks", "issue_cert_example.test.lock")
	if err := errors.Join(os.MkdirAll(filepath.Dir(lock), 0o700), os.WriteFile(lock, make([]byte, 120), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := m.certify(t.Context(), "example.test")
	if err == nil {
		t.Fatal("it went on")
	}
	if p := problemOf(err); p.kind != stateBroken || !strings.Contains(p.words, "'issue_cert_example.test'") || !strings.Contains(p.words, "acme/locks") {
		t.Errorf("got %+v, want which file is to be removed", p)
	}
}
