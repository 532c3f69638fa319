package cli

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A flag wins over the environment, and that over the file.
func TestSources(t *testing.T) {
	file := writeConfig(t, "addr = 'file:1'\nhold = '1m'\nmax-n = 7\ntls = true\nitem = ['p', 'q']\nlog-level = 'error'\n")
	t.Setenv("SPDY_PROXY_CONFIG", file)
	t.Setenv("SPDY_PROXY_MAX_N", "8")
	t.Setenv("SPDY_PROXY_ADDR", "env:1")
	var v values
	p := &Program{Name: "x", Daemon: true, Flags: v.flags, Run: func(_ context.Context, p *Process) error {
		var got []string
		for _, name := range []string{"addr", "max-n", "hold", "tls", "item", "log-level", "log-format", "config"} {
			got = append(got, name+":"+p.Source(name).String())
		}
		want := "addr:flag max-n:environment hold:file tls:file item:file log-level:file log-format:default config:environment"
		if g := strings.Join(got, " "); g != want {
			t.Errorf("got  %s\nwant %s", g, want)
		}
		if p.Log.Enabled(context.Background(), 4) {
			t.Error("the log's level is not the file's")
		}
		return nil
	}}
	var stderr bytes.Buffer
	if status := p.Main(t.Context(), []string{"--addr", "flag:1"}, io.Discard, &stderr); status != exitOK || stderr.Len() > 0 {
		t.Errorf("status %d, %q", status, stderr.String())
	}
	if v.addr != "flag:1" || v.n != 8 || v.hold != time.Minute || !v.tls || strings.Join(v.list, " ") != "p q" {
		t.Errorf("got %+v", v)
	}
}

func TestBadConfig(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	fornt := writeConfig(t, "adr = 'a'\n")
	two := writeConfig(t, "hold = 1\ntls = 2\n")
	for file, want := range map[string]string{
		missing:                        "x: configuration file " + missing + " is missing",
		fornt:                          "x: " + fornt + `:1: unknown key "adr"; did you mean "addr"?`,
		two:                            "x: " + two + `:1: hold is not a duration in quotes, such as "15s" or "0s" (and 1 more: x config lists them)`,
		writeConfig(t, "config = 'y'"): `unknown key "config"`,
	} {
		var v values
		var stderr bytes.Buffer
		p := &Program{Name: "x", Daemon: true, Flags: v.flags, Run: func(context.Context, *Process) error { t.Error("it ran"); return nil }}
		status := p.Main(t.Context(), []string{"--config", file}, io.Discard, &stderr)
		if text := stderr.String(); status != exitUsage || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("status %d, %q; want 2 and %q", status, text, want)
		}
	}
}

// A reload reads the tables anew, and leaves the flags as they are.
func TestReadTables(t *testing.T) {
	type tables struct {
		Origin []struct {
			Name string `toml:"name"`
		} `toml:"origin"`
	}
	file := writeConfig(t, "max-n = 4\n[[origin]]\nname = 'a'\n")
	var v values
	var first tables
	p := &Program{Name: "x", Daemon: true, Flags: v.flags, Tables: &first, Run: func(_ context.Context, p *Process) error {
		os.WriteFile(file, []byte("max-n = 5\nitem = ['z']\n[[origin]]\nname = 'b'\n[[origin]]\nname = 'c'\n"), 0o600)
		var second tables
		if err := p.ReadTables(&second); err != nil {
			return err
		}
		if got := fmt.Sprint(first, second, v.n, v.list); got != "{[{a}]} {[{b} {c}]} 4 [x]" {
			t.Errorf("got %s", got)
		}
		os.WriteFile(file, []byte("max-n = 5\nnonsense = 1\n"), 0o600)
		if err := p.ReadTables(&second); err == nil || !strings.Contains(err.Error(), `:2: unknown key "nonsense"`) {
			t.Errorf("got %v", err)
		}
		return nil
	}}
	var stderr bytes.Buffer
	if status := p.Main(t.Context(), []string{"--config", file}, io.Discard, &stderr); status != exitOK {
		t.Errorf("status %d, %q", status, stderr.String())
	}
}

func TestUnknownVariables(t *testing.T) {
	t.Setenv("SPDY_PROXY_ROOT", "/srv") // c's
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	t.Setenv("SPDY_PROXY_MAXN", "secret")
	t.Setenv("SPDY_PROXY_", "")
	var v values
	var stderr bytes.Buffer
	p := &Program{Name: "x", Daemon: true, Flags: v.flags, Run: func(context.Context, *Process) error { return nil }}
	p.Main(t.Context(), nil, io.Discard, &stderr)
	text := stderr.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "SPDY_PROXY_MAXN is no flag's; did you mean SPDY_PROXY_MAX_N?") || strings.Contains(text, "secret") {
		t.Errorf("got %q", text)
	}
}

// The list has the flags of both programs.
func TestFlagsOfBoth(t *testing.T) {
	found := make(map[string]bool)
	for _, program := range []string{"p", "c"} {
		files, err := filepath.Glob("../../cmd/" + program + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range src.Decls {
				// Those of a command are not read from the environment.
				f, ok := d.(*ast.FuncDecl)
				if !ok || !strings.HasSuffix(strings.ToLower(f.Name.Name), "flags") {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					if flag := definedFlag(n); flag != "" {
						found[flag] = true
					}
					return true
				})
			}
		}
	}
	for flag := range found {
		if !slices.Contains(flagsOfBoth, flag) {
			t.Errorf("%q is missing in known.go", flag)
		}
	}
	for _, flag := range flagsOfBoth {
		if !found[flag] {
			t.Errorf("%q is in known.go, and neither p nor c has it", flag)
		}
	}
	if !slices.IsSorted(flagsOfBoth) {
		t.Error("known.go is not in the order of the alphabet")
	}
}

// definedFlag returns the name in a call such as fs.StringVarP(&v, "name", ...).
func definedFlag(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fmt.Sprint(method.X) != "fs" || method.Sel.Name == "Group" {
		return ""
	}
	for _, arg := range call.Args {
		if text, ok := arg.(*ast.BasicLit); ok && text.Kind == token.STRING {
			name, _ := strconv.Unquote(text.Value)
			return name
		}
	}
	return ""
}

// A program that a package put in place has a configuration file of its own. Who may
// not read it runs without; what is wrong then is said with that.
func TestPackagedConfig(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	there, missing := writeConfig(t, "max-n = 7\n"), filepath.Join(t.TempDir(), "x.toml")
	other := writeConfig(t, "max-n = 9\n")
	beside := strings.TrimSuffix(there, ".toml") + "-wiki.toml"
	if err := os.WriteFile(beside, []byte("max-n = 8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	credentials := map[int]string{7: filepath.Join(filepath.Dir(there), "invitation"), 8: filepath.Join(filepath.Dir(there), "invitation-wiki")} // by max-n
	for _, tt := range []struct {
		what, packaged string
		args           []string
		n              int
		says           string
	}{
		{"a checkout", "", nil, 3, ""},
		{"a package", there, nil, 7, ""},
		{"a flag", there, []string{"--config", other}, 9, ""},
		{"its own file, by a flag", there, []string{"--config", there}, 7, ""},
		{"the file of an instance", there, []string{"--config", beside}, 8, ""},
		{"none", there, []string{"--config="}, 3, ""},
		{"a package without its file", missing, nil, 3, "; configuration file " + missing + ", where one is looked for, was not read: no such file or directory"},
	} {
		var v values
		p := &Program{Name: "x", Daemon: true, ConfigFile: tt.packaged, Flags: v.flags, Run: func(_ context.Context, p *Process) error {
			if got, want := p.Credential("invitation"), credentials[tt.n]; got != want {
				t.Errorf("%s: the credential is %q, want %q", tt.what, got, want)
			}
			return Usagef("what is wrong")
		}}
		var stderr bytes.Buffer
		status := p.Main(t.Context(), tt.args, io.Discard, &stderr)
		if want := "x: what is wrong" + tt.says + "\n"; status != exitUsage || v.n != tt.n || stderr.String() != want {
			t.Errorf("%s: status %d, max-n %d, %q; want 2, %d and %q", tt.what, status, v.n, stderr.String(), tt.n, want)
		}
	}
	var help bytes.Buffer
	p := &Program{Name: "x", Daemon: true, ConfigFile: there}
	if p.Main(t.Context(), []string{"--help"}, &help, io.Discard); !strings.Contains(strings.Join(strings.Fields(help.String()), " "), "(default: "+there+")") {
		t.Errorf("help does not say where the file is:\n%s", &help)
	}
}

// The name that the linker is told has to stay (see internal/packaging).
func TestPackagedIn(t *testing.T) {
	if packagedIn != "" {
		t.Errorf("a program that no package put in place looks in %q", packagedIn)
	}
}
