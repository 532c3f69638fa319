package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// ownHost as Config.ToHost is the host of Config.To.
const ownHost = "-"

// particular takes over what cfg says of a service that wants a host of its own, or
// has a certificate of its own, and returns what TLS to it is.
func (s *service) particular(cfg Config) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	switch host := cfg.ToHost; host {
	case "":
	case ownHost:
		s.host = s.target.Host
	default:
		u, err := url.Parse("http://" + host)
		if err != nil || u.Host != host || u.Hostname() == "" {
			return nil, fmt.Errorf("--to-host %q: give a host that the service knows, HOST or HOST:PORT, or - for that of --to", host)
		}
		s.host = host
		// It is one with the Host header: a server with several certificates goes by
		// this one, and answers 421 where the two differ.
		conf.ServerName = u.Hostname()
	}
	if s.ca != "" && s.target.Scheme != "https" {
		return nil, fmt.Errorf("--to-ca goes with a service that is https, and --to is %s: leave it out", cfg.To)
	}
	return conf, s.loadCA()
}

// loadCA reads the file of the service's CA, if there is one. After an error the CA that
// was read before stays.
func (s *service) loadCA() error {
	if s.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return fmt.Errorf("--to-ca %q cannot be read: %w", s.ca, reason(err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--to-ca %q: there is no certificate in PEM form in it", s.ca)
	}
	s.roots.Store(roots)
	return nil
}

// tlsConfig is what TLS to the service is now, for one connection.
func (s *service) tlsConfig() *tls.Config {
	conf := s.transport.TLSClientConfig.Clone()
	conf.RootCAs = s.roots.Load()
	return conf
}

// mendCertificate says what would have the service's certificate accepted, which was
// refused with err.
func (s *service) mendCertificate(err error) string {
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		names := slices.Clone(wrong.Certificate.DNSNames)
		for _, ip := range wrong.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) == 0 {
			return "its certificate bears no name; it needs one that does"
		}
		return fmt.Sprintf("its certificate is for %.200s: give --to-host with one of its names", strings.Join(names, ", "))
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		return "its certificate has run out, or the clock is wrong: it needs a new one"
	}
	if s.ca != "" {
		return "its certificate is not of the CA in --to-ca: name the file of the one that has signed it"
	}
	return "its certificate is of no CA that this system trusts: name the CA's file with --to-ca, or the certificate's, if it has signed itself"
}

// mendLocation has a redirect that the service makes of the host that it was given
// lead to the one that the visitor knows.
func (s *service) mendLocation(h http.Header, r *http.Request) {
	location, host := h["Location"], seenHost(r)
	if s.host == "" || s.host == host || len(location) != 1 {
		return
	}
	for _, scheme := range []string{"http://", "https://"} {
		rest, ok := strings.CutPrefix(location[0], scheme+s.host)
		if ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
			proto := "http"
			if r.Header.Get("X-Forwarded-Proto") == "https" {
				proto = "https"
			}
			h["Location"] = []string{proto + "://" + host + rest}
			return
		}
	}
}

// maxHostLook is how much of an answer is looked at for what it says of the host.
const maxHostLook = 2 << 10

// lookForHost looks, while the answer is passed on, whether it refuses the visitor's
// host, as development servers do with what they do not know: a page of some other
// site must not reach them by a name of its own. What it returns says so.
func (s *service) lookForHost(r *http.Request, resp *http.Response) (refused func()) {
	code := resp.StatusCode
	if s.host != "" || code != http.StatusMisdirectedRequest && code != http.StatusForbidden && code != http.StatusBadRequest {
		return func() {}
	}
	b := &beginning{ReadCloser: resp.Body}
	if resp.Body != http.NoBody {
		resp.Body = b
	}
	return func() {
		if code != http.StatusMisdirectedRequest && !refusesHost(b.text, r.Host) {
			return
		}
		s.limit.Log("host", slog.LevelWarn, "the service refuses the visitors' host: give it its own with --to-host -, or one that it knows with --to-host HOST",
			slog.String("host", r.Host), slog.Int("status", code))
	}
}

// refusesHost reports whether a text speaks of a host as wrong: it names it, or the
// header that it came in. A web server's name beneath its every error is not that.
func refusesHost(text []byte, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	lower := bytes.ToLower(text)
	rest := bytes.ReplaceAll(lower, bytes.ToLower([]byte(host)), nil)
	return bytes.Contains(rest, []byte("host header")) || len(rest) < len(lower) && bytes.Contains(rest, []byte("host"))
}

// beginning keeps the first bytes of a body that is read.
type beginning struct {
	io.ReadCloser
	text []byte
}

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.text = append(b.text, p[:min(n, maxHostLook-len(b.text))]...)
	return n, err
}
