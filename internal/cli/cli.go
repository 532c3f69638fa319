// Package cli is what the programs have in common around their work: flags and
// the environment, the log, signals, and the exit status.
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
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// The exit statuses.
const (
	ExitOK    = 0 // help, version, the work is done, or a requested stop
	ExitRun   = 1 // running failed: a port in use, say
	ExitUsage = 2 // a bad flag, file or address
)

// EnvPrefix begins the name of every environment variable that is read.
const EnvPrefix = "SPDY_PROXY_"

// Program describes a program. Name and Run are needed.
type Program struct {
	Name  string // as it is typed: "p"
	Args  string // the arguments after the flags, for the help: "[URL]"; empty: none are taken
	About string // what it does, for the help; one or two lines

	// Daemon adds what p and c have and a has not: each flag also from the
	// environment, --log-format and --log-level, SIGHUP, SIGUSR2, and a standard error that
	// neither holds it up nor ends it, whatever becomes of who reads that.
	Daemon bool

	// Flags adds the program's own flags. Nil adds none. A flag named in back
	// quotes in its usage text gets that word as the name of its value.
	Flags func(*pflag.FlagSet)

	// Run does the work, until it is done or ctx ends. ctx ends at the first
	// SIGINT or SIGTERM, and with Main's ctx: Run then stops in good order and
	// returns nil. An error of [Usage] or [Usagef] becomes exit status 2,
	// any other 1.
	Run func(ctx context.Context, p *Process) error

	// Signals replaces the signals of the process, for tests. Nil: those.
	Signals <-chan os.Signal
}

// Process is what a running program is given.
type Process struct {
	Args   []string       // what followed the flags
	Flags  *pflag.FlagSet // parsed; tells by Changed what was given, by a flag or the environment
	Log    *slog.Logger   // as --log-format and --log-level say, on Stderr
	Stdout io.Writer
	Stderr io.Writer // for lines; a daemon's never blocks, and drops what is not taken

	// Trace writes a line to a daemon's Stderr. It is for lines that there may be
	// very many of: they are dropped before others are.
	Trace func(line string)

	// Now ends at the second SIGINT or SIGTERM: what is still open is then to
	// be dropped at once. It never ends before Run's ctx, and not with it.
	Now context.Context

	reload, handOver *reloader
}

// OnReload has f called at each SIGHUP from now on, in place of an earlier f,
// one call at a time. f must not block for long: the program's end waits for a
// call that has begun. SIGHUP has no effect on a daemon before the first
// OnReload.
func (p *Process) OnReload(f func()) { p.reload.set(f) }

// OnHandOver has f called at each SIGUSR2 from now on, one call at a time; one that
// comes during a call becomes a call after it. The program's end waits for a call
// that has begun: f must end soon after Run's ctx. SIGUSR2 has no effect on a
// daemon before.
func (p *Process) OnHandOver(f func()) { p.handOver.set(f) }

// Token returns SPDY_PROXY_TOKEN, which stands in for the file that a flag
// --token-file names, unless that flag was given. "" means: read the file.
func (p *Process) Token() string {
	if p.Flags.Changed("token-file") {
		return ""
	}
	return os.Getenv(EnvPrefix + "TOKEN")
}

// Main runs the program with the arguments args (without the program's name)
// and returns its exit status.
func (p *Program) Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fail := func(status int, msg string) int {
		fmt.Fprintf(stderr, "%s: %s\n", p.Name, oneline.Clean(msg))
		return status
	}

	fs := pflag.NewFlagSet(p.Name, pflag.ContinueOnError)
	fs.SortFlags = false
	if p.Flags != nil {
		p.Flags(fs)
	}
	var logs logOptions
	if p.Daemon {
		logs.flags(fs)
	}
	help := fs.BoolP("help", "h", false, "print this and exit")
	version := fs.Bool("version", false, "print the version and exit")
	hint := fmt.Sprintf("; %s --help lists the flags", p.Name)
	if err := fs.Parse(args); err != nil {
		return fail(ExitUsage, flagError(err)+hint)
	}
	switch {
	case *help:
		fmt.Fprint(stdout, p.help(fs))
		return ExitOK
	case *version:
		fmt.Fprintf(stdout, "%s %s\n", p.Name, Version())
		return ExitOK
	case p.Args == "" && fs.NArg() > 0:
		return fail(ExitUsage, fmt.Sprintf("unexpected argument %q", fs.Arg(0))+hint)
	}
	if p.Daemon {
		if err := applyEnv(fs, os.LookupEnv); err != nil {
			return fail(ExitUsage, err.Error())
		}
	}
	process := &Process{Args: fs.Args(), Flags: fs, Stdout: stdout, Stderr: stderr}
	if p.Daemon {
		lines := process.outliveReaders()
		defer lines.Close()
	}
	var err error
	if process.Log, err = logs.logger(process.Stderr); err != nil {
		return fail(ExitUsage, err.Error())
	}
	if p.Daemon {
		adoptLog(process.Log)
	}
	stderr = process.Stderr

	sig := watchSignals(ctx, p.Signals, p.Daemon)
	defer sig.stop()
	process.Now, process.reload, process.handOver = sig.now, &sig.reload, &sig.handOver
	err = p.Run(sig.graceful, process)
	switch {
	case err == nil:
		return ExitOK
	case IsUsage(err):
		return fail(ExitUsage, err.Error())
	case logs.json():
		// Whoever reads the log as JSON must be able to read its last line.
		process.Log.Error(p.Name + ": " + oneline.Clean(err.Error()))
		return ExitRun
	}
	return fail(ExitRun, err.Error())
}

func (p *Program) help(fs *pflag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]", p.Name)
	if p.Args != "" {
		fmt.Fprintf(&b, " %s", p.Args)
	}
	fmt.Fprintf(&b, "\n\n%s\n\nFlags:\n%s", p.About, fs.FlagUsages())
	if p.Daemon {
		fmt.Fprintf(&b, "\nEach flag can also be given in the environment, --log-level as %s; the flag wins.\n", envName("log-level"))
	}
	return b.String()
}

// Version returns the version of the running program as it was built, and of Go.
func Version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return v + " " + runtime.Version()
}
