package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"

	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// responder says of every certificate that it is good, until it is told to say
// nothing.
type responder struct {
	ca    *x509.Certificate
	key   crypto.Signer
	until time.Time // when an answer ends
	since time.Time // when it began

	silent atomic.Bool
	asked  atomic.Int32
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	body := make([]byte, 1<<10)
	n, _ := req.Body.Read(body)
	question, err := ocsp.ParseRequest(body[:n])
	if err != nil || r.silent.Load() {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	answer, err := ocsp.CreateResponse(r.ca, r.ca, ocsp.Response{
		Status: ocsp.Good, SerialNumber: question.SerialNumber, ThisUpdate: r.since, NextUpdate: r.until,
	}, r.key)
	if err == nil {
		w.Write(answer)
	}
}

// What the authority says about a certificate being good goes with it, from the state
// folder on, and while nobody replies as long as it holds.
func TestStaples(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	r := &responder{since: now.Add(-3 * time.Hour), until: now.Add(time.Hour)} // past its half: it is asked for anew
	server := httptest.NewServer(r)
	defer server.Close()
	sign := func(template, parent *x509.Certificate, key *ecdsa.PrivateKey, by crypto.Signer) *x509.Certificate {
		t.Helper()
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), now.Add(-time.Hour), now.Add(90*24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	caTemplate := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	r.ca, r.key = sign(caTemplate, caTemplate, caKey, caKey), caKey
	leaf := sign(&x509.Certificate{DNSNames: []string{"example.test"}, OCSPServer: []string{server.URL}}, r.ca, key, caKey)

	acme := &ACME{Email: "a@example.test", Domains: []string{"example.test"}, State: t.TempDir(), CA: "https://127.0.0.1:1/dir", Names: func() []Name { return nil }}
	m, err := acme.authority(loglimit.New(slog.New(slog.DiscardHandler), 1))
	if err != nil {
		t.Fatal(err)
	}
	m.start(t.Context(), Ports{})
	defer m.close()
	m.direct.config.DisableARI = true // which asks the authority
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	issuer := (&certmagic.ACMEIssuer{CA: acme.CA}).IssuerKey()
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.Raw})...)
	for name, text := range map[string][]byte{
		certmagic.StorageKeys.SiteCert(issuer, "example.test"): chain, certmagic.StorageKeys.SiteMeta(issuer, "example.test"): []byte("{}"),
		certmagic.StorageKeys.SitePrivateKey(issuer, "example.test"): pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
	} {
		if err := m.storage.Store(t.Context(), name, text); err != nil {
			t.Fatal(err)
		}
	}
	stapled := func(what string, want bool, cert *tls.Certificate, err error) {
		t.Helper()
		if err != nil || cert == nil {
			t.Fatalf("%s: %v, %v", what, cert, err)
		}
		if _, err := ocsp.ParseResponseForCert(cert.OCSPStaple, leaf, r.ca); (err == nil) != want {
			t.Errorf("%s: stapled %v, want %v", what, err == nil, want)
		}
	}
	stapled("before anybody was asked", false, m.stored("example.test"), nil)
	cert, err := m.certify(t.Context(), "example.test")
	stapled("asked", true, cert, err)
	stapled("from the folder", true, m.stored("example.test"), nil)
	r.silent.Store(true)
	asked := r.asked.Load()
	cert, err = m.certify(t.Context(), "example.test")
	stapled("nobody replies", true, cert, err)
	if r.asked.Load() == asked {
		t.Error("nobody was asked anew")
	}

	// An answer that has ended is not shown.
	old, err := ocsp.CreateResponse(r.ca, r.ca, ocsp.Response{
		Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: now.Add(-2 * time.Hour), NextUpdate: now.Add(-time.Hour),
	}, r.key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(acme.State, "acme", "ocsp", "*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("the folder has %q, %v", list, err)
	}
	if err := os.WriteFile(list[0], old, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err = m.certify(t.Context(), "example.test")
	stapled("what there was has ended", false, cert, err)
	stapled("what there was has ended, in the folder", false, m.stored("example.test"), nil)
}
