package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// call runs the program as make does, in dir.
func call(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), append([]string{
		"--certs", filepath.Join(dir, "certs"),
		"--media", filepath.Join(dir, "media"),
		"--testdata", filepath.Join(dir, "testdata"),
	}, args...), &out, &err)
	return status, out.String(), err.String()
}

// place returns a folder with two sample files in it.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "media", "README.md"), "the recipe")
	write(t, filepath.Join(dir, "media", "image.jpg"), "a picture")
	write(t, filepath.Join(dir, "media", "sample.mp4"), "a film")
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree returns the files under dir and their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func names(files map[string]string) map[string]bool {
	set := map[string]bool{}
	for name := range files {
		set[name] = true
	}
	return set
}

func TestMakesWhatIsMissing(t *testing.T) {
	dir := place(t)
	status, stdout, stderr := call(t, dir)
	if status != 0 || stderr != "" {
		t.Fatalf("got status %d, stderr %q; want 0 and silence", status, stderr)
	}
	made := tree(t, dir)
	for _, name := range []string{
		"certs/ca.pem", "certs/ca.key", "certs/p.pem", "certs/p.key", "certs/token",
		"testdata/image.jpg", "testdata/sample.mp4",
	} {
		if made[name] == "" {
			t.Errorf("%s was not made", name)
		}
		if !strings.Contains(stdout, "made "+filepath.Join(dir, name)+"\n") {
			t.Errorf("no line says that %s was made; got %q", name, stdout)
		}
	}
	if len(made) != 7+3 {
		t.Errorf("got %v; want the seven files, and the three in media", names(made))
	}
	if got := made["testdata/image.jpg"]; got != "a picture" {
		t.Errorf("testdata/image.jpg holds %q", got)
	}
	for _, name := range []string{"ca.pem", "ca.key", "p.pem", "p.key", "token"} {
		info, err := os.Stat(filepath.Join(dir, "certs", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, %v; want -rw-------", name, info.Mode(), err)
		}
	}
	if got := made["certs/token"]; !regexp.MustCompile(`^[A-Z2-7]{26} \*\n$`).MatchString(got) {
		t.Errorf("token: got %q; want 26 characters, a blank and *", got)
	}
}

func TestNeverOverwrites(t *testing.T) {
	dir := place(t)
	call(t, dir)
	first := tree(t, dir)
	status, stdout, stderr := call(t, dir)
	if status != 0 || stdout != "" || stderr != "" {
		t.Errorf("second run: got status %d, %q, %q; want 0 and silence", status, stdout, stderr)
	}
	for name, content := range tree(t, dir) {
		if first[name] != content {
			t.Errorf("%s changed in the second run", name)
		}
	}

	write(t, filepath.Join(dir, "testdata", "sample.mp4"), "my own film")
	write(t, filepath.Join(dir, "certs", "token"), "secret @\n")
	status, _, stderr = call(t, dir)
	if got := tree(t, dir); status != 0 || got["testdata/sample.mp4"] != "my own film" || got["certs/token"] != "secret @\n" {
		t.Errorf("third run: got status %d, film %q, token %q; want both as they were put there", status, got["testdata/sample.mp4"], got["certs/token"])
	}
	if !strings.Contains(stderr, "sample.mp4 is not the sample of that name") {
		t.Errorf("third run: got %q; want a word on sample.mp4", stderr)
	}
}

// The nodes of a cluster have a CA of their own, whatever P and C have, and names.
func TestNodes(t *testing.T) {
	dir := place(t)
	call(t, dir)
	if status, _, stderr := call(t, dir, "--nodes", "p1,p2"); status != 0 || stderr != "" {
		t.Fatalf("got status %d, %q", status, stderr)
	}
	first := tree(t, dir)
	if first["certs/cluster/ca.pem"] == first["certs/ca.pem"] || first["certs/cluster/ca.pem"] == "" {
		t.Error("there is no other CA")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(first["certs/cluster/ca.pem"]))
	for _, name := range []string{"p1", "p2"} {
		block, _ := pem.Decode([]byte(first["certs/cluster/"+name+".pem"]))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil || len(cert.DNSNames) != 1 {
			t.Errorf("%s: %v, names %v", name, err, cert.DNSNames)
		}
	}
	call(t, dir, "--nodes", "p1,p2,p3")
	after := tree(t, dir)
	if len(after) != len(first)+2 {
		t.Errorf("a third node made %d files, want 2", len(after)-len(first))
	}
	for name, content := range first {
		if after[name] != content {
			t.Errorf("%s changed", name)
		}
	}
	for _, nodes := range []string{"ca", "../x", "-x", "p1,ca"} {
		if status, _, stderr := call(t, dir, "--nodes="+nodes); status != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("--nodes %s: status %d, %q; want 2 and a line", nodes, status, stderr)
		}
	}
}

func TestTwoTokensDiffer(t *testing.T) {
	a, b := place(t), place(t)
	call(t, a)
	call(t, b)
	if got := tree(t, a)["certs/token"]; got == tree(t, b)["certs/token"] {
		t.Errorf("both tokens are %q", got)
	}
}

// Runs at once, on a folder that lacks everything, end with files that fit.
func TestManyAtOnce(t *testing.T) {
	dir := place(t)
	var wg sync.WaitGroup
	for range 8 {
		// Each ends with its run; Wait below.
		wg.Go(func() {
			var stderr bytes.Buffer
			args := []string{"--certs", dir + "/certs", "--media", dir + "/media", "--testdata", dir + "/testdata"}
			if status := run(t.Context(), args, io.Discard, &stderr); status != 0 || stderr.Len() > 0 {
				t.Errorf("got status %d, %q; want 0 and silence", status, &stderr)
			}
		})
	}
	wg.Wait()
	if got := tree(t, dir); len(got) != 7+3 {
		t.Errorf("got %v; want no other file left", names(got))
	}
	handshake(t, dir, "p", "localhost")
}

// handshake fails unless a TLS client that trusts ca.pem takes the certificate
// for server.
func handshake(t *testing.T, dir, name, server string) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "certs", name+".pem"), filepath.Join(dir, "certs", name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		t.Fatal("ca.pem holds no certificate")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: server, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("%s.pem for %s: %v", name, server, err)
		}
	}
}

func TestCertificate(t *testing.T) {
	dir := place(t)
	call(t, dir)
	for _, server := range []string{"localhost", "127.0.0.1", "::1"} {
		handshake(t, dir, "p", server)
	}
	cert, err := readCertificate(filepath.Join(dir, "certs", "p.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := time.Until(cert.NotAfter).Round(24*time.Hour), 730*24*time.Hour; got != want {
		t.Errorf("p.pem is good for %v; want %v", got, want)
	}
	if err := cert.VerifyHostname("example.org"); err == nil {
		t.Error("p.pem is good for example.org")
	}
}

func TestIssue(t *testing.T) {
	dir := place(t)
	if status, _, stderr := call(t, dir, "--issue", "p2", "proxy.example.org", "192.0.2.7"); status != 0 || stderr != "" {
		t.Fatalf("before anything else: got status %d, %q; want 0", status, stderr)
	}
	call(t, dir)
	handshake(t, dir, "p2", "proxy.example.org")
	handshake(t, dir, "p2", "192.0.2.7")
	if status, _, stderr := call(t, dir, "--issue", "c1"); status != 0 || stderr != "" {
		t.Fatalf("without a host: got status %d, %q; want 0", status, stderr)
	}
	handshake(t, dir, "c1", "localhost")
	for _, name := range []string{"c1", "ca", "../x", ".x", "a/b"} {
		status, _, stderr := call(t, dir, "--issue", name)
		if status != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("--issue %s: got status %d, %q; want 2 and one line", name, status, stderr)
		}
	}
	if status, _, _ := call(t, dir, "proxy.example.org"); status != 2 {
		t.Errorf("a host without --issue: got status %d; want 2", status)
	}
}

// A run that was cut off after a key was written is completed.
func TestCompletesAfterACutOff(t *testing.T) {
	dir := place(t)
	call(t, dir)
	before := tree(t, dir)
	for _, name := range []string{"p.pem", "ca.pem"} {
		if err := os.Remove(filepath.Join(dir, "certs", name)); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, stderr := call(t, dir); status != 0 || stderr != "" {
		t.Fatalf("got status %d, %q; want 0", status, stderr)
	}
	after := tree(t, dir)
	if before["certs/p.key"] != after["certs/p.key"] || before["certs/ca.key"] != after["certs/ca.key"] {
		t.Error("a key changed")
	}
	handshake(t, dir, "p", "localhost")
}

func TestBadFiles(t *testing.T) {
	other := place(t)
	call(t, other)
	foreign := tree(t, other)
	for _, test := range []struct {
		name   string
		spoil  func(t *testing.T, certs string)
		status int
		stderr string
	}{
		{"no key beside the certificate", func(t *testing.T, certs string) { remove(t, certs, "p.key") }, 1, "p.key is missing beside"},
		{"no CA key, nothing to sign", func(t *testing.T, certs string) { remove(t, certs, "ca.key") }, 0, ""},
		{"no CA key, P's certificate to sign", func(t *testing.T, certs string) { remove(t, certs, "ca.key", "p.pem", "p.key") }, 1, "ca.key is missing, so"},
		{"a foreign key", func(t *testing.T, certs string) {
			write(t, filepath.Join(certs, "p.key"), foreign["certs/p.key"])
		}, 1, "do not belong together"},
		{"a foreign CA key", func(t *testing.T, certs string) {
			write(t, filepath.Join(certs, "ca.key"), foreign["certs/ca.key"])
		}, 1, "do not belong together"},
		{"another CA", func(t *testing.T, certs string) {
			write(t, filepath.Join(certs, "ca.key"), foreign["certs/ca.key"])
			write(t, filepath.Join(certs, "ca.pem"), foreign["certs/ca.pem"])
		}, 0, "is not signed by"},
		{"an empty certificate", func(t *testing.T, certs string) { write(t, filepath.Join(certs, "p.pem"), "") }, 1, "does not begin with a PEM certificate"},
		{"an empty key", func(t *testing.T, certs string) { write(t, filepath.Join(certs, "p.key"), "") }, 1, "holds no PEM block"},
		{"a broken key", func(t *testing.T, certs string) {
			write(t, filepath.Join(certs, "p.key"), block("PRIVATE KEY"))
		}, 1, "holds no private key"},
		{"a broken certificate", func(t *testing.T, certs string) {
			write(t, filepath.Join(certs, "ca.pem"), block("CERTIFICATE"))
		}, 1, "ca.pem: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := place(t)
			call(t, dir)
			test.spoil(t, filepath.Join(dir, "certs"))
			before := tree(t, dir)
			status, _, stderr := call(t, dir)
			lines := min(len(test.stderr), 1)
			if status != test.status || !strings.Contains(stderr, test.stderr) || strings.Count(stderr, "\n") != lines {
				t.Errorf("got status %d, %q; want %d and %q", status, stderr, test.status, test.stderr)
			}
			for name, content := range before {
				if tree(t, dir)[name] != content {
					t.Errorf("%s changed", name)
				}
			}
		})
	}
}

// block is a PEM block of that type with nonsense in it.
func block(kind string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("nonsense")}))
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTellsOfTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	at := func(days int) (string, error) {
		var warned bytes.Buffer
		m := &maker{dir: dir, now: time.Now().AddDate(0, 0, days), out: io.Discard, warn: &warned}
		err := m.all()
		return warned.String(), err
	}
	for _, test := range []struct {
		days int
		want string
	}{{0, ""}, {690, ""}, {710, "p.pem ends on"}, {731, "p.pem ended on"}} {
		got, err := at(test.days)
		if err != nil || test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%d days on: got %q, %v; want %q", test.days, got, err, test.want)
		}
	}
	remove(t, dir, "p.pem")
	if _, err := at(3660); err == nil || !strings.Contains(err.Error(), "ca.pem ended on") {
		t.Errorf("ten years on: got %v; want that the CA ended", err)
	}
}

// A certificate never outlives the CA that signed it.
func TestEndsWithItsAuthority(t *testing.T) {
	dir := t.TempDir()
	m := &maker{dir: dir, now: time.Now(), out: io.Discard, warn: io.Discard}
	if err := m.all(); err != nil {
		t.Fatal(err)
	}
	m.now = m.now.AddDate(authorityYears, 0, -100)
	if err := m.issue("late", nil); err != nil {
		t.Fatal(err)
	}
	ca, err := readCertificate(m.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	late, err := readCertificate(m.path("late.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if !late.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("late.pem ends on %v; want the CA's end, %v", late.NotAfter, ca.NotAfter)
	}
}

func TestWriteExclusive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	for _, want := range []bool{true, false} {
		if made, err := writeExclusive(file, []byte("first"), 0o600); made != want || err != nil {
			t.Errorf("got %v, %v; want %v", made, err, want)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "first" {
		t.Errorf("got %q, %v; want what was first", b, err)
	}
}

func TestNoMedia(t *testing.T) {
	dir := t.TempDir()
	if status, _, stderr := call(t, dir); status != 1 || !strings.Contains(stderr, "repository's root") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("got status %d, %q; want 1 and one line that says where to run it", status, stderr)
	}
}
