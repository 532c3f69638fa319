package handbook

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	md "github.com/yuin/goldmark/ast"
)

// literals returns the texts in the programs' source, with ... for what is put into
// them.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	verb := regexp.MustCompile(`%[-+# 0]*(\[\d+\])?[\d.*]*[a-zA-Z]`)
	all := map[string]bool{}
	top := os.DirFS("../..")
	for _, dir := range []string{"cmd", "internal"} {
		err := fs.WalkDir(top, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(top, name)
			if err != nil {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				expr, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := constant(expr)
				if ok {
					all[strings.ReplaceAll(verb.ReplaceAllString(text, "..."), "%%", "%")] = true
				}
				return !ok
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// constant returns a text of one or several literals, with ... for what stands between
// them.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		x, okX := constant(e.X)
		y, okY := constant(e.Y)
		switch {
		case okX && okY:
			return x + y, true
		case okX:
			return x + "...", true
		case okY:
			return "..." + y, true
		}
	}
	return "", false
}

var attribute = regexp.MustCompile(`([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)`)

// unsaid returns the part of a quoted line that the programs never say, "" if there is
// none. A line is one of the log, level=WARN msg="..." err="...", or one that ends a
// program, p: ...
func unsaid(line string, said map[string]bool) string {
	texts := []string{line}
	if at := strings.Index(line, "msg="); at >= 0 {
		texts = nil
		for _, m := range attribute.FindAllStringSubmatch(line, -1) {
			key, value := m[1], m[2]
			if s, err := strconv.Unquote(value); err == nil {
				value = s
			}
			switch key {
			case "time", "level":
			case "msg", "err", "why", "reason", "detail":
				texts = append(texts, value)
			default:
				if !said[key] {
					return key + "="
				}
			}
		}
	} else if len(line) > 3 && line[1:3] == ": " {
		texts[0] = line[3:]
	}
	words := 0
	for _, text := range texts {
		for piece := range strings.SplitSeq(text, "...") {
			piece = strings.Trim(piece, ` ":;,`)
			words += len(strings.Fields(piece))
			if piece != "" && !contained(piece, said) {
				return piece
			}
		}
	}
	if words == 0 {
		return line
	}
	return ""
}

func contained(piece string, said map[string]bool) bool {
	for text := range said {
		if strings.Contains(text, piece) {
			return true
		}
	}
	return false
}

// Each line of the log that a page quotes is one that p or c may print.
func TestLogLines(t *testing.T) {
	said := literals(t)
	for _, b := range allBlocks() {
		if b.kind != "log" {
			continue
		}
		for line := range strings.Lines(b.text) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if piece := unsaid(line, said); piece != "" {
				t.Errorf("%v: %q: neither p nor c says %q", b, line, piece)
			}
		}
	}
	for line, good := range map[string]bool{
		`level=INFO msg="p listens" front=localhost:1443 control=...`:      true,
		`msg="reload failed, what was read before stays in use" err="..."`: true,
		`p: --root and --to exclude each other: give one of them`:          true,
		`msg="p listens nowhere" front=localhost:1443`:                     false,
		`msg="p listens" frontier=localhost:1443`:                          false,
		`p: there is no such line`:                                         false,
		`...`:                                                              false,
		`p: --... does not go with the [[origin]] tables of the configuration file: write it into one of them`: true,
	} {
		if (unsaid(line, said) == "") != good {
			t.Errorf("%q: what is not said is %q", line, unsaid(line, said))
		}
	}
}

// others are programs that pages name beside ours: what stands behind one in a line of
// code is its own.
var others = strings.Fields("alias apt awk bash cat cd chmod chown cloudflared cmp cp curl cut dd diff docker dpkg echo export fish frpc frps " +
	"chisel groupadd haproxy git go grep gzip head htpasswd install jq journalctl kill kodi-send kubectl ln ls make man mkdir mount mv nginx node npm npx openssl podman " +
	"printf promtool python3 rathole rclone rm rpm scp sed sh sha256sum skopeo sleep ssh sudo systemctl systemd-analyze systemd-creds systemd-run tail tar tee test timeout touch tr " +
	"umount unzip vlc wc wget wait zip zsh source websocat loginctl useradd ffplay true false env")

// spans returns the texts of a page that may name a flag: each span of code, and the
// words outside of it.
func spans(p Page) (code []string, prose string) {
	doc, src := p.parsed()
	var b strings.Builder
	md.Walk(doc, func(n md.Node, entering bool) (md.WalkStatus, error) {
		if !entering {
			return md.WalkContinue, nil
		}
		switch n := n.(type) {
		case *md.CodeSpan:
			w := textWriter{src: src}
			code = append(code, w.inline(n))
			return md.WalkSkipChildren, nil
		case *md.Text:
			b.Write(n.Segment.Value(src))
			b.WriteString(" ")
		}
		return md.WalkContinue, nil
	})
	return code, b.String()
}

// flagIn finds flags by their long names.
var flagIn = regexp.MustCompile(`(?:^|[\s("'=|])--([a-z][a-z0-9-]*)`)

// beforeCommand are words that a shell or sudo takes before a command, or in its place.
var beforeCommand = []string{"sudo", "exec", "!", "if", "then", "else", "fi", "until", "while", "do", "done"}

// calls are the commands in a line of code: each begins with a program.
func calls(line string) (all [][]string) {
	for _, part := range regexp.MustCompile(`\|\||&&|[|;&()]`).Split(strings.ReplaceAll(line, "\\\n", " "), -1) {
		for each := range strings.Lines(part) {
			words := strings.Fields(regexp.MustCompile(`#.*|[0-9]?>>?\s*\S+|<\s*\S+`).ReplaceAllString(each, ""))
			for len(words) > 0 && (slices.Contains(beforeCommand, words[0]) || strings.Trim(words[0], `"'`) == "" || regexp.MustCompile(`^[A-Za-z_]+=`).MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 0 {
				all = append(all, words)
			}
		}
	}
	return all
}

// wrongCall returns what is wrong with a command, "" if nothing is. known says whether a
// program is one that pages may name.
func wrongCall(words []string, ours map[string]*programHelp) string {
	name := strings.TrimPrefix(words[0], "./bin/")
	prog := ours[name]
	if prog == nil {
		if !slices.Contains(others, words[0]) {
			return strconv.Quote(words[0]) + " is no program that is known here"
		}
		return ""
	}
	cmd, path := prog, name
	for i, w := range words[1:] {
		w = strings.Trim(w, `"'`)
		switch {
		case strings.HasPrefix(w, "--"):
			flag, _, _ := strings.Cut(w[2:], "=")
			if !prog.flags["--"+flag] && !cmd.flags["--"+flag] {
				return path + " has no " + w
			}
		case strings.HasPrefix(w, "-") && len(w) == 2:
			if !prog.flags[w] && !cmd.flags[w] {
				return path + " has no " + w
			}
		case i == 0 || cmd != prog && len(cmd.commands) > 0 && path+" "+w != path:
			if next := cmd.commands[w]; next != nil {
				cmd, path = next, path+" "+w
			} else if i == 0 && name != "a" {
				return path + " has no command " + w
			}
		case path == "p help" || path == "c help":
			_, isPage := Find(w)
			if !isPage && prog.commands[w] == nil && w != strings.ToUpper(w) && w != "handbook" {
				return path + " shows no " + w
			}
		}
	}
	return ""
}

// programHelp is what a program's help lists.
type programHelp struct {
	flags    map[string]bool // with their hyphens
	commands map[string]*programHelp
}

// helpOf asks a program what it has; run returns what it prints with arguments.
func helpOf(run func(args ...string) string, path ...string) *programHelp {
	text := run(append(slices.Clone(path), "--help")...)
	h := &programHelp{flags: map[string]bool{"--help": true, "-h": true}, commands: map[string]*programHelp{}}
	for _, m := range regexp.MustCompile(`(?m)^  (?:(-[a-zA-Z]), |    )(--[a-z0-9-]+)`).FindAllStringSubmatch(text, -1) {
		h.flags[m[1]], h.flags[m[2]] = true, true
	}
	_, list, _ := strings.Cut(text, "\nCommands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)`).FindAllStringSubmatch(list, -1) {
		h.commands[m[1]] = helpOf(run, append(slices.Clone(path), m[1])...)
	}
	if len(path) == 0 && len(h.commands) > 0 { // not shown there
		for _, name := range []string{"completion", "man"} {
			h.commands[name] = helpOf(run, name)
		}
	}
	return h
}
