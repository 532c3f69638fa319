package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// policy is a table beside the flags, as a program may have it.
type policy struct {
	Origin []struct {
		Name    string            `toml:"name"`
		Rate    int               `toml:"requests-per-second"`
		Headers map[string]string `toml:"headers"`
	} `toml:"origin"`
}

// flags are one of each kind.
type flags struct {
	front   string
	hold    time.Duration
	size    int64
	tls     bool
	proxies []string
	help    bool
}

// served are a table's.
type served struct {
	name, root  string
	connections int
}

func (v *flags) set() *pflag.FlagSet {
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	fs.StringVar(&v.front, "front", "localhost:1443", "")
	fs.DurationVar(&v.hold, "hold", 10*time.Second, "")
	fs.Int64Var(&v.size, "upload-max", 3, "")
	fs.BoolVarP(&v.tls, "tls", "t", false, "")
	fs.StringSliceVar(&v.proxies, "proxy", []string{"x"}, "")
	fs.BoolVar(&v.help, "help", false, "")
	return fs
}

func (v *served) table() *pflag.FlagSet {
	fs := pflag.NewFlagSet("origin", pflag.ContinueOnError)
	fs.StringVar(&v.name, "name", "", "")
	fs.StringVar(&v.root, "root", "", "")
	fs.IntVar(&v.connections, "connections", 1, "")
	return fs
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	var v flags
	fs := v.set()
	fs.Parse([]string{"--front", "flag:1"})
	var tables policy
	set, err := Load(write(t, "\ufeff"+`
# a comment
front = "file:1"
hold = '1m30s'
upload-max = 0x1_0
tls = true
proxy = ["a,b", """c""", 'd']

[[origin]]
name = "photos"
requests-per-second = 7
headers = { "X-A" = "b" }

[[origin]]
name = "wiki"
[origin.headers]
X-B = "c"
`), Spec{Flags: fs, Tables: &tables})
	if err != nil {
		t.Fatal(err)
	}
	if v.front != "flag:1" || v.hold != 90*time.Second || v.size != 16 || !v.tls || strings.Join(v.proxies, " ") != "a,b c d" {
		t.Errorf("got %+v", v)
	}
	if got := strings.Join(set, " "); got != "hold upload-max tls proxy" {
		t.Errorf("set are %s", got)
	}
	if got, want := fmt.Sprint(tables), "{[{photos 7 map[X-A:b]} {wiki 0 map[X-B:c]}]}"; got != want {
		t.Errorf("tables: got %s, want %s", got, want)
	}
}

// The tables may be flags themselves, which have defaults of their own each.
func TestEach(t *testing.T) {
	var v flags
	var origins []*served
	text := "tls = true\n[[origin]]\nname = 'a'\nroot = '/a'\n[[origin]]\nname = 'b'\nconnections = 2\n"
	_, err := Load(write(t, text), Spec{Flags: v.set(), Each: map[string]func() *pflag.FlagSet{"origin": func() *pflag.FlagSet {
		if !v.tls {
			t.Error("the tables come before the flags")
		}
		origins = append(origins, new(served))
		return origins[len(origins)-1].table()
	}}})
	if err != nil || len(origins) != 2 || *origins[0] != (served{"a", "/a", 1}) || *origins[1] != (served{"b", "", 2}) {
		t.Errorf("got %v, %v, %v", v, origins, err)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string // ":LINE: text", part of it, of each fault in turn
	}{
		{`fornt = "a:1"`, []string{`:1: unknown key "fornt"; did you mean "front"?`}},
		{"\n\nnonsense = 1", []string{`:3: unknown key "nonsense"`}},
		{"front.port = 1", []string{`:1: unknown key "front.port"`}},
		{"help = true", []string{`:1: unknown key "help"`}},
		{"orign = 1", []string{`did you mean "origin"?`}},
		{"front = 1", []string{`:1: front is not a text in quotes`}},
		{"hold = 15", []string{`:1: hold is not a duration in quotes, such as "15s"`}},
		{`hold = "soon"`, []string{`:1: hold: "soon" is not a duration`}},
		{`tls = "true"`, []string{`:1: tls is not true or false`}},
		{"upload-max = 1.5", []string{`:1: upload-max is not a whole number`}},
		{"upload-max = 99999999999999999999", []string{`:1: `}},
		{"proxy = [1]", []string{`:1: proxy is not a list of texts`}},
		{"proxy = {a = 1}", []string{`:1: proxy is not a list of texts`}},
		{"front = 1\n\nhold = 2\nx = 3", []string{":1: front", ":3: hold", `:4: unknown key "x"`}},
		{"nonsense = 1\nfront = a\nnonsense = 1", []string{`:1: unknown key "nonsense"`, ":2: front is not a text in quotes"}},
		{"nonsense = 1\n[[origin]]\nname = 1", []string{`:1: unknown key "nonsense"`, ":3: origin.name"}},
		{"front = 'a'\nfront = 'b'", []string{":2: "}},
		{"front = a", []string{`:1: front is not a text in quotes: write front = "..."`}},
		{"tls = true\r\nfront = :443\r\n", []string{`:2: front is not a text in quotes: write front = "..."`}},
		{"front = 10.0.0.1:443 # mine", []string{`:1: front is not a text in quotes: write front = "..."`}},
		{"nonsense = a", []string{`:1: nonsense is not a text in quotes`}},
		{"tls = yes", []string{":1: tls is not true or false"}},
		{"hold = 15s", []string{`:1: hold is not a duration in quotes, such as "15s"`}},
		{"upload-max = 1G", []string{":1: upload-max is not a whole number"}},
		{"proxy = a:1", []string{":1: proxy is not a list of texts in quotes"}},
		{"proxy = [a:1]", []string{":1: proxy is not a list of texts in quotes"}},
		{"proxy = [\n  a:1,\n]", []string{":2: "}},
		{"front =", []string{":1: front has no value"}},
		{"front = # none\n", []string{":1: front has no value"}},
		{"front = 'a", []string{":1: front: the text has no quote at its end"}},
		{"front = \"a\ntls = true", []string{":1: front: the text has no quote at its end"}},
		{`front = "a" b`, []string{":1: front: "}},
		{"front", []string{":1: "}},
		{"front 'a'", []string{":1: "}},
		{"hold = 15\nfront = a", []string{":1: hold is not a duration", ":2: front is not a text in quotes"}},
		{"[[origin]]\nname = photos", []string{`:2: name is not a text in quotes: write name = "..."`}},
		{"[[origin]]\nrequests-per-second = ten", []string{":2: requests-per-second is not a whole number"}},
		{"[[served]]\nconnections = a", []string{":2: connections is not a whole number"}},
		{"tls = true\n[front]\nport = 1", []string{`:2: "front" is no table`}},
		{"[[orign]]\nname = 'a'", []string{`:1: unknown table "orign"; did you mean "origin"?`}},
		{"[[origin]]\nnaem = 'a'", []string{`:2: unknown key "origin.naem"; did you mean "name"?`}},
		{"[[origin]]\nname = 'a'\nhold = '1s'", []string{`:3: unknown key "origin.hold": hold is a flag, write it above all tables`}},
		{"[[served]]\nhold = '1s'", []string{`:2: unknown key "hold": hold is a flag, write it above all tables`}},
		{"[[origin]]\nhelp = true", []string{`:2: unknown key "origin.help"`}},
		{"root = 'a'", []string{`:1: the key "root" is another program's`}},
		{"[[origin]]\nname = 1", []string{":2: origin.name is not a text in quotes"}},
		{"[[origin]]\nrequests-per-second = 1.5", []string{":2: origin.requests-per-second is not a whole number"}},
		{"[[origin]]\nheaders = 1", []string{":2: origin.headers is not a table"}},
		{"origin = 1", []string{":1: origin is not tables, each under its name"}},
		{"[origin]\nname = 'a'", []string{":1: [origin] is one table of several: write [[origin]]"}},
		{"[[served]]\nnaem = 'a'", []string{`:2: unknown key "naem"; did you mean "name"?`}},
		{"[[served]]\nconnections = 'a'", []string{":2: connections is not a whole number"}},
		{"[served]\nname = 'a'", []string{":1: [served] is one table of several: write [[served]]"}},
		{"[[served]]\n[served.deep]\na = 1", []string{`:2: unknown table "served.deep"`}},
		{"served = 1", []string{`:1: "served" is no value: write [[served]]`}},
		{"served = [{name = 'a'}]", []string{`:1: "served" is no value`}},
	} {
		var v flags
		file := write(t, tt.text)
		_, err := Load(file, Spec{Flags: v.set(), Never: []string{"help"}, Elsewhere: []string{"root"}, Tables: new(policy), Each: map[string]func() *pflag.FlagSet{"served": new(served).table}})
		faults, _ := errors.AsType[FileErrors](err)
		if len(faults) != len(tt.want) {
			t.Errorf("%q: got %q, want %d faults", tt.text, []error(faults), len(tt.want))
			continue
		}
		for i, want := range tt.want {
			text := faults[i].Error()
			if !strings.HasPrefix(text, file+":") || !strings.Contains(text, want) || strings.Contains(text, "\n") {
				t.Errorf("%q: got %q, want %q", tt.text, text, want)
			}
		}
	}
}

// What is overridden is not looked at, but for its type.
func TestOverriddenNonsense(t *testing.T) {
	for text, ok := range map[string]bool{`hold = "soon"`: true, `hold = 15`: false} {
		var v flags
		fs := v.set()
		fs.Parse([]string{"--hold", "1s"})
		if _, err := Load(write(t, text), Spec{Flags: fs}); err == nil != ok || v.hold != time.Second {
			t.Errorf("%s: %v, %v", text, err, v.hold)
		}
	}
}

func TestNoFile(t *testing.T) {
	var v flags
	missing := filepath.Join(t.TempDir(), "none.toml")
	if _, err := Load(missing, Spec{Flags: v.set()}); err == nil || !strings.Contains(err.Error(), missing+" is missing") || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	if _, err := Load(dir, Spec{Flags: v.set()}); err == nil || !strings.Contains(err.Error(), dir+" cannot be read") {
		t.Errorf("got %v", err)
	}
}

// Whatever is in a file, it is read or refused.
func FuzzLoad(f *testing.F) {
	f.Add("front = 'a'\n[[origin]]\nname = 'x'\n[[served]]\nroot = 1\n")
	f.Add("served = [{name = 'a'}, 1]\nproxy = ['a', 1]")
	f.Fuzz(func(t *testing.T, text string) {
		var v flags
		Load(write(t, text), Spec{Flags: v.set(), Tables: new(policy), Each: map[string]func() *pflag.FlagSet{"served": new(served).table}})
	})
}
