package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
)

const (
	defaultURL = "http://localhost:1443/sample.avi"

	// The system's own receive buffer would take a whole film off the
	// sender's hands. This is about the least that works everywhere.
	receiveBuffer = 8 << 10

	// Reading in tenths of a second keeps the sender's view of the rate smooth.
	readsPerSecond = 10
	maxRead        = 64 << 10

	dialTimeout = 10 * time.Second
	// A proxy may hold a request for its origin, then wait for the origin.
	headerTimeout = 2 * time.Minute
)

// options are what the command line said.
type options struct {
	url    string
	rate   int64  // bytes a second
	output string // file name; empty: standard output
}

// arguments takes what followed the flags, and checks all options.
func (o *options) arguments(args []string) error {
	switch len(args) {
	case 0:
		o.url = defaultURL
	case 1:
		o.url = args[0]
	default:
		return cli.Usagef("one URL at a time, not %d", len(args))
	}
	if u, err := url.Parse(o.url); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return cli.Usagef("%q is not a URL like %s", o.url, defaultURL)
	}
	if o.rate < 1 {
		return cli.Usagef("--rate %d: at least 1 byte a second", o.rate)
	}
	return nil
}

// fetch writes the body of o.url to the file, or to stdout, and returns its
// length. A stop that ctx asks for is no error.
func (o *options) fetch(ctx context.Context, stdout io.Writer) (n int64, err error) {
	transport := newTransport()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return 0, cli.Usage(err)
	}
	req.Header.Set("User-Agent", "spdy-proxy-a")
	resp, err := transport.RoundTrip(req)
	if ctx.Err() != nil {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", o.url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return 0, fmt.Errorf("%s: the answer is %s%s", o.url, resp.Status, reason(resp))
	}

	out := stdout
	if o.output != "" {
		f, err := os.Create(o.output)
		if err != nil {
			return 0, cli.Usagef("-o: %w", err)
		}
		// A full disk may be told of at the end only.
		defer func() {
			if cerr := f.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("-o: %w", cerr)
			}
		}()
		out = f
	}
	n, err = slowCopy(ctx, out, resp.Body, o.rate)
	switch {
	case ctx.Err() != nil:
		return n, nil
	case errors.As(err, new(*writeError)):
		return n, err
	case err != nil && resp.ContentLength >= 0:
		return n, fmt.Errorf("%s: the body was cut short, %d of %d bytes received: %w", o.url, n, resp.ContentLength, err)
	case err != nil:
		return n, fmt.Errorf("%s: the body was cut short, %d bytes received: %w", o.url, n, err)
	}
	return n, nil
}

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			if tcp, ok := c.(*net.TCPConn); ok {
				// Without it we are merely less slow.
				_ = tcp.SetReadBuffer(receiveBuffer)
			}
			return c, nil
		},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		// HTTP/2's own window would read ahead of us.
		ForceAttemptHTTP2:  false,
		DisableCompression: true,
		ReadBufferSize:     4 << 10,
	}
}

// reason returns the first line of a refusal's body, if it is text.
func reason(resp *http.Response) string {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}

// writeError tells a failed write from a failed read.
type writeError struct{ err error }

func (e *writeError) Error() string { return "writing what was received: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// slowCopy copies src to dst at rate bytes a second until src ends, and returns
// how many bytes were written. It reads nothing ahead. It returns ctx's error
// when ctx ends while it waits for its next turn.
func slowCopy(ctx context.Context, dst io.Writer, src io.Reader, rate int64) (int64, error) {
	buf := make([]byte, min(max(rate/readsPerSecond, 1), maxRead))
	begin := time.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	var done int64
	for {
		// The bytes so far are due at a fixed instant, so that pauses do not
		// add up. A stall of more than a second is not made up for: the rate
		// is a ceiling.
		due := begin.Add(time.Duration(float64(done) / float64(rate) * float64(time.Second)))
		if late := time.Since(due); late > time.Second {
			begin = begin.Add(late)
		}
		wait.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return done, ctx.Err()
		case <-wait.C:
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return done, &writeError{werr}
			}
			done += int64(n)
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}
