//go:build unix

package certs

import (
	"context"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

var challenge = acme.Challenge{
	Type: acme.ChallengeTypeDNS01, Identifier: acme.Identifier{Type: "dns", Value: "example.test"}, KeyAuthorization: "key",
}

// program writes a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dns")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// The program gets what to do, the record's name and its value, and none of our
// secrets.
func TestProgram(t *testing.T) {
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	path := script(t, `{ echo "$*"; env; } >>"$0.log"`)
	d := dnsProgram{t.Context(), path, zap.NewNop()}
	if err := d.Present(t.Context(), challenge); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.CleanUp(over, challenge); err != nil {
		t.Errorf("clean-up after the end: %v", err)
	}
	b, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	value := challenge.DNS01KeyAuthorization()
	for _, want := range []string{"present _acme-challenge.example.test " + value, "cleanup _acme-challenge.example.test " + value, "PATH="} {
		if !strings.Contains(string(b), want+"\n") && want != "PATH=" || !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %q", b, want)
		}
	}
	if strings.Contains(string(b), "sesame") {
		t.Error("the program is told a token")
	}
}

// How it fails is one line, however much it says, and it holds nothing up.
func TestProgramFails(t *testing.T) {
	for text, want := range map[string]string{
		"echo first >&2; echo last words >&2; exit 4": "failed: exit status 4: last words",
		"yes | head -c 100000 >&2; exit 1":            "failed: exit status 1: y",
		"kill -9 $$":                                  "failed: signal: killed",
		"printf '\\033[31mred\\n' >&2; exit 1":        "failed: exit status 1: [31mred",
	} {
		err := dnsProgram{t.Context(), script(t, text), zap.NewNop()}.Present(t.Context(), challenge)
		p := problemOf(err)
		if p.kind != program || !strings.HasSuffix(p.words, want) || strings.ContainsAny(p.words, "\n\x1b") {
			t.Errorf("%s: got %+v, want %q", text, p, want)
		}
	}
	err := dnsProgram{t.Context(), filepath.Join(t.TempDir(), "missing"), zap.NewNop()}.Present(t.Context(), challenge)
	if p := problemOf(err); p.kind != program || !strings.Contains(p.words, "not a program") {
		t.Errorf("got %+v", p)
	}

	// One that does not end is ended with P, and soon where it is to clean up.
	base, stop := context.WithCancel(t.Context())
	defer stop()
	path := script(t, `echo $1 >>"$0.log"; exec sleep 100`)
	d := dnsProgram{base, path, zap.NewNop()}
	for i, do := range []func(context.Context, acme.Challenge) error{d.Present, d.CleanUp} {
		ended := make(chan error, 1)
		go func() { ended <- do(base, challenge) }() // ends with base
		for i == 0 {                                 // its file is all that it is seen by
			if _, err := os.Stat(path + ".log"); err == nil {
				break
			}
			<-time.After(time.Millisecond)
		}
		stop()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "p is stopping") {
			t.Errorf("got %v", err)
		}
	}
}

// What certmagic says is for debugging, but for what nobody hears of otherwise; of that
// there are some lines a minute.
func TestZapLines(t *testing.T) {
	var log testlog.Buffer
	lines := loglimit.New(log.Logger(slog.LevelDebug), 2)
	z := zap.New(zapCore{to: lines.Handler()}).With(zap.String("with", "it"))
	z.Info("info", zap.Int("n", 1))
	z.Named("obtain").Error("of a try")
	z.Named("x").Named("acme_client").Error("of a try, too")
	for range 5 {
		z.Warn("warning", zap.Error(os.ErrPermission), zap.Duration("for", time.Second))
	}
	lines.Close()
	for _, want := range []string{
		`level=DEBUG msg="certificates: info" with=it n=1`, `level=DEBUG msg="certificates: of a try" with=it`,
		`level=DEBUG msg="certificates: of a try, too"`, `level=WARN msg="certificates: warning" with=it error="permission denied" for=1s`, "times=3",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("want %s in\n%s", want, log.String())
		}
	}
	if n := log.Count("level=WARN"); n != 3 {
		t.Errorf("%d warnings, want 3:\n%s", n, log.String())
	}
	var quiet testlog.Buffer
	lines = loglimit.New(quiet.Logger(slog.LevelInfo), 2)
	zap.New(zapCore{to: lines.Handler()}).Info("info")
	lines.Close()
	if quiet.String() != "" {
		t.Errorf("got %s", quiet.String())
	}
}

// A lock that somebody has left is for debugging, and not written past the log.
func TestLockLines(t *testing.T) {
	var lines testlog.Buffer
	was, to, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(lines.Logger(slog.LevelDebug))
	defer func() {
		slog.SetDefault(was)
		log.SetOutput(to) // which slog's default goes by, and SetDefault has led elsewhere
		log.SetFlags(flags)
	}()
	dir := t.TempDir()
	m, err := (&ACME{Email: "a@example.test", Domains: []string{"example.test"}, State: dir}).authority(loglimit.New(was, 1))
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, "acme", "locks", "x.lock")
	if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lock, []byte(`{"created":"2020-01-01T00:00:00Z","updated":"2020-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.storage.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	defer m.storage.Unlock(t.Context(), "x")
	if text := lines.String(); !strings.Contains(text, `level=DEBUG msg="certificates: [FileStorage:`) || !strings.Contains(text, "is stale") {
		t.Errorf("the log has\n%s", text)
	}
}

// A folder that cannot be written is said at the start, in one line.
func TestStateThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{ACME: &ACME{Email: "a@example.test", Domains: []string{"example.test"}, State: filepath.Join(file, "state"), Names: func() []Name { return nil }}})
	want := "--state " + filepath.Join(file, "state") + ", where certificates are kept, cannot be written: not a directory; make it a folder of this program's user, or name another"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
