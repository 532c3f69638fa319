package handbook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The commands of a page run in network and mount namespaces of their own, in which
// every name and address of the page is this machine: what stands there is run as it
// stands.
const sandbox = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS

// inSandbox returns a command that has namespaces of its own, and is root in them.
func inSandbox(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  sandbox,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// TestCommands runs the commands of every page.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts programs, for many seconds")
	}
	if out, err := inSandbox(t.Context(), "sh", "-c", "ip link set lo up && mount --bind /etc/hosts /etc/hosts && curl --version && openssl version && python3 --version").CombinedOutput(); err != nil {
		t.Skipf("no network and mount namespaces here, with ip, curl, openssl and python3: %v\n%s", err, out)
	}
	Binaries(t)
	for _, p := range Pages() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range runPage(t, p.Name, blocks(p)) {
				t.Error(fault)
			}
		})
	}
}

// What the test says of pages that are wrong: it can fail.
func TestCommandsCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts programs, for many seconds")
	}
	if err := inSandbox(t.Context(), "ip", "link", "set", "lo", "up").Run(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	sh := func(text string, words ...string) block {
		return block{page: "wrong", line: 7, kind: "sh", text: text, words: words}
	}
	for _, tt := range []struct {
		name   string
		blocks []block
		want   string // "" for nothing wrong
	}{
		{"all is well", []block{sh("echo one; test -e ~/Pictures/image.jpg\n"), {kind: "output", text: "o...e\n"}, sh("false\n", "fails")}, ""},
		{"it fails", []block{sh("echo why >&2\nfalse\necho on\n")}, "wrong.md:7: exit status 1\nwhy\n"},
		{"it does not fail", []block{sh("true\n", "fails")}, "wrong.md:7: it is to fail"},
		{"it prints something else", []block{sh("echo one\n"), {page: "wrong", line: 9, kind: "output", text: "two ...\n"}}, `wrong.md:9: "two ..." is not what was printed`},
		{"a program ends that is to go on", []block{sh("p --front nonsense\n", "runs")}, `wrong.md:7: it has ended`},
		{"a flag that is none", []block{sh("p check --nonsense\n")}, "--nonsense"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(runPage(t, "wrong", tt.blocks), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

var (
	pageNames     = regexp.MustCompile(`\b(?:[a-z0-9-]+\.)*(?:example\.(?:org|com|net)|[a-z0-9-]+\.localhost)\b`)
	pageAddresses = regexp.MustCompile(`\b(?:10\.\d+|192\.0|198\.51|203\.0)\.\d+\.\d+\b`)
)

// runPage runs the commands of blocks, and returns what is wrong with them.
func runPage(t *testing.T, page string, list []block) (faults []string) {
	base := Binaries(t)
	work := t.TempDir()
	var all strings.Builder
	folders := []string{""}
	for _, b := range list {
		all.WriteString(b.text)
		if !slices.Contains(folders, b.in) {
			folders = append(folders, b.in)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	if names := pageNames.FindAllString(all.String(), -1); len(names) > 0 {
		slices.Sort(names)
		hosts += "127.0.0.1 " + strings.Join(slices.Compact(names), " ") + "\n"
	}
	write("hosts", hosts)
	addresses := pageAddresses.FindAllString(all.String(), -1)
	slices.Sort(addresses)

	var script strings.Builder
	fmt.Fprintf(&script, "work=%q base=%q prepare=%q folders=%q addresses=%q\n", work, base, prepared(t, page), strings.Join(folders, " "),
		strings.Join(slices.Compact(addresses), " "))
	script.WriteString(prelude)
	for i, b := range list {
		dir := filepath.Join("page", b.in)
		switch {
		case b.kind == "sh" && !b.runsHere():
		case b.kind == "sh":
			write(fmt.Sprintf("%d.sh", i), "set -euo pipefail\n"+b.text)
			how := "ends"
			for _, w := range []string{"runs", "fails"} {
				if b.has(w) {
					how = w
				}
			}
			fmt.Fprintf(&script, "%s %d %q %q\n", how, i, dir, program(b.text))
		case len(b.words) > 0 && b.kind != "output" && b.kind != "log":
			write(fmt.Sprintf("%d.file", i), b.text)
			fmt.Fprintf(&script, "file %d %q\n", i, filepath.Join(dir, b.words[0]))
		}
	}
	write("script", script.String())

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := inSandbox(ctx, "bash", filepath.Join(work, "script"))
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	printed := func(i int) string {
		text, _ := os.ReadFile(filepath.Join(work, fmt.Sprintf("%d.out", i)))
		return string(text)
	}
	if n, what, ok := strings.Cut(string(out), " "); err != nil && ok {
		i := 0
		if _, err := fmt.Sscan(n, &i); err == nil && i < len(list) {
			return append(faults, fmt.Sprintf("%v: %s\n%s", list[i], strings.TrimSpace(what), printed(i)))
		}
	}
	if err != nil || len(out) > 0 {
		return append(faults, fmt.Sprintf("%s: %v\n%s", page, err, out))
	}
	last := 0
	for i, b := range list {
		if b.kind == "sh" {
			last = i
		}
		if b.kind != "output" || !list[last].runsHere() {
			continue
		}
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			pattern := "(?m)^ *" + strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, ".*") + " *$"
			if !regexp.MustCompile(pattern).MatchString(strings.ReplaceAll(printed(last), "\r", "")) {
				faults = append(faults, fmt.Sprintf("%v: %q is not what was printed:\n%s", b, line, printed(last)))
			}
		}
	}
	return faults
}

// runsHere reports whether the test runs the commands of a block.
func (b block) runsHere() bool {
	for _, w := range b.words {
		if name, ok := strings.CutPrefix(w, "if="); ok {
			_, err := exec.LookPath(name)
			return err == nil
		}
		if notHere[w] != "" {
			return false
		}
	}
	return true
}

// program returns what a command begins with, without its folder.
func program(text string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		if r == '$' || r == '`' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, filepath.Base(words[0]))
}

// prepared returns the file that puts in place what a page's reader has, "" if there is
// none.
func prepared(t *testing.T, page string) string {
	name, err := filepath.Abs(filepath.Join("testdata", page+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

// prelude is the begin of a page's script. A line that begins with a block's number
// says what is wrong with it, and is the last one.
const prelude = `
ip link set lo up || exit
for a in $addresses; do ip addr add "$a/32" dev lo || exit; done
mount --bind "$work/hosts" /etc/hosts || exit
export HOME=$work/home PATH=$work/bin:$base/bin:$PATH SSL_CERT_FILE=$base/certs/ca.pem CURL_CA_BUNDLE=$base/certs/ca.pem
mkdir -p "$HOME/Pictures" "$work/bin"
cp "$base/testdata/image.jpg" "$HOME/Pictures"
for d in "" $folders; do
  mkdir -p "$work/page/$d"
  cp "$base/certs/names.pem" "$work/page/$d/fullchain.pem"
  cp "$base/certs/names.key" "$work/page/$d/privkey.pem"
done
ln -s "$base/bin" "$work/page/bin"
cp -r "$base/certs" "$base/testdata" "$work/page"

set -m # each program that goes on is a process group
declare -A running
halt() { # key: the program that runs in a folder
  local pid=${running[$1]:-}
  [ -n "$pid" ] || return
  unset "running[$1]"
  kill -TERM -- "-$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
}
halt_all() { for k in "${!running[@]}"; do halt "$k"; done; }
trap 'trap - TERM; halt_all; exit 1' TERM
trap halt_all EXIT
if [ -n "$prepare" ]; then cd "$work/page" && . "$prepare" && cd "$work" || exit; fi
wrong() { echo "$@"; halt_all; exit 1; }

# The invitation that a page shows stands for the one that was printed.
invitations() {
  local code
  has "$work/$1.sh" spdy1. || return 0
  code=$(cat "$work"/*.out 2>/dev/null | grep -o '^spdy1\.[A-Za-z0-9_-]*' | tail -n 1)
  [ -z "$code" ] || sed -i "s/spdy1\.[A-Za-z0-9_-]*\.\.\./$code/" "$work/$1.sh"
}
file() { cp "$work/$1.file" "$work/$2" || wrong "$1" "the file cannot be written"; }
ends() {
  invitations "$1"
  (cd "$work/$2" && exec timeout 60 bash "$work/$1.sh") >"$work/$1.out" 2>&1 </dev/null
  local status=$?
  [ $status = 0 ] || wrong "$1" "exit status $status"
}
fails() {
  if (cd "$work/$2" && exec timeout 60 bash "$work/$1.sh") >"$work/$1.out" 2>&1 </dev/null; then wrong "$1" "it is to fail, and does not"; fi
}
# What is asked again and again is asked of the shell itself: to start a program costs more than the answer.
ports() { # into n: how many listen
  local file state
  n=0
  for file in /proc/net/tcp /proc/net/tcp6; do
    while read -r _ _ _ state _; do [ "$state" != 0A ] || n=$((n + 1)); done <"$file"
  done
}
has() { # file, text
  local text
  IFS= read -r -d '' text <"$1"
  [[ $text == *"$2"* ]]
}
runs() { # number, folder, program
  local n before
  invitations "$1"
  halt "$2 $3"
  ports
  before=$n
  : >"$work/$1.out"
  local ready='msg="p listens"'
  ! has "$work/$1.sh" --acme-email || ready='msg="certificate is there"'
  (cd "$work/$2" && exec bash "$work/$1.sh") >"$work/$1.out" 2>&1 </dev/null &
  running["$2 $3"]=$!
  for _ in {1..300}; do
    case $3 in
      p) has "$work/$1.out" "$ready" && return ;;
      c) has "$work/$1.out" 'msg=connected' && return ;;
      *) ports && [ "$n" -gt "$before" ] && return ;;
    esac
    kill -0 "${running["$2 $3"]}" 2>/dev/null || wrong "$1" "it has ended"
    sleep 0.1
  done
  wrong "$1" "it is not ready after 30 seconds"
}
`

// Each block that is not run can be read by a shell.
func TestCommandsAreShell(t *testing.T) {
	for _, b := range allBlocks() {
		if b.kind != "sh" {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-n")
		cmd.Stdin = strings.NewReader(b.text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", b, err, bytes.TrimSpace(out))
		}
	}
}

// Each program, command and flag that a page names is there, in commands, in code
// between words and in words.
func TestFlags(t *testing.T) {
	dir := Binaries(t)
	ours, any := map[string]*programHelp{}, map[string]bool{}
	for _, name := range []string{"p", "c", "a"} {
		ours[name] = helpOf(func(args ...string) string {
			out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "bin", name), args...).Output()
			if err != nil {
				t.Fatalf("%s %q: %v", name, args, err)
			}
			return string(out)
		})
		gather(ours[name], any)
	}
	if !any["--token-file"] || !any["--json"] || !any["--rate"] || ours["p"].commands["token"].commands["add"] == nil {
		t.Fatalf("the programs' help is not understood: %v", any)
	}
	for _, p := range Pages() {
		for _, b := range blocks(p) {
			if b.kind == "sh" {
				for _, words := range calls(b.text) {
					if fault := wrongCall(words, ours); fault != "" {
						t.Errorf("%v: %s", b, fault)
					}
				}
			}
		}
		code, prose := spans(p)
		for _, text := range append(code, prose) {
			first, _, _ := strings.Cut(text, " ")
			if name := strings.TrimPrefix(first, "./bin/"); ours[name] != nil && text != prose {
				if fault := wrongCall(strings.Fields(text), ours); fault != "" {
					t.Errorf("%s.md: `%s`: %s", p.Name, text, fault)
				}
				continue
			}
			if text != prose && slices.Contains(others, first) {
				continue
			}
			for _, m := range flagIn.FindAllStringSubmatch(text, -1) {
				if !any["--"+m[1]] {
					t.Errorf("%s.md: %q: none of our programs has --%s", p.Name, text, m[1])
				}
			}
		}
	}
	// The page of flags has them all.
	listed, _ := spans(Page{Name: "flags"})
	text := strings.Join(listed, "\n") + "\n"
	for name, help := range ours {
		for flag := range help.flags {
			if strings.HasPrefix(flag, "--") && !strings.Contains(text, flag+" ") && !strings.Contains(text, flag+"\n") {
				t.Errorf("flags.md: %s of %s is not there", flag, name)
			}
		}
	}
	// The test can fail.
	for line, want := range map[string]string{
		"p --nonsense": "p has no --nonsense", "c -z": "c has no -z", "./bin/p token add -f x": "p token add has no -f", "p tokn list": "p has no command tokn",
		"curl x | nonsense --y": `"nonsense" is no program`, "p help nonsense": "p help shows no nonsense", "p token add photos wiki --config p.toml": "", "a --rate 1 http://localhost/": "",
		"curl -s https://example.org/ > x && c check --root y": "",
	} {
		got := ""
		for _, words := range calls(line) {
			got += wrongCall(words, ours)
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// gather adds the flags of a program and its commands to all.
func gather(h *programHelp, all map[string]bool) {
	for flag := range h.flags {
		all[flag] = true
	}
	for _, sub := range h.commands {
		gather(sub, all)
	}
}
