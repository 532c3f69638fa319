package invitation

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

func sample(t testing.TB) *Invitation {
	return &Invitation{Address: "proxy.example.org:1444", ServerName: "p", Name: "photos", Token: "SESAME", CA: [][]byte{controltest.NewCA(t).Cert.Raw}}
}

func TestCode(t *testing.T) {
	for _, in := range []*Invitation{sample(t), {Address: "[::1]:1444", Token: "x"}} {
		code := in.Code()
		if strings.ContainsAny(code, " \n'\"$&;|<>(){}*?!~`\\/") || !strings.HasPrefix(code, prefix) {
			t.Errorf("%q is no word that can be pasted", code)
		}
		got, err := Parse("\n" + code[:20] + " \r\n\t" + code[20:] + "\n")
		if err != nil || !reflect.DeepEqual(got, in) {
			t.Errorf("got %+v, %v; want %+v", got, err, in)
		}
	}
}

// Whatever letter is another, missing or too many, it is noticed.
func TestMistyped(t *testing.T) {
	code := (&Invitation{Address: "proxy.example.org:1444", Name: "photos", Token: "SESAME"}).Code()
	for i := range len(code) {
		for _, wrong := range []string{code[:i] + code[i+1:], code[:i] + "x" + code[i:], code[:i], code[:i] + string(code[i]^1) + code[i+1:]} {
			if wrong == code {
				continue
			}
			if in, err := Parse(wrong); err == nil {
				t.Errorf("%q was read as %+v", wrong, in)
			} else if text := err.Error(); strings.Contains(text, "\n") || len(text) > 200 {
				t.Errorf("%q: %q", wrong, text)
			}
		}
	}
	for wrong, says := range map[string]string{
		"": "begins with spdy1.", "hello": "begins with spdy1.", "spdy2.abcd": "begins with spdy1.", prefix: "copy all of it",
		strings.Repeat("x", maxCode+1):                          "too long",
		(&Invitation{Address: "a:1"}).Code():                    "copy all of it",
		(&Invitation{Token: "x", CA: [][]byte{{1, 2}}}).Code():  "cannot be read",
		(&Invitation{Address: "a:1", Token: "x"}).Code() + "!":  "copy all of it",
		(&Invitation{Address: "a:1", Token: "x"}).Code() + "AA": "copy all of it",
	} {
		if _, err := Parse(wrong); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", wrong, err, says)
		}
	}
}

func TestState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	if in, err := Load(dir); in != nil || err != nil {
		t.Errorf("before: %v, %v", in, err)
	}
	for _, name := range []string{"photos", "wiki"} {
		want := sample(t)
		want.Name = name
		if err := want.Save(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	for _, text := range []string{"", "\n"} {
		none := t.TempDir()
		if err := os.WriteFile(filepath.Join(none, stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if in, err := Credential(filepath.Join(none, stateFile)); in != nil || err != nil {
			t.Errorf("the credential %q: %v, %v; want none", text, in, err)
		}
	}
	if in, err := Credential(filepath.Join(dir, stateFile)); err != nil || in == nil || in.Name != "wiki" {
		t.Errorf("a credential: %v, %v", in, err)
	}
	if in, err := Credential(""); in != nil || err != nil {
		t.Errorf("no credential: %v, %v", in, err)
	}
	file := filepath.Join(dir, stateFile)
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{dir: 0o700, file: 0o600} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
			}
		}
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("the folder has %v", list)
	}
	if err := sample(t).Save(file); err == nil || !strings.Contains(err.Error(), "--state") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a file for a folder: %v", err)
	}
	if err := os.WriteFile(file, []byte("spdy1.xx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--join") {
		t.Errorf("a broken one: %v", err)
	}
}

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, other := controltest.NewCA(t), controltest.NewCA(t)
	cert, _ := controltest.Write(t, ca.Issue(t, "example.org", "127.0.0.1"), dir, "p")
	caFile, otherFile := ca.WriteCA(t, dir, "my-ca.pem"), other.WriteCA(t, dir, "other.pem")
	chain := filepath.Join(dir, "chain.pem")
	leaf, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(chain, append(leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})...), 0o600)
	os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600)
	for _, tt := range []struct {
		what                 string
		cert, host, ca, says string
		public               bool // ca is one of the system's
		system               bool // what is found
	}{
		{what: "a public CA", cert: cert, host: "example.org", public: true, system: true},
		{what: "a public CA, named", cert: cert, host: "127.0.0.1", ca: System, public: true, system: true},
		{what: "a file", cert: cert, host: "example.org", ca: caFile},
		{what: "a file, though it is public", cert: cert, host: "example.org", ca: caFile, public: true},
		{what: "in the chain", cert: chain, host: "example.org"},
		{what: "none is known", cert: cert, host: "example.org", says: "--ca"},
		{what: "not the system's", cert: cert, host: "example.org", ca: System, says: "--ca"},
		{what: "another CA", cert: cert, host: "example.org", ca: otherFile, says: otherFile},
		{what: "another name", cert: cert, host: "example.com", ca: caFile, says: "--server-name"},
		{what: "no file", cert: filepath.Join(dir, "none"), host: "example.org", says: "none is missing: name p's with --cert, or the file that names it with --config"},
		{what: "nothing in it", cert: filepath.Join(dir, "empty.pem"), host: "example.org", says: "empty.pem"},
	} {
		roots := other.Pool()
		if tt.public {
			roots = ca.Pool()
		}
		got, err := authority(tt.cert, tt.host, tt.ca, roots)
		switch {
		case tt.says != "":
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %q", tt.what, err, tt.says)
			}
		case err != nil, tt.system != (len(got) == 0), !tt.system && (len(got) != 1 || !bytes.Equal(got[0], ca.Cert.Raw)):
			t.Errorf("%s: %d certificates, %v", tt.what, len(got), err)
		}
	}
	for _, tt := range []struct {
		file string
		n    int
		ok   bool
	}{{"", 0, true}, {System, 0, true}, {caFile, 1, true}, {chain, 2, true}, {filepath.Join(dir, "none"), 0, false}} {
		if got, err := Given(tt.file); len(got) != tt.n || err == nil != tt.ok {
			t.Errorf("%q given: %d certificates, %v", tt.file, len(got), err)
		}
	}
	ca.WriteCA(t, dir, "ca.pem")
	if got, err := authority(cert, "example.org", "", other.Pool()); err != nil || len(got) != 1 {
		t.Errorf("ca.pem beside it: %d certificates, %v", len(got), err)
	}
}

// Whatever is pasted, it is read or refused.
func FuzzParse(f *testing.F) {
	f.Add(sample(f).Code())
	f.Add((&Invitation{Address: "a:1", Token: "x"}).Code())
	f.Fuzz(func(t *testing.T, code string) {
		in, err := Parse(code)
		if err != nil {
			return
		}
		if again, err := Parse(in.Code()); err != nil || !reflect.DeepEqual(again, in) {
			t.Errorf("%q was read as %+v and then %+v, %v", code, in, again, err)
		}
	})
}
