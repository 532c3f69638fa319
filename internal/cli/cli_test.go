package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// values are the flags of the tests' program, one of each kind.
type values struct {
	addr string
	hold time.Duration
	n    int
	tls  bool
	list []string
}

func (v *values) flags(fs *Flags) {
	fs.Group("Places")
	fs.StringVarP(&v.addr, "addr", "a", "localhost:1", "`ADDR` to use")
	fs.Group("Numbers")
	fs.DurationVar(&v.hold, "hold", 10*time.Second, "how long")
	fs.IntVar(&v.n, "max-n", 3, "how many")
	fs.BoolVarP(&v.tls, "tls", "t", false, "whether")
	fs.StringSliceVar(&v.list, "item", []string{"x"}, "which")
}

func TestFlagsAndEnvironment(t *testing.T) {
	defaults := values{"localhost:1", 10 * time.Second, 3, false, []string{"x"}}
	with := func(change func(*values)) values {
		v := defaults
		change(&v)
		return v
	}
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want values
	}{
		{"defaults", nil, nil, defaults},
		{"flags", nil, []string{"-a", "b:2", "--hold=1m", "--max-n", "7", "-t", "--item", "p", "--item", "q,r"},
			values{"b:2", time.Minute, 7, true, []string{"p", "q", "r"}}},
		{"environment", map[string]string{"ADDR": "b:2", "HOLD": "1m", "MAX_N": "7", "TLS": "true", "ITEM": "p,q"}, nil,
			values{"b:2", time.Minute, 7, true, []string{"p", "q"}}},
		{"the flag wins", map[string]string{"ADDR": "env:1", "MAX_N": "8", "ITEM": "env", "TLS": "true"}, []string{"--addr", "flag:1", "--item", "flag", "--tls=false"},
			with(func(v *values) { v.addr, v.n, v.list = "flag:1", 8, []string{"flag"} })},
		{"the flag wins over nonsense", map[string]string{"MAX_N": "nonsense"}, []string{"--max-n=4"}, with(func(v *values) { v.n = 4 })},
		{"an empty text is a value", map[string]string{"ADDR": ""}, nil, with(func(v *values) { v.addr = "" })},
		{"empty otherwise is absent", map[string]string{"HOLD": "", "MAX_N": "", "TLS": "", "ITEM": ""}, nil, defaults},
		{"a variable of the other program", map[string]string{"ROOT": "/srv"}, nil, defaults},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv("SPDY_PROXY_"+k, v)
			}
			var got values
			var ran bool
			p := &Program{Name: "x", Daemon: true, Flags: got.flags, Run: func(context.Context, *Process) error { ran = true; return nil }}
			var stderr bytes.Buffer
			if status := p.Main(t.Context(), tt.args, io.Discard, &stderr); status != exitOK || !ran {
				t.Fatalf("status %d, ran %v, stderr %q", status, ran, stderr.String())
			}
			if got.addr != tt.want.addr || got.hold != tt.want.hold || got.n != tt.want.n || got.tls != tt.want.tls ||
				strings.Join(got.list, " ") != strings.Join(tt.want.list, " ") {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestExit holds the exit statuses, and that 1 and 2 come with one line on
// standard error and nothing on standard output.
func TestExit(t *testing.T) {
	fails := func(err error) func(context.Context, *Process) error {
		return func(context.Context, *Process) error { return err }
	}
	tests := []struct {
		name   string
		args   []string
		env    map[string]string
		run    func(context.Context, *Process) error
		status int
		says   []string // on standard error
	}{
		{name: "done", status: 0},
		{name: "unknown flag", args: []string{"--nonsense"}, status: 2, says: []string{"x: ", "--nonsense", "x --help"}},
		{name: "a mistyped flag", args: []string{"--hodl", "1s"}, status: 2, says: []string{"--hodl", "did you mean --hold?", "x --help"}},
		{name: "unknown letter", args: []string{"-z"}, status: 2, says: []string{"-z", "x --help"}},
		{name: "no value", args: []string{"--addr"}, status: 2, says: []string{"--addr"}},
		{name: "not a duration", args: []string{"--hold", "ten"}, status: 2, says: []string{"--hold", `"ten"`, "15s"}},
		{name: "not a number", args: []string{"--max-n", "1e3"}, status: 2, says: []string{"--max-n", `"1e3"`, "whole number"}},
		{name: "not a bool", args: []string{"--tls=maybe"}, status: 2, says: []string{"--tls", "true or false"}},
		{name: "an argument", args: []string{"stray"}, status: 2, says: []string{`"stray"`}},
		{name: "environment, not a duration", env: map[string]string{"HOLD": "ten"}, status: 2, says: []string{"SPDY_PROXY_HOLD", `"ten"`, "15s"}},
		{name: "log format", args: []string{"--log-format", "xml"}, status: 2, says: []string{"--log-format", "json"}},
		{name: "log level", args: []string{"--log-level", "loud"}, status: 2, says: []string{"--log-level", "debug"}},
		{name: "a bad file", run: fails(Usagef("file %s is missing", "f")), status: 2, says: []string{"x: file f is missing"}},
		{name: "a bad file, wrapped", run: fails(errors.Join(errors.New("a"), Usage(errors.New("b")))), status: 2, says: []string{"x: a b"}},
		{name: "a port in use", run: fails(errors.New("port in use")), status: 1, says: []string{"x: port in use"}},
		{name: "an error of two lines", run: fails(errors.New("a\nb\x1b[31m\r")), status: 1, says: []string{"x: a b [31m"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv("SPDY_PROXY_"+k, v)
			}
			var v values
			p := &Program{Name: "x", Daemon: true, Flags: v.flags, Run: tt.run}
			if tt.run == nil {
				p.Run = fails(nil)
			}
			var stdout, stderr bytes.Buffer
			if status := p.Main(t.Context(), tt.args, &stdout, &stderr); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			text := stderr.String()
			wantLines := 1
			if tt.status == 0 {
				wantLines = 0
			}
			if strings.Count(text, "\n") != wantLines || stdout.Len() != 0 {
				t.Errorf("stderr %q, stdout %q; want %d lines and nothing", text, stdout.String(), wantLines)
			}
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("stderr %q, want %q in it", text, want)
				}
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"-h"}, []string{"Usage: x [flags]\n", "--addr ADDR", "-t, --tls", "(default 10s)", "--log-level", "-h, --help", "--version", "SPDY_PROXY_LOG_LEVEL"}},
		{[]string{"--help", "--max-n=1"}, []string{"Usage: x"}},
		{[]string{"--version"}, []string{"x ", "go1."}},
	} {
		var v values
		p := &Program{Name: "x", About: "Does it.", Daemon: true, Flags: v.flags,
			Run: func(context.Context, *Process) error { t.Error("it ran"); return nil }}
		var stdout, stderr bytes.Buffer
		if status := p.Main(t.Context(), tt.args, &stdout, &stderr); status != exitOK || stderr.Len() != 0 {
			t.Errorf("%v: status %d, stderr %q", tt.args, status, stderr.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%v printed\n%s\nwant %q in it", tt.args, stdout.String(), want)
			}
		}
	}
}

// A program that is no daemon takes arguments, and nothing from the environment.
func TestNoDaemon(t *testing.T) {
	t.Setenv("SPDY_PROXY_MAX_N", "99")
	var v values
	var args []string
	p := &Program{Name: "x", Args: "[URL]", Flags: v.flags, Run: func(_ context.Context, p *Process) error { args = p.Args; return nil }}
	if status := p.Main(t.Context(), []string{"u", "--tls"}, io.Discard, io.Discard); status != 0 {
		t.Fatalf("status %d", status)
	}
	if v.n != 3 || !v.tls || len(args) != 1 || args[0] != "u" {
		t.Errorf("n %d, tls %v, arguments %q; want 3, true, u", v.n, v.tls, args)
	}
	if status := p.Main(t.Context(), []string{"--log-level=info"}, io.Discard, io.Discard); status != exitUsage {
		t.Errorf("--log-level: status %d, want 2", status)
	}
	for _, command := range []string{"version --json", "help", "completion bash", "man"} {
		if output(t, p, strings.Fields(command)...) == "" {
			t.Errorf("%s: nothing on standard output", command)
		}
	}
}

func TestLog(t *testing.T) {
	var v values
	p := &Program{Name: "x", Daemon: true, Flags: v.flags, Run: func(_ context.Context, p *Process) error {
		p.Log.Info("quiet")
		p.Log.Warn("loud", "k", "v")
		return errors.New("broken")
	}}
	var stderr bytes.Buffer
	p.Main(t.Context(), []string{"--log-format=json", "--log-level=warn"}, io.Discard, &stderr)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), stderr.String())
	}
	for i, want := range []string{"loud", "x: broken"} {
		var record struct{ Level, Msg, K string }
		if err := json.Unmarshal([]byte(lines[i]), &record); err != nil || record.Msg != want {
			t.Errorf("line %q: %v, message %q; want %q", lines[i], err, record.Msg, want)
		}
	}
}

func TestToken(t *testing.T) {
	t.Setenv("SPDY_PROXY_TOKEN", "from-env")
	for _, tt := range []struct {
		args []string
		want string
	}{{nil, "from-env"}, {[]string{"--token-file=f"}, ""}} {
		got := "not run"
		p := &Program{Name: "x", Daemon: true,
			Flags: func(fs *Flags) { fs.String("token-file", "certs/token", "f") },
			Run:   func(_ context.Context, p *Process) error { got = p.Token(); return nil }}
		p.Main(t.Context(), tt.args, io.Discard, io.Discard)
		if got != tt.want {
			t.Errorf("%v: token %q, want %q", tt.args, got, tt.want)
		}
	}
}

// signalled runs a program in which signals come from the test.
func signalled(t *testing.T, run func(ctx context.Context, p *Process, send chan<- os.Signal)) {
	t.Helper()
	send := make(chan os.Signal)
	p := &Program{Name: "x", Daemon: true, Signals: send,
		Run: func(ctx context.Context, p *Process) error { run(ctx, p, send); return nil }}
	if status := p.Main(t.Context(), nil, io.Discard, io.Discard); status != exitOK {
		t.Errorf("status %d after a requested stop, want 0", status)
	}
}

func TestSignals(t *testing.T) {
	for _, first := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		signalled(t, func(ctx context.Context, p *Process, send chan<- os.Signal) {
			send <- first
			<-ctx.Done()
			if p.Now.Err() != nil {
				t.Errorf("%v: the first is immediate", first)
			}
			send <- syscall.SIGTERM
			<-p.Now.Done()
		})
	}
}

// The end of Main's context is a first signal.
func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &Program{Name: "x", Run: func(ctx context.Context, p *Process) error {
		cancel()
		<-ctx.Done()
		if p.Now.Err() != nil {
			t.Error("the end of the context is immediate")
		}
		return nil
	}}
	if status := p.Main(ctx, nil, io.Discard, io.Discard); status != exitOK {
		t.Errorf("status %d, want 0", status)
	}
}

func TestReload(t *testing.T) {
	signalled(t, func(ctx context.Context, p *Process, send chan<- os.Signal) {
		send <- syscall.SIGHUP // nobody is interested yet
		begun, let := make(chan struct{}, 8), make(chan struct{})
		var running atomic.Int32
		p.OnReload(func() {
			if running.Add(1) > 1 {
				t.Error("two calls at a time")
			}
			begun <- struct{}{}
			<-let
			running.Add(-1)
		})
		send <- syscall.SIGHUP
		<-begun
		// The call waits for the test: what comes meanwhile is not forgotten.
		for range 3 {
			send <- syscall.SIGHUP
		}
		close(let)
		<-begun
		if ctx.Err() != nil {
			t.Error("SIGHUP ended the program")
		}
	})
}

// A reload from a disk that does not answer does not outlive the second signal.
func TestReloadThatHangs(t *testing.T) {
	let := make(chan struct{})
	defer close(let)
	signalled(t, func(ctx context.Context, p *Process, send chan<- os.Signal) {
		begun := make(chan struct{})
		p.OnReload(func() { close(begun); <-let })
		send <- syscall.SIGHUP
		<-begun
		// The second may well come when Run is over.
		send <- syscall.SIGTERM
		go func() { send <- syscall.SIGTERM }() // ends when it is heard
	})
}

func TestHandOver(t *testing.T) {
	if handOverSignal == nil {
		t.Skip("this system has no signal for it")
	}
	signalled(t, func(ctx context.Context, p *Process, send chan<- os.Signal) {
		send <- handOverSignal // nobody is interested yet
		begun, let := make(chan struct{}, 8), make(chan struct{})
		p.OnHandOver(func() { begun <- struct{}{}; <-let })
		send <- handOverSignal
		<-begun
		for range 3 {
			send <- handOverSignal
		}
		// Another one, and a reload, do not wait for it.
		reloaded := make(chan struct{})
		p.OnReload(func() { close(reloaded) })
		send <- syscall.SIGHUP
		<-reloaded
		close(let)
		<-begun
		if ctx.Err() != nil {
			t.Error("it ended the program")
		}
	})
}
