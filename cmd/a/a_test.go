package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli/clitest"
)

// call runs the program as a user does.
func call(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(ctx, args, &out, &err)
	return status, out.String(), err.String()
}

// A real socket: the program dials one.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestFetch(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(body) })

	status, stdout, stderr := call(t.Context(), "--rate", "100000000", url)
	if status != 0 || stdout != string(body) || stderr != "a: 65536 bytes received\n" {
		t.Errorf("got status %d, %d bytes, stderr %q; want 0, %d bytes, and their number", status, len(stdout), stderr, len(body))
	}

	file := filepath.Join(t.TempDir(), "out")
	status, stdout, stderr = call(t.Context(), "--rate", "100000000", "-o", file, url)
	got, err := os.ReadFile(file)
	if status != 0 || stdout != "" || err != nil || !bytes.Equal(got, body) {
		t.Errorf("-o: got status %d, stdout %q, %d bytes in the file, %v, stderr %q; want 0 and the %d bytes in the file", status, stdout, len(got), err, stderr, len(body))
	}
}

func TestExitStatus(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			w.Header().Set("Content-Length", "1000")
			w.Write(make([]byte, 400))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/short-chunked":
			w.Write(make([]byte, 400))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/503":
			http.Error(w, "the origin is not connected", http.StatusServiceUnavailable)
		}
	})
	nobody := httptest.NewServer(nil)
	nobody.Close()
	for _, test := range []struct {
		name   string
		args   []string
		status int
		stderr string // contained in its one line
	}{
		{"cut short", []string{url + "/short"}, 1, "cut short, 400 of 1000 bytes received"},
		{"cut short, chunked", []string{url + "/short-chunked"}, 1, "cut short, 400 bytes received"},
		{"refused", []string{url + "/503"}, 1, "the answer is 503 Service Unavailable: the origin is not connected"},
		{"nobody there", []string{nobody.URL}, 1, "refused"},
		{"not a URL", []string{"sample.avi"}, 2, `"sample.avi" is not a URL like`},
		{"another scheme", []string{"ftp://localhost/x"}, 2, "is not a URL like"},
		{"two URLs", []string{url, url}, 2, "one URL"},
		{"no rate", []string{"--rate", "0", url}, 2, "--rate 0: at least 1 byte a second"},
		{"bad rate", []string{"--rate", "fast", url}, 2, "--rate"},
		{"unknown flag", []string{"--fast"}, 2, "--fast"},
		{"bad file", []string{"-o", filepath.Join(t.TempDir(), "none", "x"), url}, 2, "-o: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, stderr := call(t.Context(), test.args...)
			if status != test.status || !strings.Contains(stderr, test.stderr) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got status %d and stderr %q; want %d and one line with %q", status, stderr, test.status, test.stderr)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for flag, want := range map[string]string{"-h": "--rate BYTES/S", "--help": "-o, --output FILE", "--version": "a "} {
		if status, stdout, stderr := call(t.Context(), flag); status != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: got status %d, stdout %q, stderr %q; want 0 and %q on stdout", flag, status, stdout, stderr, want)
		}
	}
}

func TestHelpFits(t *testing.T) { clitest.HelpFits(t, run) }

func TestStopOnRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 10))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	out := &watched{first: make(chan struct{})}
	var stderr bytes.Buffer
	stop := context.AfterFunc(t.Context(), cancel)
	defer stop()
	go func() { // ends at the first byte; out.first is closed before run returns
		<-out.first
		cancel()
	}()
	if status := run(ctx, []string{url}, out, &stderr); status != 0 || stderr.String() != "a: 10 bytes received\n" {
		t.Errorf("got status %d, stderr %q; want 0 and 10 bytes", status, &stderr)
	}
}

type watched struct{ first chan struct{} }

func (w *watched) Write(p []byte) (int, error) {
	close(w.first)
	return len(p), nil
}

func TestSlowCopyRate(t *testing.T) {
	for _, test := range []struct {
		length, rate int64
		want         time.Duration // until the end was seen
	}{
		{65536, 16384, 4 * time.Second},
		{5, 1, 5 * time.Second},
		{10 << 20, 1 << 20, 10 * time.Second},
		{0, 16384, 0},
	} {
		t.Run(fmt.Sprint(test.length, " at ", test.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				n, err := slowCopy(t.Context(), io.Discard, io.LimitReader(zeros{}, test.length), test.rate)
				if n != test.length || err != nil {
					t.Fatalf("got %d, %v; want %d bytes", n, err, test.length)
				}
				if got := time.Since(begin); got < test.want || got > test.want+test.want/100 {
					t.Errorf("took %v; want %v", got, test.want)
				}
			})
		})
	}
}

// After a stall of its source a reader that caught up would be a fast reader.
func TestSlowCopyDoesNotCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		src := io.MultiReader(io.LimitReader(zeros{}, 1000), stall(time.Hour), io.LimitReader(zeros{}, 10000))
		if n, err := slowCopy(t.Context(), io.Discard, src, 1000); n != 11000 || err != nil {
			t.Fatalf("got %d, %v; want 11000 bytes", n, err)
		}
		// A second's worth may come at once.
		if got, want := time.Since(begin), time.Hour+10*time.Second; got < want {
			t.Errorf("took %v; want at least %v", got, want)
		}
	})
}

func TestSlowCopyErrors(t *testing.T) {
	broken := errors.New("broken")
	if n, err := slowCopy(t.Context(), io.Discard, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 1<<20); n != 3 || err != broken {
		t.Errorf("source: got %d, %v; want 3, %v", n, err, broken)
	}
	pr, pw := io.Pipe()
	pr.CloseWithError(broken)
	n, err := slowCopy(t.Context(), pw, zeros{}, 1<<20)
	var w *writeError
	if n != 0 || !errors.As(err, &w) || !errors.Is(err, broken) {
		t.Errorf("destination: got %d, %v; want 0 and a writeError of %v", n, err, broken)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// stall is a reader that ends after a while.
type stall time.Duration

func (s stall) Read([]byte) (int, error) {
	<-time.After(time.Duration(s))
	return 0, io.EOF
}
