package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
)

// ends are the flags of the two ends of h2 and hop.
type ends struct {
	front, control, root, certs string
}

func parseEnds(args []string) (e ends, err error) {
	flags := pflag.NewFlagSet("end", pflag.ContinueOnError)
	flags.StringVar(&e.front, "front", "", "")
	flags.StringVar(&e.control, "control", "", "")
	flags.StringVar(&e.root, "root", "", "")
	flags.StringVar(&e.certs, "certs", "", "")
	return e, flags.Parse(args)
}

// serverTLS and clientTLS are as anybody would have them: Go's defaults, and the
// certificates that p and c have.
func (e ends) serverTLS() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(e.certs, "p.pem"), filepath.Join(e.certs, "p.key"))
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
}

func (e ends) clientTLS() (*tls.Config, error) {
	pem, err := os.ReadFile(filepath.Join(e.certs, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s/ca.pem", e.certs)
	}
	return &tls.Config{RootCAs: pool}, nil
}

// origin serves a folder, and reads what is posted.
func origin(root string) http.Handler {
	files := http.FileServer(http.Dir(root))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			receive(w, r)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// receive reads a body to its end and answers what it was.
func receive(w http.ResponseWriter, r *http.Request) {
	digest := sha256.New()
	n, err := io.Copy(digest, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Received-Length", strconv.FormatInt(n, 10))
	w.Header().Set("X-Received-Digest", digestField(digest.Sum(nil)))
	io.WriteString(w, "received\n")
}

// sink is the part that takes uploads behind nginx, which cannot by itself.
func sink(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	e, err := parseEnds(args)
	if err != nil {
		return err
	}
	return serveHTTP(ctx, e.front, http.HandlerFunc(receive))
}

// serveHTTP is net/http on a plain port, until ctx ends.
func serveHTTP(ctx context.Context, addr string, h http.Handler) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	return http.Serve(ln, h)
}
