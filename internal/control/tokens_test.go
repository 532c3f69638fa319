package control

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/originname"
)

func TestParseTokens(t *testing.T) {
	domains, err := originname.ParseDomains([]string{"d.test", "e.test"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		first      string
		yes        []string // "TOKEN NAME" that may register; NAME "@" is the default origin
		no         []string
	}{
		{"any", "t *\n", "t", []string{"t @", "t a", "t b-c"}, []string{"u @", "u a", "t a.b.test"}},
		{"a host name", "t Photos.B.test\n", "t", []string{"t photos.b.test"}, []string{"t @", "t photos", "t b.test", "t a.photos.b.test"}},
		{"hosts below one", "t *.b.test\n", "t", []string{"t photos.b.test", "t a.photos.b.test"}, []string{"t @", "t b.test", "t b", "t xb.test", "t a.test"}},
		{"hosts below a label", "t *.local\n", "t", []string{"t photos.local"}, []string{"t local", "t @"}},
		{"a name that is not ASCII", "t MÜNCHEN *.münchen.de\n", "t", []string{"t xn--mnchen-3ya", "t a.xn--mnchen-3ya.de"}, []string{"t munchen"}},
		{"all hosts of a label", "t a.d.test\nu x\nt a.e.test\n", "t", []string{"t a"}, []string{"t b", "t @"}},
		{"all hosts of any label", "t *.d.test *.e.test\n", "t", []string{"t a", "t b", "t a.b.d.test"}, []string{"t @", "t d.test"}},
		{"one of two hosts of a label", "t a.d.test *.d.test\nu a.e.test\n", "t", nil, []string{"t a", "u a", "t @"}},
		{"names", "t a B\n", "t", []string{"t a", "t b"}, []string{"t @", "t c"}},
		{"the default origin alone", "t @\n", "t", []string{"t @"}, []string{"t a"}},
		{"several lines", "t a\nu b\n", "t", []string{"t a", "u b"}, []string{"t b", "u a"}},
		{"one token twice", "t a\nt @\n", "t", []string{"t a", "t @"}, []string{"t b"}},
		{"comments and empty lines", "# c\n\n \t\n t\ta  # * \n#u *\n", "t", []string{"t a"}, []string{"t b", "u a", "#u a"}},
		{"no last line feed, CRLF, a byte order mark", "\ufefft a\r\nu b", "t", []string{"t a", "u b"}, nil},
		{"comments right behind a name", "t a# b\nu b#c\n", "t", []string{"t a", "u b"}, []string{"t b", "u c"}},
		{"comments behind a byte order mark, a tab and a #", "\ufeff#c\nt a\t#b#c # d#e\n##\n", "t", []string{"t a"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parsed := tokens(t, tt.text)
			if parsed.First() != tt.first {
				t.Errorf("first token %q, want %q", parsed.First(), tt.first)
			}
			auth := NewAuth(parsed)
			auth.Domains = domains
			may := func(pair string) bool {
				token, name, _ := strings.Cut(pair, " ")
				if name == "@" {
					name = ""
				}
				id, known := auth.known(token)
				return known && auth.Valid(id, name)
			}
			for _, pair := range tt.yes {
				if _, name, _ := strings.Cut(pair, " "); name != "@" && !auth.Served(name) {
					t.Errorf("no token serves %q, want one to", name)
				}
			}
			for _, pair := range tt.yes {
				if !may(pair) {
					t.Errorf("%q may not register, want may", pair)
				}
			}
			for _, pair := range tt.no {
				if may(pair) {
					t.Errorf("%q may register, want may not", pair)
				}
			}
		})
	}
}

func TestParseTokensErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "no token"},
		{"comments alone", "# t *\n", "no token"},
		{"a line without a name", "t *\n\nsesame\n", "line 3"},
		{"a comment in the place of the name", "sesame # *\n", "line 1"},
		{"a # in a token", "t a\nsesame#1 b\n", "line 2: no token has a \"#\""},
		{"a # behind a token", "sesame# *\n", "line 1"},
		{"a # in a token behind a byte order mark", "\ufeffsesame#1 a\n", "line 1"},
		{"a bad name", "t a\nsesame a_b\n", "line 2"},
		{"a bad host name", "t a\nsesame *.a_b.test\n", "line 2"},
		{"an address", "t a\nsesame 127.0.0.1\n", "line 2"},
		{"hosts below none", "t a\nsesame *.\n", "line 2"},
		{"hosts below the default origin", "t a\nsesame *.@\n", "line 2"},
		{"a star in a name", "t a\nsesame a.*.test\n", "line 2"},
		{"a name like another", "t a\nsesame pаypal\n", "line 2"},
		{"a token with a control character", "ses\x01ame *\n", "line 1"},
		{"a token that is not ASCII", "sesäme *\n", "line 1"},
		{"a line without end", "t " + strings.Repeat("a ", 64<<10), "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseTokens(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("error %q quotes the token", err)
			}
		})
	}
}

// A host that a token names is its origin's own, there or not.
func TestNames(t *testing.T) {
	auth := NewAuth(tokens(t, "t a @ photos.b.test\nu * *.c.test\n"))
	for host, want := range map[string]bool{
		"photos.b.test": true, "x.c.test": true, "x.y.c.test": true, "c.test": false, "a": false, "": false, "b.test": false, "[::1]": false, "127.0.0.1": false,
	} {
		if got := auth.Names(host); got != want {
			t.Errorf("%q is an origin's own: %v, want %v", host, got, want)
		}
	}
	auth.Set(tokens(t, "t *\n"))
	if auth.Names("photos.b.test") || NoAuth().Names("photos.b.test") || new(Auth).Names("photos.b.test") {
		t.Error("a host is an origin's own that no token names")
	}
}

// The zero Auth, and the zero Credential, let nobody in.
func TestAuthZero(t *testing.T) {
	var zero Auth
	if _, known := zero.known(""); known {
		t.Error("an Auth without tokens knows the empty one")
	}
	if zero.Valid(Credential{}, "") || NewAuth(tokens(t, "t *")).Valid(Credential{}, "") {
		t.Error("the zero Credential is valid")
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	parsed := tokens(t, tokenFile)
	id, _ := parsed.lookup(anyToken)
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "tokens", parsed, "id", id)
	fmt.Fprintf(&b, "%v %+v %s %v %+v %s", parsed, parsed, parsed, id, id, id)
	if strings.Contains(b.String(), secretInAll) || strings.Contains(b.String(), fmt.Sprint(id.digest[0], " ", id.digest[1])) {
		t.Errorf("printed as %s", b.String())
	}
}

func TestTokenSource(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	missing := TokenSource{File: file}
	if _, err := missing.Load(); err == nil || !strings.Contains(err.Error(), "p invite") || !strings.Contains(err.Error(), file) {
		t.Errorf("a missing file: %v, want a line that names it and what makes it", err)
	}
	if _, err := missing.First(); err == nil || !strings.Contains(err.Error(), "--join") || !strings.Contains(err.Error(), file) {
		t.Errorf("a missing file of C: %v, want a line that names it and how C is given a token", err)
	}
	if _, err := missing.First(); err == nil || !strings.Contains(err.Error(), "--state") {
		t.Errorf("a missing file of C: %v, want a line that says where an invitation is kept", err)
	}
	if err := os.WriteFile(file, []byte("# none yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := missing.Load(); err == nil || !strings.Contains(err.Error(), "p token add") || strings.Contains(err.Error(), "make") {
		t.Errorf("a file without a token: %v, want a line that names what writes one on any machine", err)
	}
	if err := os.WriteFile(file, []byte("from-file a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"": "from-file", "alone": "alone", " alone\n": "alone", "two a\nthree b": "two"} {
		parsed, err := TokenSource{File: file, Value: value}.Load()
		if err != nil || parsed.First() != want {
			t.Errorf("value %q: %v, %v; want %s first", value, parsed, err, want)
		}
	}
	alone, _ := TokenSource{Value: "alone"}.Load()
	if id, _ := alone.lookup("alone"); !alone.allows(id, "any", nil) {
		t.Error("a single word is not a token for any name")
	}
	if got, err := (TokenSource{Value: "to#ken"}).First(); err == nil || !strings.Contains(err.Error(), `"#"`) {
		t.Errorf("a # in the environment: %q, %v; want an error that says so", got, err)
	}
	if _, err := (TokenSource{Value: "#"}).Load(); err == nil || !strings.Contains(err.Error(), "environment") {
		t.Errorf("no token in the environment: %v, want an error that says where", err)
	}
}

// A C's file needs no names beside its token; P's does.
func TestTokenSourceFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for text, want := range map[string]string{
		"bare\n": "bare", "# mine\n\n  bare  # of home\n": "bare", "named a\nother *\n": "named", "bare\nother a\n": "bare", "a\nb": "a",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range []TokenSource{{File: file}, {File: "none", Value: text}} {
			if got, err := s.First(); err != nil || got != want {
				t.Errorf("%q: %q, %v; want %q", text, got, err, want)
			}
		}
	}
	if err := os.WriteFile(file, []byte("bare\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (TokenSource{File: file}).Load(); err == nil || !strings.Contains(err.Error(), "without a name") {
		t.Errorf("P takes a file without names: %v", err)
	}
	for _, text := range []string{"", "# none\n", "to\x00ken\n", "to#ken\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (TokenSource{File: file}).First(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q, %v; want an error of one line", text, got, err)
		}
	}
}

// TestFiles holds that a file which is missing or wrong is said in one line.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	caFile := ca.WriteCA(t, dir, "ca.pem")
	certFile, keyFile := controltest.Write(t, ca.Issue(t, "p"), dir, "p")
	_, otherKey := controltest.Write(t, ca.Issue(t, "q"), dir, "q")
	none := filepath.Join(dir, "none")
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := func(certFile, keyFile, caFile string) func() (*tls.Config, error) {
		return func() (*tls.Config, error) {
			cert, err := KeyPair(certFile, keyFile)
			if err != nil {
				return nil, err
			}
			return ServerTLS{func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }, caFile}.Load()
		}
	}
	client := func(f ClientTLS) func() (*tls.Config, error) { return f.Load }
	tests := []struct {
		name string
		load func() (*tls.Config, error)
		want []string // nil: no error
	}{
		{"P", server(certFile, keyFile, ""), nil},
		{"P with a client CA", server(certFile, keyFile, caFile), nil},
		{"P, no certificate", server(none, keyFile, ""), []string{none, "name yours"}},
		{"P, no key", server(certFile, none, ""), []string{none, "name yours"}},
		{"P, key of another", server(certFile, otherKey, ""), []string{certFile, otherKey}},
		{"P, junk", server(junk, junk, ""), []string{junk}},
		{"P, no client CA", server(certFile, keyFile, none), []string{none, "name yours with --client-ca"}},
		{"P, junk as client CA", server(certFile, keyFile, junk), []string{junk}},
		{"P, a folder", server(dir, keyFile, ""), []string{dir}},
		{"C", client(ClientTLS{CAFile: caFile}), nil},
		{"C, the system's", client(ClientTLS{CAFile: SystemCA}), nil},
		{"C with a certificate", client(ClientTLS{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}), nil},
		{"C, no CA", client(ClientTLS{CAFile: none}), []string{none, "name yours with --ca (\"system\": the system's roots)"}},
		{"C, CA not named", client(ClientTLS{}), []string{"CA certificate"}},
		{"C, certificate without key", client(ClientTLS{CAFile: caFile, CertFile: certFile}), []string{"both"}},
		{"C, key without certificate", client(ClientTLS{CAFile: caFile, KeyFile: keyFile}), []string{"both"}},
		{"C, junk", client(ClientTLS{CAFile: junk}), []string{junk}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := tt.load()
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if cfg.MinVersion < tls.VersionTLS12 || !cfg.DynamicRecordSizingDisabled || cfg.InsecureSkipVerify {
					t.Errorf("the configuration is not hardened: %+v", cfg)
				}
				if want := []string{"spdy-proxy-control/1", "http/1.1"}; !slices.Equal(cfg.NextProtos, want) {
					t.Errorf("ALPN is %q, want %q", cfg.NextProtos, want)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q, want one line with %q", err, want)
				}
			}
		})
	}
}

// Only of what make prepares is it said that make does.
func TestMissingInCheckout(t *testing.T) {
	load := func(file string) []error {
		_, ofP := TokenSource{File: file}.Load()
		_, ofC := TokenSource{File: file}.First()
		_, pair := KeyPair(file, file)
		_, pool := Pool(file, "--ca")
		return []error{ofP, ofC, pair, pool}
	}
	for file, want := range map[string]bool{"certs/none": true, "./certs/none": true, filepath.Join(t.TempDir(), "none"): false} {
		for _, err := range load(file) {
			if err == nil || strings.Contains(err.Error(), "checkout") != want {
				t.Errorf("%s: %v; want a hint to make: %v", file, err, want)
			}
		}
	}
}

// FuzzTokens holds that a token file is either refused, in one line that shows no
// token, or lets in what its lines say and nothing else.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		tokenFile,
		"sesame *\n",
		"\ufeffsesame @ # the default origin\r\n\r\n# nothing\r\nother films Music\r\n",
		"sesame films\nsesame music\nsesame @\n",
		"sesame\n",
		"# nothing\n",
		"sesame -a-\n",
		"s\u00e9same *\n",
		"sesame\x00 *\n",
		"a " + strings.Repeat("b ", 300),
		"sesame#tail *\n",
		"sesame\u00a0*\n",
	} {
		f.Add([]byte(seed), "films", "sesame")
	}
	f.Fuzz(func(t *testing.T, file []byte, name, other string) {
		parsed, err := ParseTokens(bytes.NewReader(file))
		said := map[string]map[string]bool{} // token -> names, as a person reads the file
		for line := range strings.Lines(strings.TrimPrefix(string(file), "\ufeff")) {
			line, _, _ = strings.Cut(line, "#") // it is refused if that is not a comment
			fields := strings.Fields(line)
			if len(fields) == 0 {
				continue
			}
			if said[fields[0]] == nil {
				said[fields[0]] = map[string]bool{}
			}
			for _, n := range fields[1:] {
				if name, err := originname.ParseNamed(n); err == nil {
					n = string(name)
				}
				said[fields[0]][n] = true
			}
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("%q is not one line of text", err)
			}
			return
		}
		first := parsed.First()
		if said[first] == nil || first == "" {
			t.Errorf("C's token is %q, which no line begins with", first)
		}
		if len(first) > 8 && strings.Contains(parsed.String(), first) {
			t.Errorf("%q shows a token", parsed)
		}
		if len(said) > 50 {
			return // each is compared with all
		}
		auth := NewAuth(parsed)
		label, err := originname.ParseLabel(name)
		if name = string(label); err != nil {
			name = ""
		}
		inFile := name
		if name == "" {
			inFile = "@"
		}
		if said[other] == nil {
			said[other] = map[string]bool{} // it is in no line
		}
		for token, names := range said {
			id, ok := auth.known(token)
			if want := len(names) > 0; ok != want {
				t.Errorf("%q is known: %v, want %v", token, ok, want)
			}
			if got, want := auth.Valid(id, name), names["*"] || names[inFile]; got != want {
				t.Errorf("%q may register %q: %v, want %v", token, name, got, want)
			}
			if _, ok := auth.known(token + "x"); ok && said[token+"x"] == nil {
				t.Errorf("%qx is known", token)
			}
		}
		if _, ok := auth.known(""); ok {
			t.Error("no token is one")
		}
	})
}

// A token may be taken out before the file is read again; Set says which ones are gone.
func TestRevoke(t *testing.T) {
	auth := NewAuth(tokens(t, "one *\ntwo film\nthree film.example.com\n"))
	one, two, three := credentialOf("one"), credentialOf("two"), credentialOf("three")
	if n := auth.Revoke([]Credential{CredentialOf(two.Digest()), credentialOf("another"), three}); n != 2 {
		t.Errorf("Revoke: got %d, want 2", n)
	}
	for token, want := range map[string]bool{"one": true, "two": false, "three": false} {
		id, ok := auth.known(token)
		if ok != want || auth.Knows(id) != want || auth.Valid(id, "film") != want {
			t.Errorf("%s: got %v, %v, %v, want %v", token, ok, auth.Knows(id), auth.Valid(id, "film"), want)
		}
	}
	if !auth.Names("film.example.com") {
		t.Error("the host of a token that is gone became the default origin's")
	}
	if gone := auth.Set(tokens(t, "two film\nfour *\n")); len(gone) != 1 || gone[0] != one {
		t.Errorf("Set: got %d tokens gone, want the first one", len(gone))
	}
	if !auth.Knows(two) {
		t.Error("a token that is in the file again is not known")
	}
	if n := NoAuth().Revoke([]Credential{one}); n != 0 {
		t.Errorf("where there are no tokens: got %d", n)
	}
}

// What a file has more is added, what it has less is not taken, and what was revoked
// stays out until Set.
func TestAuthAdd(t *testing.T) {
	by := func(s int64) string { return JoinBy(time.Now().Add(time.Duration(s) * time.Second)) }
	late := "late film " + by(-60) + "\n"
	for name, tt := range map[string]struct {
		more       string
		added      bool
		less       bool
		token, may string // may register this name
	}{
		"nothing":             {more: "one film\ntwo @\n" + late, token: "one", may: "film"},
		"less":                {more: "two @\n" + late, less: true, token: "one", may: "film"},
		"a token":             {more: "one film\ntwo @\nthree wiki\n" + late, added: true, token: "three", may: "wiki"},
		"a token in less":     {more: "three wiki\n", added: true, less: true, token: "one", may: "film"},
		"a name":              {more: "one film wiki\ntwo @\n" + late, added: true, token: "one", may: "wiki"},
		"another name":        {more: "one wiki\ntwo @\n" + late, added: true, less: true, token: "one", may: "film"},
		"any name":            {more: "one film *\ntwo @\n" + late, added: true, token: "one", may: "wiki"},
		"a host":              {more: "one film film.example.com\ntwo @\n" + late, added: true, token: "one", may: "film.example.com"},
		"a limit taken out":   {more: "one film\ntwo @\nlate film\n", added: true, token: "late", may: "film"},
		"a limit made longer": {more: "one film\ntwo @\nlate film " + by(60) + "\n", added: true, token: "late", may: "film"},
	} {
		t.Run(name, func(t *testing.T) {
			auth := NewAuth(tokens(t, "one film\ntwo @\n"+late+"gone *\n"))
			if auth.Revoke([]Credential{credentialOf("gone"), credentialOf("elsewhere")}) != 1 {
				t.Fatal("nothing was revoked")
			}
			added, less := auth.Add(tokens(t, tt.more+"gone *\nelsewhere *\n"))
			if added != tt.added || less != tt.less {
				t.Errorf("added: got %v, less: %v, want %v, %v", added, less, tt.added, tt.less)
			}
			if !auth.Valid(credentialOf(tt.token), tt.may) {
				t.Errorf("%s may not register %s", tt.token, tt.may)
			}
			if host := "film.example.com"; auth.Names(host) != (tt.may == host) {
				t.Errorf("it has the name %s: %v", host, auth.Names(host))
			}
			if auth.Knows(credentialOf("gone")) || auth.Knows(credentialOf("elsewhere")) {
				t.Error("what was revoked is back")
			}
			auth.Set(tokens(t, "gone *\n"))
			if !auth.Knows(credentialOf("gone")) || auth.Knows(credentialOf("one")) {
				t.Error("Set does not replace all")
			}
		})
	}
	if added, _ := new(Auth).Add(tokens(t, "one film\n")); added {
		t.Error("an Auth without tokens has some")
	}
}
