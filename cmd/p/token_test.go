package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tokens runs "p token" on a file.
func tokens(t *testing.T, file string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), append([]string{"token", "--token-file", file}, args...), &out, &err)
	return status, out.String(), err.String()
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("# mine\nsesame *\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, token, said := tokens(t, file, "add", "photos", "@", "--comment", "in the attic")
	if status != 0 || !regexp.MustCompile(`^[A-Z2-7]{26}\n$`).MatchString(token) || strings.Count(said, "\n") != 1 || !strings.Contains(said, "when it is first used") {
		t.Fatalf("add: status %d, %q, %q", status, token, said)
	}
	text, err := os.ReadFile(file)
	if want := "# mine\nsesame *\n" + strings.TrimSpace(token) + " photos @  # in the attic\n"; err != nil || string(text) != want {
		t.Errorf("the file is\n%s\nwant\n%s", text, want)
	}
	status, list, said := tokens(t, file, "list")
	m := regexp.MustCompile(`^[0-9a-f]{8}  \*\n([0-9a-f]{8})  photos @  # in the attic\n$`).FindStringSubmatch(list)
	if status != 0 || m == nil || said != "" {
		t.Fatalf("list: status %d, %q, %q", status, list, said)
	}
	if status, was, said := tokens(t, file, "remove", "photos"); status != 0 || !strings.Contains(was, m[1]+"  photos @") || !strings.Contains(said, "until SIGHUP") {
		t.Errorf("remove a name: status %d, %q, %q", status, was, said)
	}
	if status, was, _ := tokens(t, file, "remove", m[1]); status != 0 || was != m[1]+"  @  # in the attic\n" {
		t.Errorf("remove a token: status %d, %q", status, was)
	}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"add"}, "names"},
		{[]string{"add", "a_b"}, "a_b"},
		{[]string{"add", "wiki", "photos *"}, `"photos *" is not a name`},
		{[]string{"add", "wiki\nmy-own-token *"}, "is not a name"},
		{[]string{"add", ""}, `"@"`},
		{[]string{"remove"}, "fingerprint"},
		{[]string{"remove", "nobody"}, "nobody"},
		{[]string{"remove", "*"}, "add the next first"},
	} {
		if status, out, said := tokens(t, file, tt.args...); status != 2 || out != "" || strings.Count(said, "\n") != 1 || !strings.Contains(said, tt.says) {
			t.Errorf("%q: status %d, %q, %q; want 2 and %q", tt.args, status, out, said, tt.says)
		}
	}
	if text, _ := os.ReadFile(file); string(text) != "# mine\nsesame *\n" {
		t.Errorf("the file is\n%s", text)
	}
}

// A name goes from all tokens that have it, in whichever way it is written there.
func TestTokenRemoveByHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	const text = "aaaa photos films\nbbbb Photos.example.org photos.example.com\ncccc photos.example.net\n"
	for _, name := range []string{"photos", "PHOTOS", "photos.example.org"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, said := tokens(t, file, "remove", name, "--domain", "example.org,example.com")
		if got, err := os.ReadFile(file); status != 0 || err != nil || string(got) != "aaaa films\ncccc photos.example.net\n" {
			t.Errorf("remove %s: status %d, %q, and there is left:\n%s", name, status, said, got)
		}
	}
}

// Who forgot where p's file is named hears of --config.
func TestTokenFileElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "certs", "token")
	for _, args := range [][]string{{"list"}, {"add", "photos"}, {"remove", "photos"}} {
		status, _, said := tokens(t, file, args...)
		if status != 2 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "--token-file") || !strings.Contains(said, "--config") {
			t.Errorf("%q: status %d, %q; want 2, and the flags in a line", args, status, said)
		}
	}
}

// A p whose id is known is told.
func TestTokenTellsTheRunningP(t *testing.T) {
	dir := t.TempDir()
	file, pidFile := filepath.Join(dir, "token"), filepath.Join(dir, "pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	defer signal.Stop(told)
	status, _, said := tokens(t, file, "add", "photos", "--pid-file", pidFile)
	if status != 0 || !strings.Contains(said, "reads it now") {
		t.Errorf("status %d, %q", status, said)
	}
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Error("no SIGHUP came")
	}
	if status, _, said := tokens(t, file, "add", "films", "--pid-file", pidFile+".none"); status != 0 || !strings.Contains(said, "reads it when it starts") {
		t.Errorf("of a p that does not run yet: status %d, %q", status, said)
	}
	over := exec.Command(os.Args[0], "-test.run=^$")
	if err := over.Run(); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(pidFile, []byte(strconv.Itoa(over.Process.Pid)), 0o600)
	if status, _, said := tokens(t, file, "add", "blog", "--pid-file", pidFile); status != 0 || !strings.Contains(said, "which has ended") {
		t.Errorf("of a p that was killed: status %d, %q", status, said)
	}
	os.WriteFile(pidFile, []byte("-1"), 0o600)
	if status, _, said := tokens(t, file, "add", "wiki", "--pid-file", pidFile); status != 0 || !strings.Contains(said, "could not be sent") {
		t.Errorf("status %d, %q", status, said)
	}
}

// Root signals no process that is not that of who wrote its id.
func TestTokenTellsNobodyElse(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can give a file away, and only on Linux it is looked at")
	}
	dir := t.TempDir()
	file, pidFile := filepath.Join(dir, "token"), filepath.Join(dir, "pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(pidFile, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "mine"), []byte(strconv.Itoa(os.Getpid())), 0o600), os.Symlink("mine", link), os.Lchown(link, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	defer signal.Stop(told)
	for _, of := range []string{pidFile, link} {
		if status, _, said := tokens(t, file, "add", "photos", "--pid-file", of); status != 0 || !strings.Contains(said, "could not be sent") || len(told) > 0 {
			t.Errorf("%s: status %d, %q, %d signals; want 0 and none", of, status, said, len(told))
		}
	}
}
