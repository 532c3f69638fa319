package cli

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// tabled is a daemon whose configuration file has tables of both kinds.
func tabled(v *values) *Program {
	return &Program{
		Name: "x", Daemon: true,
		Flags: func(fs *Flags) {
			v.flags(fs)
			fs.String("token-file", "t", "`FILE`")
			fs.String("join", "", "a `CODE`")
			fs.Secret("join")
		},
		Tables: &struct {
			Origin []struct {
				Name string `toml:"name"`
			} `toml:"origin"`
		}{},
		Each: map[string]func() *pflag.FlagSet{"served": func() *pflag.FlagSet {
			fs := pflag.NewFlagSet("", pflag.ContinueOnError)
			fs.String("root", "", "")
			fs.Bool("dav", false, "")
			return fs
		}},
		Run: func(context.Context, *Process) error { return nil },
	}
}

// What is printed says where it comes from, holds no secret, and is a configuration
// file that has the same in effect.
func TestConfigCommand(t *testing.T) {
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	t.Setenv("SPDY_PROXY_JOIN", "sesame")
	t.Setenv("SPDY_PROXY_HOLD", "90m")
	file := writeConfig(t, "item = ['a,b', \"c\\\"\\u007f<\"]\n[[origin]]\nname = 'photos'\n[[served]]\nroot = '/srv'\n")
	var v values
	text := output(t, tabled(&v), "config", "--config", file, "-t")
	for _, want := range []string{
		"# with " + file + " (flag)\n", "# SPDY_PROXY_TOKEN is set, and stands for token-file\n", "\n# Places\naddr = \"localhost:1\"  # default\n",
		"hold = \"1h30m\"  # environment\n", "max-n = 3  # default\n", "tls = true  # flag\n", "# join is set, and not shown  # environment\n",
		"\n[[served]]\nroot = \"/srv\"  # file\n", "[[origin]]\nname = 'photos'\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "sesame") || strings.Contains(text, "dav") {
		t.Errorf("a secret, or a default of a table, is in\n%s", text)
	}
	var again values
	t.Setenv("SPDY_PROXY_HOLD", "")
	second := output(t, tabled(&again), "config", "--config", writeConfig(t, text))
	if again.hold != v.hold || again.tls != v.tls || strings.Join(again.list, "|") != strings.Join(v.list, "|") || len(v.list) != 2 {
		t.Errorf("the file that was printed has %+v in effect, want %+v\n%s", again, v, second)
	}
}

// What the help says shows what was changed shows no more than that.
func TestConfigCommandChanged(t *testing.T) {
	var v values
	_, rest, _ := strings.Cut(output(t, tabled(&v), "help", "config"), " config | ")
	filter, _, _ := strings.Cut(rest, "\n")
	t.Setenv("SPDY_PROXY_JOIN", "sesame")
	grep := exec.Command("sh", "-c", filter)
	grep.Stdin = strings.NewReader(output(t, tabled(&v), "config", "--hold", "90m", "--config", writeConfig(t, "max-n = 4\n")))
	got, err := grep.Output()
	want := "hold = \"1h30m\"  # flag\nmax-n = 4  # file\n# join is set, and not shown  # environment\n"
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v; want %q", filter, got, err, want)
	}
}

// All that is wrong is listed.
func TestConfigCommandFaults(t *testing.T) {
	t.Setenv("SPDY_PROXY_HOLD", "soon")
	file := writeConfig(t, "max-n = 'a'\nnonsense = 1\ntls = true\n")
	var v values
	var stdout, stderr bytes.Buffer
	status := tabled(&v).Main(t.Context(), []string{"config", "--config", file}, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if status != exitUsage || len(lines) != 3 || !strings.HasPrefix(lines[0], "x: SPDY_PROXY_HOLD") ||
		!strings.Contains(lines[1], ":1: max-n") || !strings.Contains(lines[2], `:2: unknown key "nonsense"`) {
		t.Errorf("status %d, %q", status, lines)
	}
	if !strings.Contains(stdout.String(), "tls = true  # file") {
		t.Errorf("what is in effect is not said:\n%s", stdout.String())
	}
	if status := tabled(&v).Main(t.Context(), []string{"--config", file}, io.Discard, &stderr); status != exitUsage {
		t.Errorf("status %d of what is to run, want 2", status)
	}
}
