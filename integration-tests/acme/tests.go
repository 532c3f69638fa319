//go:build linux

package main

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"
)

// test is one thing that is to work.
type test struct {
	name, about string
	run         func(*lab) error
}

var tests = []test{
	{"tls-alpn", "certificates by TLS-ALPN-01, renewed, and not any more when the token is gone", tlsALPN},
	{"http", "certificates by HTTP-01", http01},
	{"dns", "a certificate for all names below the domain by DNS-01", dns01},
	{"dns-fails", "a program for the DNS that fails is said", dnsFails},
	{"down-start", "the CA is down at the start", downAtStart},
	{"down-renewal", "the CA is down when it is time to renew, and has forgotten all when it is back", downAtRenewal},
	{"stored", "what is in the state folder is shown without the CA", stored},
	{"refused", "names that the CA refuses, or that lead elsewhere, hold up no other", refused},
	{"rate", "the CA has given as many as it does", rateLimit},
	{"wrong-root", "the CA shows a certificate of an authority that is not known", wrongRoot},
	{"two", "two Ps on one state folder ask once", twoPs},
	{"ocsp", "front and control port show that a certificate is not revoked, where the CA says so", stapled},
	{"hand-over", "another process takes over while the CA asks", handOver},
	{"step-ca", "the pair lives by the short certificates of step-ca, and renews them without a gap", ofOnesOwn},
	{"step-ca-away", "a name that leads elsewhere is said, where step-ca leaves it undecided", leadsNowhere},
}

func tlsALPN(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	x, err := l.startP("sesame photos\nother wiki @ home.other.test *.all.test\n", "--domain", "second.test")
	if err != nil {
		return err
	}
	for _, name := range []string{"example.test", "photos.example.test", "wiki.example.test", "second.test", "photos.second.test", "home.other.test"} {
		for _, addr := range []string{l.front, l.control} {
			if err := l.verifies(addr, name); err != nil {
				return err
			}
		}
	}
	if err := l.private(); err != nil {
		return err
	}
	// A stranger's name is shown the domain's, and is no reason to ask.
	if cert, err := shown(l.front, "stranger.example.test"); err != nil || cert.DNSNames[0] != "example.test" {
		return fmt.Errorf("a stranger's name is shown %v, %v; want the domain's", cert, err)
	}
	// So is one that speaks as the CA does, of a name for which nothing is asked.
	conn, err := tls.Dial("tcp", l.front, &tls.Config{ServerName: "stranger.example.test", NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err == nil {
		conn.Close()
		return errors.New("a stranger's challenge is answered")
	}
	first, err := shown(l.front, "photos.example.test")
	if err != nil {
		return err
	}
	if err := await(lifetime, "a renewal of photos.example.test", func() bool {
		now, err := shown(l.front, "photos.example.test")
		return err == nil && now.SerialNumber.Cmp(first.SerialNumber) != 0
	}); err != nil {
		return err
	}
	if err := l.verifies(l.front, "photos.example.test"); err != nil {
		return err
	}
	if _, err := l.write("token", "other wiki @\n"); err != nil {
		return err
	}
	if err := l.signal(x, syscall.SIGHUP); err != nil {
		return err
	}
	if err := await(patience, "the domain's certificate for photos.example.test", func() bool {
		cert, err := shown(l.front, "photos.example.test")
		return err == nil && cert.DNSNames[0] == "example.test"
	}); err != nil {
		return err
	}
	asked := func() int { return strings.Count(l.pebble.Log(), "photos.example.test") }
	before := asked()
	renewed := strings.Count(x.Log(), `"certificate renewed" name=wiki.example.test`)
	if err := x.logged(`"certificate renewed" name=wiki.example.test`, renewed+2); err != nil {
		return err
	}
	if n := asked() - before; n > 0 {
		return fmt.Errorf("the CA heard of photos.example.test %d times more", n)
	}
	if strings.Contains(x.Log(), "level=ERROR") || strings.Contains(x.Log(), "stranger") {
		return errors.New("p's log has lines that it should not")
	}
	return nil
}

func http01(l *lab) error {
	if err := l.startPebble(l.nobody, l.httpAddr, 0); err != nil {
		return err
	}
	if _, err := l.startP("sesame photos\n", "--http", l.httpAddr); err != nil {
		return err
	}
	if err := l.verifies(l.front, "photos.example.test"); err != nil {
		return err
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).
		Get("http://" + l.httpAddr + "/.well-known/acme-challenge/x")
	if err != nil {
		return err
	}
	res.Body.Close()
	if want := "https://127.0.0.1:" + l.front[len("127.0.0.1:"):] + "/.well-known/acme-challenge/x"; res.StatusCode != 308 || res.Header.Get("Location") != want {
		return fmt.Errorf("a challenge of nobody's: got %s to %s, want 308 to %s", res.Status, res.Header.Get("Location"), want)
	}
	return l.verifies(l.control, "example.test")
}

// dnsScript is a program for --acme-dns-exec: it tells the server of names, and keeps
// what it was called with.
const dnsScript = `#!/bin/sh
echo "$*" >>%[1]s/calls
env | grep -q '^SPDY_PROXY_' && echo env >>%[1]s/calls
case $1 in
present) exec curl -fsS -d "{\"host\":\"$2.\",\"value\":\"$3\"}" http://%[2]s/set-txt ;;
cleanup) exec curl -fsS -d "{\"host\":\"$2.\"}" http://%[2]s/clear-txt ;;
esac
`

func dns01(l *lab) error {
	if err := l.startPebble(l.nobody, l.nobody, 0); err != nil {
		return err
	}
	program, err := l.write("dns", fmt.Sprintf(dnsScript, l.dir, l.namesManage))
	if err != nil {
		return err
	}
	x, err := l.startP("sesame photos *\n", "--acme-dns-exec", program)
	if err != nil {
		return err
	}
	for _, name := range []string{"example.test", "photos.example.test", "anything.example.test"} {
		if err := l.verifies(l.front, name); err != nil {
			return err
		}
	}
	if n := l.issued(); n != 2 {
		return fmt.Errorf("the CA gave %d certificates, want 2", n)
	}
	calls, err := os.ReadFile(l.path("calls"))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
	for i, line := range lines {
		want := []string{"present _acme-challenge.example.test ", "cleanup _acme-challenge.example.test "}[i%2]
		if !strings.HasPrefix(line, want) || len(strings.Fields(line)) != 3 {
			return fmt.Errorf("the program was called with %q, want %q and a value", line, want)
		}
	}
	if strings.Contains(x.Log(), "level=ERROR") || len(lines) < 4 {
		return fmt.Errorf("%d calls", len(lines))
	}
	return nil
}

func dnsFails(l *lab) error {
	if err := l.startPebble(l.nobody, l.nobody, 0); err != nil {
		return err
	}
	program, err := l.write("dns", "#!/bin/sh\necho first >&2\necho 'no such zone' >&2\nexit 3\n")
	if err != nil {
		return err
	}
	x, err := l.startP("sesame photos\n", "--acme-dns-exec", program)
	if err != nil {
		return err
	}
	return x.logged("no certificate: the program "+program+" present _acme-challenge.example.test failed: exit status 3: no such zone", 2)
}

func downAtStart(l *lab) error {
	x, err := l.startP("sesame photos\n")
	if err != nil {
		return err
	}
	if err := x.logged("no certificate: the CA at "+l.directory+" is not reached: connection refused", 2); err != nil {
		return err
	}
	if _, err := shown(l.front, "example.test"); err == nil {
		return errors.New("there is a certificate and no CA")
	}
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	if err := l.signal(x, syscall.SIGHUP); err != nil {
		return err
	}
	return l.verifies(l.front, "photos.example.test")
}

func downAtRenewal(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	x, err := l.startP("sesame @\n")
	if err != nil {
		return err
	}
	if err := l.verifies(l.front, "example.test"); err != nil {
		return err
	}
	l.pebble.Stop()
	if err := x.logged("certificate not renewed, the old one is shown: the CA at "+l.directory+" is not reached", 1); err != nil {
		return err
	}
	if cert, err := shown(l.front, "example.test"); err != nil || cert.NotAfter.Before(time.Now()) {
		return fmt.Errorf("the old one is not shown: %v", err)
	}
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	// At the first try it hears that its account is gone, and makes another one.
	for range 2 {
		before := strings.Count(x.Log(), "name=example.test")
		if err := l.signal(x, syscall.SIGHUP); err != nil {
			return err
		}
		if err := x.logged("name=example.test", before+1); err != nil {
			return err
		}
	}
	return l.verifies(l.front, "example.test")
}

func stored(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	x, err := l.startP("sesame photos\n")
	if err != nil {
		return err
	}
	for _, name := range []string{"example.test", "photos.example.test"} {
		if err := l.verifies(l.front, name); err != nil {
			return err
		}
	}
	x.Stop()
	l.pebble.Stop()
	if _, err := l.startP("sesame photos\n"); err != nil {
		return err
	}
	for _, name := range []string{"example.test", "photos.example.test"} {
		for _, addr := range []string{l.front, l.control} {
			if cert, err := shown(addr, name); err != nil || cert.DNSNames[0] != name {
				return fmt.Errorf("%s is shown %v, %v", name, cert, err)
			}
		}
	}
	return nil
}

func refused(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 0, "blocked.example.test"); err != nil {
		return err
	}
	// Nobody listens there.
	if err := l.tellNames("add-a", map[string]any{"host": "away.example.test.", "addresses": []string{"127.0.0.2"}}); err != nil {
		return err
	}
	x, err := l.startP("sesame blocked away photos\n")
	if err != nil {
		return err
	}
	if err := l.verifies(l.front, "photos.example.test"); err != nil {
		return err
	}
	for _, part := range []string{
		"this CA gives none for such a name: take another one with --acme-ca, or another name\" name=blocked.example.test",
		"and no other, and port 443, or 80 with --http, must reach it\" name=away.example.test",
	} {
		if err := x.logged(part, 1); err != nil {
			return err
		}
	}
	if err := l.tellNames("clear-a", map[string]any{"host": "away.example.test."}); err != nil {
		return err
	}
	if err := l.signal(x, syscall.SIGHUP); err != nil {
		return err
	}
	return l.verifies(l.front, "away.example.test")
}

func rateLimit(l *lab) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(l.certs, "p.pem"), filepath.Join(l.certs, "p.key"))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", l.directory)
	if err != nil {
		return err
	}
	ca := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Replay-Nonce", "nonce")
		switch r.URL.Path {
		case "/dir":
			at := "https://" + l.directory
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"newNonce":"%[1]s/nonce","newAccount":"%[1]s/account","newOrder":"%[1]s/order"}`, at)
		case "/nonce":
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates already issued","status":429}`)
		}
	}))
	ca.Listener.Close()
	ca.Listener, ca.TLS = ln, &tls.Config{Certificates: []tls.Certificate{cert}}
	ca.StartTLS()
	defer ca.Close()
	x, err := l.startP("sesame photos\n")
	if err != nil {
		return err
	}
	if err := x.logged("the CA says: too many certificates already issued; the CA has given as many as it does for now", 2); err != nil {
		return err
	}
	for line := range strings.Lines(x.Log()) {
		if strings.Contains(line, "too many") && !strings.Contains(line, "again_in=5") && !strings.Contains(line, "again_in=1h") {
			return fmt.Errorf("want an hour's pause: %s", strings.TrimSpace(line))
		}
	}
	return nil
}

func wrongRoot(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	roots, err := l.roots() // pebble's own are for what it gives, not for itself
	if err != nil || roots == nil {
		return err
	}
	x, err := l.startP("sesame @\n", "--acme-ca-root", "")
	if err != nil {
		return err
	}
	return x.logged("no certificate: the CA at --acme-ca shows a certificate of an authority that this machine does not know: name its root with --acme-ca-root", 1)
}

func twoPs(l *lab) error {
	l.life = 24 * time.Hour
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	one := &proxy{front: l.front, control: l.control}
	// The CA comes to 127.0.0.1 alone: the first answers for both.
	_, port, _ := net.SplitHostPort(l.front)
	two := &proxy{front: "127.0.0.3:" + port, control: "127.0.0.3:0"}
	for _, x := range []*proxy{one, two} {
		if err := l.startProxy(x, "sesame photos wiki\n"); err != nil {
			return err
		}
	}
	for _, name := range []string{"example.test", "photos.example.test", "wiki.example.test"} {
		for _, x := range []*proxy{one, two} {
			if err := l.verifies(x.front, name); err != nil {
				return err
			}
		}
	}
	if n := l.issued(); n != 3 {
		return fmt.Errorf("the CA gave %d certificates for three names", n)
	}
	// What one has got anew, the other finds when it looks.
	before, err := shown(two.front, "photos.example.test")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(l.path("state/acme/certificates/" + strings.ReplaceAll(l.directory, ":", "-") + "-dir/photos.example.test")); err != nil {
		return err
	}
	for _, x := range []*proxy{one, two} {
		if err := l.signal(x, syscall.SIGHUP); err != nil {
			return err
		}
		if err := x.logged("certificate renewed", 1); err != nil {
			return err
		}
	}
	a, errA := shown(one.front, "photos.example.test")
	b, errB := shown(two.front, "photos.example.test")
	if err := cmp.Or(errA, errB); err != nil || !a.Equal(b) || a.Equal(before) || l.issued() != 4 {
		return fmt.Errorf("one that is got anew: %v; the CA gave %d certificates", err, l.issued())
	}
	if strings.Contains(one.Log()+two.Log(), "level=ERROR") {
		return errors.New("there are errors in the logs")
	}
	return nil
}

func handOver(l *lab) error {
	if err := l.startPebble(l.front, l.nobody, 4); err != nil {
		return err
	}
	x, err := l.startP("sesame photos\n")
	if err != nil {
		return err
	}
	if err := await(patience, "the CA's thinking", func() bool { return strings.Contains(l.pebble.Log(), "Sleeping for") }); err != nil {
		return err
	}
	x.handedOver = true
	if err := l.signal(x, syscall.SIGUSR2); err != nil {
		return err
	}
	if err := x.logged("another process has taken over", 1); err != nil {
		return err
	}
	for _, name := range []string{"example.test", "photos.example.test"} {
		if err := l.verifies(l.front, name); err != nil {
			return err
		}
	}
	if n := l.issued(); n != 2 || strings.Contains(x.Log(), "level=ERROR") {
		return fmt.Errorf("the CA gave %d certificates for two names, or there are errors", n)
	}
	return nil
}

// stapled has a server that says, in pebble's name, that no certificate is revoked (RFC
// 6960).
func stapled(l *lab) error {
	l.life = 24 * time.Hour
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if err != nil {
			return
		}
		question, err := ocsp.ParseRequest(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		issuer, key, err := l.intermediate()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		now := time.Now()
		answer, err := ocsp.CreateResponse(issuer, issuer, ocsp.Response{
			Status: ocsp.Good, SerialNumber: question.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour),
		}, key)
		if err == nil {
			w.Write(answer)
		}
	}))
	defer server.Close()
	l.ocsp = server.URL
	if err := l.startPebble(l.front, l.nobody, 0); err != nil {
		return err
	}
	x, err := l.startP("sesame photos\n")
	if err != nil {
		return err
	}
	both := func() error {
		for _, addr := range []string{l.front, l.control} {
			for _, name := range []string{"example.test", "photos.example.test"} {
				if err := l.verifies(addr, name); err != nil {
					return err
				}
				conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
				if err != nil {
					return err
				}
				state := conn.ConnectionState()
				conn.Close()
				said, err := ocsp.ParseResponseForCert(state.OCSPResponse, state.PeerCertificates[0], state.PeerCertificates[1])
				if err != nil || said.Status != ocsp.Good {
					return fmt.Errorf("%s for %s: nothing good is stapled: %v", addr, name, err)
				}
			}
		}
		return nil
	}
	if err := both(); err != nil {
		return err
	}
	// What is in the state folder is shown at once, with nobody there.
	x.Stop()
	l.pebble.Stop()
	server.Close()
	if _, err := l.startP("sesame photos\n"); err != nil {
		return err
	}
	conn, err := tls.Dial("tcp", l.front, &tls.Config{ServerName: "photos.example.test", InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	if len(conn.ConnectionState().OCSPResponse) == 0 {
		return errors.New("after another start nothing is stapled")
	}
	return nil
}

// intermediate returns what pebble signs with.
func (l *lab) intermediate() (*x509.Certificate, crypto.Signer, error) {
	var found [2][]byte
	for i, path := range []string{"/intermediates/0", "/intermediate-keys/0"} {
		text, err := l.shows(path)
		if err != nil {
			return nil, nil, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, nil, fmt.Errorf("pebble shows nothing at %s", path)
		}
		found[i] = block.Bytes
	}
	cert, err := x509.ParseCertificate(found[0])
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS1PrivateKey(found[1])
	if err != nil {
		return nil, nil, err
	}
	return cert, key, nil
}
