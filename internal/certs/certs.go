// Package certs is where P's certificates come from: files. The front port and the
// control port share one [Source], and a handshake is answered with the certificate
// that fits the name it asks for.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// Pair names the two files of a certificate, in PEM; the certificate with its
// chain.
type Pair struct{ CertFile, KeyFile string }

// Config says where certificates come from.
type Config struct {
	Pairs  []Pair       // the first is shown where none fits
	Logger *slog.Logger // nil: nothing is logged
}

// Source has the certificates. Make one with New. Its methods may be called at
// once.
type Source struct {
	// Fixed by New.
	log   *slog.Logger
	lines *loglimit.Logger
	pairs []Pair

	files atomic.Pointer[[]tls.Certificate] // of pairs, as they were read last

	mu sync.Mutex
	// Guarded by mu.
	daily  *time.Timer // looks how many days are left; nil before Start
	closed bool
}

// Certificate is one that a Source has.
type Certificate struct {
	Names    []string // that it is for; "*.example.org" is one
	From     string   // "file"
	File     string   // of From "file"
	NotAfter time.Time
}

// New reads the files. Nothing runs before Start. Its error is one line that says
// what would mend it.
func New(cfg Config) (*Source, error) {
	s := &Source{log: cfg.Logger, pairs: cfg.Pairs}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if len(s.pairs) == 0 {
		return nil, errors.New("no certificate was named")
	}
	s.lines = loglimit.New(s.log, 10)
	if err := s.readFiles(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) readFiles() error {
	read := make([]tls.Certificate, 0, len(s.pairs))
	for _, p := range s.pairs {
		cert, err := control.KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			return err
		}
		read = append(read, cert)
	}
	s.files.Store(&read)
	return nil
}

// GetCertificate is for tls.Config: the certificate for the name that a handshake
// asks for, the first one where none fits.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	files := *s.files.Load()
	if len(files) == 1 {
		return &files[0], nil
	}
	for i := range files {
		if hello.SupportsCertificate(&files[i]) == nil {
			return &files[i], nil
		}
	}
	return &files[0], nil
}

// Reload reads the files again. After an error, one line, what was there stays.
func (s *Source) Reload() error {
	err := s.readFiles()
	if err == nil {
		s.warnOfEnds()
	}
	return err
}

// Snapshot returns what certificates there are.
func (s *Source) Snapshot() []Certificate {
	var all []Certificate
	for i, cert := range *s.files.Load() {
		all = append(all, Certificate{Names: namesOf(cert.Leaf), From: "file", File: s.pairs[i].CertFile, NotAfter: cert.Leaf.NotAfter})
	}
	return all
}

func namesOf(leaf *x509.Certificate) []string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Start begins to look after what was read: to say when it ends soon.
func (s *Source) Start() {
	s.warnOfEnds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	// Ends at Close.
	s.daily = time.AfterFunc(warnEvery, s.lookDaily)
}

func (s *Source) lookDaily() {
	s.warnOfEnds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.daily.Reset(warnEvery)
	}
}

// Close ends what Start began, and returns when nothing of it runs any more.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	if s.daily != nil {
		s.daily.Stop()
	}
	s.mu.Unlock()
	s.lines.Close()
}
