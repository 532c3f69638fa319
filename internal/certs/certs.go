// Package certs is where P's certificates come from: files, or a certificate
// authority that speaks ACME (RFC 8555), which [ACME] asks for one for each name
// that P is to have. The front port and the control port share one [Source], and a
// handshake is answered with the certificate that fits the name it asks for.
//
// A name is asked for because the operator, a token or a connected origin has it,
// never because a stranger's handshake names it.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// Pair names the two files of a certificate, in PEM; the certificate with its
// chain.
type Pair struct{ CertFile, KeyFile string }

// Config says where certificates come from: Pairs, or ACME, or both.
type Config struct {
	Pairs  []Pair
	ACME   *ACME        // nil: none
	Logger *slog.Logger // nil: nothing is logged

	// Others returns certificates of files that are read and shown elsewhere: when they
	// end is told of with the rest. New does not call it. Nil: there are none.
	Others func() []Certificate
}

// Source has the certificates. Make one with New. Its methods may be called at
// once.
type Source struct {
	// Fixed by New.
	log     *slog.Logger
	lines   *loglimit.Logger
	pairs   []Pair
	others  func() []Certificate // see Config
	manager *manager             // nil without ACME

	files atomic.Pointer[read] // of pairs, as they were read last

	mu sync.Mutex
	// Guarded by mu.
	timer  *time.Timer // of the next look at what ends; nil before Start
	closed bool
}

// Certificate is one that a Source has, or should have.
type Certificate struct {
	Names    []string  // that it is for; "*.example.org" is one
	From     string    // "file" or "acme"
	File     string    // of From "file"
	NotAfter time.Time // zero: there is none yet
	RenewBy  time.Time // when it should have been renewed; zero: there is none, or it is wanted no more
	Err      error     // why it could not be got, or renewed, at the last try; nil: nothing was wrong
	NextTry  time.Time // with Err
}

// errNone is what a handshake fails with.
var errNone = errors.New("there is no certificate yet: the log says why")

// New reads the files, and looks that the state folder can be written. Nothing runs
// before Start, and nothing goes out to the network. Its error is one line that says
// what would mend it.
func New(cfg Config) (*Source, error) {
	s := &Source{log: cfg.Logger, pairs: cfg.Pairs, others: cfg.Others}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.lines = loglimit.New(s.log, 10)
	if len(s.pairs) == 0 && cfg.ACME == nil {
		return nil, errors.New("no certificate was named")
	}
	if err := s.readFiles(); err != nil {
		if cfg.ACME != nil {
			err = BesideACME(err)
		}
		return nil, err
	}
	if cfg.ACME != nil {
		ca, err := cfg.ACME.authority(s.lines)
		if err != nil {
			return nil, err
		}
		s.manager = newManager(cfg.ACME, ca, s.log, s.lines)
	}
	return s, nil
}

// BesideACME returns what is wrong with files that are named though ACME needs none, and
// what else would mend it.
func BesideACME(err error) error {
	return fmt.Errorf("%w; or leave cert and key out, since --acme-email needs neither", err)
}

// TakeStored takes what the state folder has for the names of now, so that it is shown
// before anybody is asked for more. Call it before Start.
func (s *Source) TakeStored() {
	if s.manager != nil {
		s.manager.takeStored()
	}
}

func (s *Source) readFiles() error {
	certs := make([]tls.Certificate, 0, len(s.pairs))
	for _, p := range s.pairs {
		cert, err := control.KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			return err
		}
		certs = append(certs, cert)
	}
	names := make(map[string]bool)
	for _, cert := range certs {
		for _, name := range namesOf(cert.Leaf) {
			names[strings.ToLower(strings.TrimSuffix(name, "."))] = true
		}
	}
	s.files.Store(&read{certs, names})
	return nil
}

// read are the certificates of files. They do not change.
type read struct {
	certs []tls.Certificate
	names map[string]bool // that they are for, "*.example.org" among them
}

// GetCertificate is for tls.Config: the certificate for the name that a handshake
// asks for. Where there is none it is the first that there is: of the files, else of
// the domain.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	files := s.files.Load().certs
	if s.manager == nil && len(files) == 1 {
		return &files[0], nil
	}
	if s.manager != nil {
		if cert := s.manager.fitting(hello.ServerName); cert != nil {
			return cert, nil
		}
	}
	for i := range files {
		if hello.SupportsCertificate(&files[i]) == nil {
			return &files[i], nil
		}
	}
	if len(files) > 0 {
		return &files[0], nil
	}
	if s.manager != nil {
		if cert := s.manager.ofDomain(); cert != nil {
			return cert, nil
		}
	}
	return nil, errNone
}

// Lacks reports whether no certificate is for a host, and none will be: what ACME is
// asked for is as good as there.
func (s *Source) Lacks(host string) bool {
	if s.manager != nil {
		return false
	}
	// Asked of ten thousand hosts, each second or two: not each certificate is looked at.
	names := s.files.Load().names
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	return !names[host] && !names["*."+parent]
}

// Reload reads the files again, and has all names looked at, those that failed, too.
// After an error, one line, what was there stays.
func (s *Source) Reload() error {
	err := s.readFiles()
	if err == nil {
		s.look()
	}
	if s.manager != nil {
		s.manager.again()
	}
	return err
}

// Changed says that there may be other names now.
func (s *Source) Changed() {
	if s.manager != nil {
		s.manager.changed()
	}
}

// Snapshot returns what certificates there are, and should be: those of files
// first.
func (s *Source) Snapshot() []Certificate {
	all := s.ofFiles()
	if s.manager != nil {
		all = append(all, s.manager.snapshot()...)
	}
	return all
}

// ofFiles returns the certificates of files, the others' last.
func (s *Source) ofFiles() (list []Certificate) {
	for i, cert := range s.files.Load().certs {
		list = append(list, OfFile(s.pairs[i].CertFile, namesOf(cert.Leaf), cert.Leaf))
	}
	if s.others != nil {
		list = append(list, s.others()...)
	}
	return list
}

// OfFile returns what there is to know of a certificate that a file holds.
func OfFile(file string, names []string, leaf *x509.Certificate) Certificate {
	return Certificate{Names: names, From: "file", File: file, NotAfter: leaf.NotAfter, RenewBy: renewBy(leaf)}
}

func namesOf(leaf *x509.Certificate) []string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Start begins to look after what was read: to say when it ends soon, and with ACME
// to ask for what is not there. Call it when the ports listen.
func (s *Source) Start(ports Ports) {
	s.warnOfEnds()
	next := s.nextLook()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	// Ends at Close.
	s.timer = time.AfterFunc(next, s.look)
	if s.manager != nil {
		s.manager.start(ports)
	}
}

// look says what ends, and when the next look is.
func (s *Source) look() {
	s.warnOfEnds()
	next := s.nextLook()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && !s.closed {
		s.timer.Reset(next)
	}
}

// Stop has nothing more asked for. What is under way goes on until Close.
func (s *Source) Stop() {
	if s.manager != nil {
		s.manager.stop()
	}
}

// Finish is Stop, and returns when what is under way has ended, or with ctx.
func (s *Source) Finish(ctx context.Context) {
	if s.manager != nil {
		s.manager.finish(ctx)
	}
}

// Close ends what Start began, and returns when nothing of it runs any more.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	if s.manager != nil {
		s.manager.close()
	}
	s.lines.Close()
}
