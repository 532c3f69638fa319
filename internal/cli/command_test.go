package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/amahi/spdy-proxy/internal/columns"
)

// withCommands is a daemon with commands. What runs is noted in ran.
func withCommands(v *values, ran *[]string) *Program {
	note := func(what string) func(context.Context, *Process) error {
		return func(_ context.Context, p *Process) error {
			*ran = append([]string{what}, p.Args...)
			return nil
		}
	}
	var force bool
	return &Program{
		Name: "x", Short: "a test", About: "Does it. And more.\nIn two paragraphs.", Daemon: true, Flags: v.flags, Run: note("x"),
		Examples: []Example{{"x -t", "does it safely"}},
		Commands: []*Command{
			{Name: "check", About: "Says what is wrong. In detail.", Run: note("check")},
			{Name: "fails", About: "Fails.", Run: func(context.Context, *Process) error { return errors.New("it broke") }},
			{Name: "hidden", About: "Is not shown.", Hidden: true, Run: note("hidden")},
			{Name: "list", About: "Edits a list.", Commands: []*Command{
				{Name: "add", Args: "ITEM...", About: "Adds to it.", Run: note("add"),
					Flags: func(fs *Flags) { fs.BoolVarP(&force, "force", "f", false, "even if `IT` is there") }},
				{Name: "remove", Args: "ITEM", About: "Takes from it.", Run: note("remove")},
			}},
		},
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		args   string
		env    string // of SPDY_PROXY_MAX_N
		ran    string // what, and its arguments
		n      int
		status int
		says   []string // on standard error
	}{
		{args: "", ran: "x", n: 3},
		{args: "--max-n 4", ran: "x", n: 4},
		{args: "check", ran: "check", n: 3},
		{args: "check --max-n 4", ran: "check", n: 4},
		{args: "--max-n 4 check", ran: "check", n: 4},
		{args: "check", env: "5", ran: "check", n: 5},
		{args: "--addr check", ran: "x", n: 3},
		{args: "list add -f a b", ran: "add a b", n: 3},
		{args: "list --max-n=4 add --force a", ran: "add a", n: 4},
		{args: "hidden", ran: "hidden", n: 3},
		{args: "version", env: "nonsense", n: 3},
		{args: "help list", env: "nonsense", n: 3},

		{args: "chekc", n: 3, status: 2, says: []string{`"chekc" is not a command of x`, `did you mean "check"?`, "x --help"}},
		{args: "stray", n: 3, status: 2, says: []string{`"stray" is not a command of x; x --help`}},
		{args: "spdy1.AQ9sb2NhbGhvc3Q6Mz", n: 3, status: 2, says: []string{`"spdy1.AQ9sb2NhbGhvc3..." is not`}},
		{args: "check stray", n: 3, status: 2, says: []string{`unexpected argument "stray"`, "x check --help"}},
		{args: "check --froce", n: 3, status: 2, says: []string{"--froce", "x check --help"}},
		{args: "list add --froce", n: 3, status: 2, says: []string{"--froce", "did you mean --force?", "x list add --help"}},
		{args: "list", n: 3, status: 2, says: []string{"x list: give one of its commands: add, remove"}},
		{args: "list ad", n: 3, status: 2, says: []string{`"ad" is not a command of x list`, `did you mean "add"?`}},
		{args: "help nonsense", n: 3, status: 2, says: []string{`"nonsense" is not a command of x`}},
		{args: "--force", n: 3, status: 2, says: []string{"--force"}},
		{args: "check", env: "nonsense", n: 3, status: 2, says: []string{"SPDY_PROXY_MAX_N", "nonsense"}},
		{args: "fails", n: 3, status: 1, says: []string{"x: it broke"}},
		{args: "completion tcsh", n: 3, status: 2, says: []string{"bash, zsh or fish"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv("SPDY_PROXY_MAX_N", tt.env)
			}
			var v values
			var ran []string
			var stderr bytes.Buffer
			status := withCommands(&v, &ran).Main(t.Context(), strings.Fields(tt.args), io.Discard, &stderr)
			text := stderr.String()
			if status != tt.status || strings.Join(ran, " ") != tt.ran || v.n != tt.n {
				t.Errorf("status %d, ran %q with %d; want %d, %q with %d; standard error %q", status, ran, v.n, tt.status, tt.ran, tt.n, text)
			}
			if lines := strings.Count(text, "\n"); lines != min(tt.status, 1) {
				t.Errorf("standard error %q, want %d lines", text, min(tt.status, 1))
			}
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("standard error %q, want %q in it", text, want)
				}
			}
		})
	}
}

// A word that is like no command's is told where it goes; one that is, which command.
func TestStray(t *testing.T) {
	for word, want := range map[string]string{
		"./films": `"./films" is not a command of x: a folder goes behind --dir; x --help`,
		"chekc":   `"chekc" is not a command of x; did you mean "check"?; x --help`,
		"list ad": `"ad" is not a command of x list; did you mean "add"?`,
		"list xx": `"xx" is not a command of x list; x list --help`,
	} {
		var v values
		var ran []string
		p := withCommands(&v, &ran)
		p.Stray = "a folder goes behind --dir"
		var stderr bytes.Buffer
		if status := p.Main(t.Context(), strings.Fields(word), io.Discard, &stderr); status != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %q; want %q", word, status, stderr.String(), want)
		}
	}
}

// output runs the program, which is to succeed, and returns what it printed.
func output(t *testing.T, p *Program, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := p.Main(t.Context(), args, &stdout, &stderr); status != exitOK || stderr.Len() > 0 {
		t.Errorf("%q: status %d, standard error %q", args, status, stderr.String())
	}
	return stdout.String()
}

func TestHelp(t *testing.T) {
	var v values
	var ran []string
	p := withCommands(&v, &ran)
	for _, tt := range []struct {
		args string
		want []string // in this order
		not  string
	}{
		{"--help", []string{"Usage: x [flags]\n       x COMMAND [flags]\n\nDoes it. And more.\n\nIn two", "\nExamples:\n  x -t\n      does it safely\n",
			"\nCommands:\n  check         Says what is wrong\n", "  help  ", "  list  ", "  version  ",
			"\nPlaces:\n  -a, --addr ADDR", "\nNumbers:\n      --hold DURATION", "(default 10s)", "\nConfiguration and log:\n", "--config FILE", "(default info)", "\nOthers:\n  -h, --help "}, "hidden"},
		{"list --help", []string{"Usage: x list COMMAND [flags]\n", "Edits a list.", "  add  ", "  remove  ", "x --help"}, "--addr"},
		{"list add -h", []string{"Usage: x list add [flags] ITEM...\n", "\nFlags:\n  -f, --force IT"}, "--addr"},
		{"version --help", []string{"Usage: x version [flags]\n", "--json"}, "x --help"},
	} {
		text := output(t, p, strings.Fields(tt.args)...)
		if alias, ok := strings.CutSuffix(tt.args, " --help"); ok {
			if other := output(t, p, append([]string{"help"}, strings.Fields(alias)...)...); other != text {
				t.Errorf("help %s is %q, and not %q", alias, other, text)
			}
		}
		rest := text
		for _, want := range tt.want {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Errorf("%s printed\n%s\nwant %q in it, there", tt.args, text, want)
				break
			}
			rest = after
		}
		if tt.not != "" && strings.Contains(text, tt.not) {
			t.Errorf("%s printed\n%s\nwant no %q in it", tt.args, text, tt.not)
		}
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > columns.Width {
				t.Errorf("%s printed a line of more than %d columns: %q", tt.args, columns.Width, line)
			}
		}
	}
	if len(ran) > 0 {
		t.Errorf("%q ran", ran)
	}
}

func TestVersionAsJSON(t *testing.T) {
	var v values
	var ran []string
	var got struct{ Program, Version, Go, OS, Arch string }
	text := output(t, withCommands(&v, &ran), "version", "--json")
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Program != "x" || got.Version == "" || !strings.HasPrefix(got.Go, "go1.") || got.OS == "" || got.Arch == "" {
		t.Errorf("got %q: %v", text, err)
	}
}

// An archive of a commit says which one it is.
func TestVersionOfAnArchive(t *testing.T) {
	const revision = "9baa8c8d3c6a1f0e4b5d7788990011223344aabb"
	for _, tt := range []struct {
		text string
		want build
	}{
		{"v1.2.3\n" + revision + "\n2026-11-26T01:30:00+02:00\n", build{Version: "v1.2.3", Revision: revision, Time: "2026-11-25T23:30:00Z"}},
		{"v1.2.3-4-g9baa8c8\n" + revision + "\n2026-11-26T01:30:00Z\n", build{Version: "v1.2.3-4-g9baa8c8", Revision: revision, Time: "2026-11-26T01:30:00Z"}},
		{"\n" + revision + "\n2026-11-26T01:30:00+02:00\n", build{Version: "v0.0.0-20261125233000-9baa8c8d3c6a", Revision: revision, Time: "2026-11-25T23:30:00Z"}},
		{"", build{}},
		{"\n\n\n", build{}},
		{"v1.2.3\n" + revision + "\nyesterday\n", build{}},
		{"$Format:%(describe)$\n$Format:%H$\n$Format:%cI$\n", build{}},
	} {
		if got, ok := archivedBuild(tt.text); got != tt.want || ok != (tt.want != build{}) {
			t.Errorf("%q: got %+v, %v, want %+v", tt.text, got, ok, tt.want)
		}
	}
}

// book is a handbook of one page.
type book struct{}

func (book) Names() []string                { return []string{"names"} }
func (book) Contents(program string) string { return "of " + program + "\n" }

func (book) Text(name, program string) (string, bool) {
	return "about " + name + " by " + program + "\n", name == "names"
}

// A page of the handbook is shown beside commands, and named where help is.
func TestTopics(t *testing.T) {
	var v values
	var ran []string
	with := func() *Program {
		p := withCommands(&v, &ran)
		p.Book = book{}
		return p
	}
	for args, want := range map[string]string{
		"help names": "about names by x\n", "help handbook": "of x\n", "help list": "Edits a list.", "help list add": "Adds to it.",
		"--help": "The handbook: x help NAME, where NAME is handbook, names.\n", "man": ".SH HANDBOOK\n",
		"__complete help n": "names\n", "__complete help li": "list\n",
	} {
		var stdout bytes.Buffer
		if status := with().Main(t.Context(), strings.Fields(args), &stdout, io.Discard); status != exitOK || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: status %d, printed %q, want %q in it", args, status, stdout.String(), want)
		}
	}
	for args, want := range map[string]string{
		"help name":       `"name" is neither a command of x nor a page of its handbook; did you mean "names"?; x help handbook lists the pages`,
		"help chekc":      `did you mean "check"?`,
		"help list names": `"names" is not a command of x list`,
	} {
		var stderr bytes.Buffer
		if status := with().Main(t.Context(), strings.Fields(args), io.Discard, &stderr); status != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %q, want %q in it", args, status, stderr.String(), want)
		}
	}
	if text := output(t, withCommands(&v, &ran), "--help"); strings.Contains(text, "handbook") {
		t.Errorf("a program without a handbook speaks of one:\n%s", text)
	}
}

// What a shell asks for, and the scripts that have it ask.
func TestCompletion(t *testing.T) {
	var v values
	var ran []string
	p := withCommands(&v, &ran)
	for args, want := range map[string][]string{
		"":           {"check", "list", "version"},
		"list ":      {"add", "remove"},
		"--ho":       {"--hold"},
		"check --ad": {"--addr"},
	} {
		words := append([]string{"__complete"}, strings.Split(args, " ")...)
		var stdout bytes.Buffer
		if status := p.Main(t.Context(), words, &stdout, io.Discard); status != exitOK {
			t.Errorf("%q: status %d", args, status)
		}
		var got []string
		for line := range strings.Lines(stdout.String()) {
			word, about, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, word)
			if strings.ContainsAny(about, "`") {
				t.Errorf("%q: the text %q has marks of ours", args, about)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%q: got %q, want %q among them", args, got, w)
			}
		}
		if slices.Contains(got, "hidden") {
			t.Errorf("%q: a hidden command is shown", args)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text := output(t, p, "completion", shell)
		if !strings.Contains(text, "__complete") {
			t.Errorf("the script for %s does not ask the program:\n%.200s", shell, text)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), path, "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not read its script: %v\n%s", shell, err, out)
		}
	}
}

func TestManual(t *testing.T) {
	var v values
	var ran []string
	text := output(t, withCommands(&v, &ran), "man")
	for _, want := range []string{".TH X 1", "x \\- a test\n", ".B x [flags]\n.br\n.B x COMMAND [flags]\n", ".B x list add [flags] ITEM...\n", ".SS Places\n.TP\n.B \\-a, \\-\\-addr ADDR\n", "does it safely"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden") || strings.Contains(text, columns.Space) {
		t.Errorf("a hidden command, or a mark of ours, is in\n%s", text)
	}
	path, err := exec.LookPath("mandoc")
	if err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), path, "-Tlint", "-Werror")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[string]string{"0s": "0", "10s": "10s", "1m0s": "1m", "1m30s": "1m30s", "1h0m0s": "1h", "1h10m0s": "1h10m", "20m0s": "20m"} {
		if got := shortDuration(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}
