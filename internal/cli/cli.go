// Package cli is what the programs have in common around their work: flags and
// the environment, commands, help, the log, signals, and the exit status.
//
// A program is a [Program] value, and its main is
//
//	func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
//
// so that a test calls run as a user calls the program. The exit status is 0
// after a requested stop, 1 when running failed, 2 for a bad flag, file or
// address; 1 and 2 come with one line on standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// The exit statuses.
const (
	exitOK    = 0 // help, version, the work is done, or a requested stop
	exitRun   = 1 // running failed: a port in use, say
	exitUsage = 2 // a bad flag, file or address
)

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "SPDY_PROXY_"

// Program describes a program. Name and Run are needed.
type Program struct {
	Name     string    // as it is typed: "p"
	Args     string    // the arguments after the flags, for the help: "[URL]"; empty: none are taken
	Short    string    // what it is, for the head of its manual page: "reverse proxy"
	About    string    // what it does, for the help; a paragraph a line
	Examples []Example // two or three, for the help

	// Daemon adds what p and c have and a has not: each flag also from the
	// environment and from a configuration file, --log-format and --log-level, SIGHUP, SIGUSR2, and a standard error that
	// neither holds it up nor ends it, whatever becomes of who reads that.
	Daemon bool

	// Flags adds the program's own flags. Nil adds none. A flag named in back
	// quotes in its usage text gets that word as the name of its value.
	Flags func(*Flags)

	// Run does the work, until it is done or ctx ends. ctx ends at the first
	// SIGINT or SIGTERM, and with Main's ctx: Run then stops in good order and
	// returns nil. An error of [Usage] or [Usagef] becomes exit status 2,
	// any other 1.
	Run func(ctx context.Context, p *Process) error

	// ConfigFile is where a Daemon looks for its configuration file if none is named: ""
	// is NAME.toml in the folder that the linker was told, and no file if it was told none.
	ConfigFile string

	// Tables and Each are what a configuration file may have beside the flags: see
	// config.Spec.
	Tables any
	Each   map[string]func() *pflag.FlagSet

	// Remarks, if set, returns what else is in effect, for the command config: a line
	// each, without secrets.
	Remarks func(*Process) []string

	// Commands are what it does in place of Run when one of their names is given.
	// Each program has version, help, completion and man, too.
	Commands []*Command

	// Stray is said of a word where a command was expected that is like none: where such
	// words go. "": nothing.
	Stray string

	// Book is what its help shows beside commands. Nil: nothing.
	Book Book

	// Signals replaces the signals of the process, for tests. Nil: those.
	Signals <-chan os.Signal
}

// Command is something else that a program can do. It is no daemon. The program's
// flags are its, too, from the environment as well.
type Command struct {
	Name     string // as it is typed
	Args     string // the arguments after the flags, for the help; empty: none are taken
	About    string // what it does; the first sentence is shown in the program's help
	Examples []Example
	Hidden   bool // not shown in the program's help

	// Bare takes nothing from the environment and reads no configuration file: what
	// it does has nothing to do with the program's flags.
	Bare bool

	// Lenient runs even if there is something wrong with those: see Process.Faults.
	Lenient bool

	// Flags adds flags that only this command has. Nil adds none.
	Flags func(*Flags)

	// Run and Commands are as a Program's. Without Run one of Commands is to be
	// given.
	Run      func(ctx context.Context, p *Process) error
	Commands []*Command
}

// Book is pages of text that help shows by name.
type Book interface {
	Names() []string                          // in their order
	Contents(program string) string           // what list of them is shown; program shows them
	Text(name, program string) (string, bool) // false: there is no such page
}

// Example is what somebody may type, on lines that fit the help, and what it does.
type Example struct{ Line, About string }

// Process is what a running program is given.
type Process struct {
	Args   []string       // what followed the flags
	Flags  *pflag.FlagSet // parsed; tells by Changed what was given, by a flag or the environment
	Log    *slog.Logger   // as --log-format and --log-level say, on Stderr
	Stdout io.Writer
	Stderr io.Writer // for lines; a daemon's never blocks, and drops what is not taken

	// Faults are what is wrong with the environment and the configuration file. There
	// is none but for a Lenient command.
	Faults []error

	// Trace writes a line to a daemon's Stderr. It is for lines that there may be
	// very many of: they are dropped before others are.
	Trace func(line string)

	// LogDropped returns how many lines of a daemon's Stderr were left out, and how many
	// of Trace beside them.
	LogDropped func() (lines, traces uint64)

	// Now ends at the second SIGINT or SIGTERM: what is still open is then to
	// be dropped at once. It never ends before Run's ctx, and not with it.
	Now context.Context

	settings         *settings
	reload, handOver *reloader
}

// Source tells where the value of a flag comes from.
func (p *Process) Source(flag string) Source { return p.settings.source[flag] }

// ConfigFile is the configuration file that was read, "" if there is none.
func (p *Process) ConfigFile() string { return p.settings.file }

// Credential is the name of the file that systemd put there for LoadCredential=NAME:...
// of the unit. For who types a command, it is the one that comes from, beside the
// configuration file that was read: NAME if that is the one a package put in place,
// c.toml, and NAME-INSTANCE if it is c-INSTANCE.toml there. "" is none.
func (p *Process) Credential(name string) string {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		return filepath.Join(dir, name)
	}
	packaged := p.settings.program.configFile()
	file, err := filepath.Abs(p.settings.file)
	if packaged == "" || p.settings.file == "" || err != nil || filepath.Dir(file) != filepath.Dir(packaged) {
		return ""
	}
	stem := func(path string) string { return strings.TrimSuffix(filepath.Base(path), ".toml") }
	instance, ok := strings.CutPrefix(stem(file), stem(packaged))
	if !ok || instance != "" && instance[0] != '-' {
		return ""
	}
	return filepath.Join(filepath.Dir(packaged), name+instance)
}

// ReadTables reads the configuration file again, if there is one, and puts its
// tables into a struct as Program.Tables is. The flags keep their values. Its error
// is one line.
func (p *Process) ReadTables(into any) error { return p.settings.readTables(into) }

// OnReload has f called at each SIGHUP from now on, in place of an earlier f,
// one call at a time. f must not block for long: the program's end waits for a
// call that has begun, until the second signal. SIGHUP has no effect on a daemon before the first
// OnReload.
func (p *Process) OnReload(f func()) { p.reload.set(f) }

// OnHandOver has f called at each SIGUSR2 from now on, one call at a time; one that
// comes during a call becomes a call after it. The program's end waits for a call
// that has begun: f must end soon after Run's ctx. SIGUSR2 has no effect on a
// daemon before.
func (p *Process) OnHandOver(f func()) { p.handOver.set(f) }

// Token returns SPDY_PROXY_TOKEN, which stands in for the file that a flag
// --token-file names, unless that flag was given, by the environment at least. ""
// means: read the file.
func (p *Process) Token() string {
	if p.Source("token-file") >= Environment {
		return ""
	}
	return os.Getenv(envPrefix + "TOKEN")
}

// Main runs the program with the arguments args (without the program's name)
// and returns its exit status.
func (p *Program) Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	in := newInvocation(ctx, p, stdout, stderr)
	in.root.SetArgs(append([]string{}, args...)) // nil would mean the process's
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		in.unquoteUsage()
	}
	if _, err := in.root.ExecuteC(); err != nil {
		return in.fail(err)
	}
	return in.status
}

// work does what was asked for, be it the program's own work or a command's.
func (in *invocation) work(what task, flags *pflag.FlagSet, args []string) int {
	daemon := in.program.Daemon && what.command == nil
	process := &Process{Args: args, Flags: flags, Stdout: in.stdout, Stderr: in.stderr, settings: newSettings(in.program, in.own)}
	if in.program.Daemon && !what.bare() {
		process.Faults = process.settings.read(os.LookupEnv)
		in.unread = process.settings.unread
		if len(process.Faults) > 0 && !what.lenient() {
			return in.fail(Usagef("%w%s", process.Faults[0], more(len(process.Faults)-1, in.program)))
		}
	}
	if daemon {
		roomForFiles()
		lines := process.outliveReaders()
		defer lines.Close()
	}
	var err error
	if process.Log, err = in.logs.logger(process.Stderr); err != nil {
		return in.fail(Usage(err))
	}
	if daemon {
		adoptLog(process.Log)
	}
	in.stderr = process.Stderr
	if in.program.Daemon && !what.bare() {
		warnUnknown(process.Log, in.own, os.Environ())
	}

	sig := watchSignals(in.ctx, in.program.Signals, daemon)
	defer sig.stop()
	process.Now, process.reload, process.handOver = sig.now, &sig.reload, &sig.handOver
	err = what.run(sig.graceful, process)
	if err != nil && !isUsage(err) && daemon && in.logs.json() {
		// Whoever reads the log as JSON must be able to read its last line.
		process.Log.Error(in.program.Name + ": " + oneline.Clean(err.Error()))
		return exitRun
	}
	return in.fail(err)
}

// more says that there are n faults beside the one that is said.
func more(n int, p *Program) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more: %s config lists them)", n, p.Name)
}

// fail says what went wrong, each of [LineErrors] in a line, and returns the exit
// status for it; exitOK without a word if nothing did. Where a file is what is
// wrong, it helps to know that another was not read.
func (in *invocation) fail(err error) int {
	if err == nil {
		return exitOK
	}
	lines := []error{err}
	if faults, ok := errors.AsType[LineErrors](err); ok {
		lines = faults
	}
	if last := len(lines) - 1; in.unread != nil && isUsage(err) {
		lines = append(slices.Clone(lines[:last]), fmt.Errorf("%w; %w", lines[last], in.unread))
	}
	for _, line := range lines {
		fmt.Fprintf(in.stderr, "%s: %s\n", in.program.Name, oneline.Clean(line.Error()))
	}
	if isUsage(err) {
		return exitUsage
	}
	return exitRun
}
