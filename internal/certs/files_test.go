package certs

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// shown does a handshake, and returns the names in the certificate that it shows.
func shown(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error), name string) (string, error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	// Ends with the handshake.
	go tls.Server(there, &tls.Config{GetCertificate: get}).Handshake()
	client := tls.Client(here, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		return "", err
	}
	return strings.Join(client.ConnectionState().PeerCertificates[0].DNSNames, " "), nil
}

func wantShown(t *testing.T, s *Source, name, want string) {
	t.Helper()
	if got, err := shown(t, s.GetCertificate, name); err != nil || got != want {
		t.Errorf("%q: got the certificate of %q, %v; want that of %q", name, got, err, want)
	}
}

func pair(t *testing.T, ca *controltest.CA, dir, name string, hosts ...string) Pair {
	t.Helper()
	certFile, keyFile := controltest.Write(t, ca.Issue(t, hosts...), dir, name)
	return Pair{certFile, keyFile}
}

// The certificate is the one for the name that is asked for, the first where none
// is; a bad file changes nothing.
func TestFiles(t *testing.T) {
	ca, dir := controltest.NewCA(t), t.TempDir()
	pairs := []Pair{
		pair(t, ca, dir, "a", "example.test"), pair(t, ca, dir, "b", "*.example.test"), pair(t, ca, dir, "c", "other.test", "192.0.2.1"),
	}
	s, err := New(Config{Pairs: pairs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	look := func(other string) {
		t.Helper()
		wantShown(t, s, "example.test", "example.test")
		wantShown(t, s, "x.example.test", "*.example.test")
		wantShown(t, s, "other.test", other)
		wantShown(t, s, "stranger.test", "example.test")
		wantShown(t, s, "", "example.test")
	}
	look("other.test")
	var names []string
	for _, c := range s.Snapshot() {
		names = append(names, c.Names...)
		if c.From != "file" || c.File == "" || c.NotAfter.Year() != 2099 {
			t.Errorf("got %+v", c)
		}
	}
	if want := []string{"example.test", "*.example.test", "other.test", "192.0.2.1"}; !slices.Equal(names, want) {
		t.Errorf("the names are %q, want %q", names, want)
	}

	pair(t, ca, dir, "c", "other.test", "more.test")
	good, err := os.ReadFile(pairs[0].KeyFile)
	if err == nil {
		err = os.WriteFile(pairs[0].KeyFile, []byte("junk"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), pairs[0].KeyFile) || strings.Contains(err.Error(), "\n") {
		t.Errorf("with a bad file: got %v, want one line that names it", err)
	}
	look("other.test")
	if err := os.WriteFile(pairs[0].KeyFile, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	look("other.test more.test")
}

func TestFilesThatAreNot(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, c := range []struct {
		pairs []Pair
		want  string
	}{{nil, "certificate"}, {[]Pair{{missing, missing}}, missing}} {
		if _, err := New(Config{Pairs: c.pairs}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want one line with %q", c.pairs, err, c.want)
		}
	}
}

// A certificate that ends within 14 days is said, when it is read, when those begin, and once a day.
func TestDaysLeft(t *testing.T) {
	ca, dir := controltest.NewCA(t), t.TempDir()
	p := pair(t, ca, dir, "p", "example.test")
	synctest.Test(t, func(t *testing.T) {
		var log testlog.Buffer
		s, err := New(Config{Pairs: []Pair{p}, Logger: log.Logger(slog.LevelInfo)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		end := s.Snapshot()[0].NotAfter
		s.Start(Ports{})
		time.Sleep(time.Until(end) - warnBefore - time.Minute)
		if n := log.Count("level=WARN"); n != 0 {
			t.Errorf("%d warnings before the last 14 days", n)
		}
		time.Sleep(24 * time.Hour)
		if n := log.Count("certificate ends in 14 days: put a new one in its place and send SIGHUP"); n != 1 {
			t.Errorf("%d warnings of 14 days, want one:\n%s", n, log.String())
		}
		time.Sleep(20 * 24 * time.Hour)
		if n := log.Count("ends in"); n != 14 || log.Count("ends in 24 hours") != 1 || log.Count("has ended") != 7 {
			t.Errorf("%d warnings in 14 days:\n%s", n, log.String())
		}
	})
}

// Lacks says of each host what its browser would, however many certificates there are.
func TestLacks(t *testing.T) {
	ca, dir := controltest.NewCA(t), t.TempDir()
	s, err := New(Config{Pairs: []Pair{
		pair(t, ca, dir, "a", "example.test"), pair(t, ca, dir, "b", "*.Example.test", "sub.other.test"), pair(t, ca, dir, "c", "192.0.2.1", "2001:db8::1"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, host := range []string{
		"example.test", "EXAMPLE.test", "example.test.", "x.example.test", "X.Example.Test", "x.y.example.test", "xexample.test", "test", "",
		"sub.other.test", "x.sub.other.test", "other.test", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2",
	} {
		want := !slices.ContainsFunc(s.files.Load().certs, func(c tls.Certificate) bool { return c.Leaf.VerifyHostname(host) == nil })
		if got := s.Lacks(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

// BenchmarkLacks asks, beside fifty certificates, of a host that the last one is for.
func BenchmarkLacks(b *testing.B) {
	ca, dir := controltest.NewCA(b), b.TempDir()
	var pairs []Pair
	for i := range 50 {
		certFile, keyFile := controltest.Write(b, ca.Issue(b, fmt.Sprintf("*.%d.example.test", i)), dir, fmt.Sprint(i))
		pairs = append(pairs, Pair{certFile, keyFile})
	}
	s, err := New(Config{Pairs: pairs})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		s.Lacks("photos.49.example.test")
	}
}
