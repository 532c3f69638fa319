package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/nearest"
)

// invocation is one call of Main.
type invocation struct {
	// Fixed when it is made.
	ctx     context.Context
	program *Program
	root    *cobra.Command
	own     *pflag.FlagSet // the program's flags, and the log's
	parts   map[*cobra.Command]part
	stdout  io.Writer

	// Owned by Main's goroutine.
	logs   logOptions
	status int
	stderr io.Writer // a daemon's never blocks, once it runs
	unread error     // why the package's configuration file was not read; nil if it was, or is no matter
}

// task is what was asked for: a command, or the program itself.
type task struct {
	program *Program
	command *Command // nil: the program itself
}

func (t task) run(ctx context.Context, p *Process) error {
	if t.command != nil {
		return t.command.Run(ctx, p)
	}
	return t.program.Run(ctx, p)
}

func (t task) bare() bool    { return t.command != nil && t.command.Bare }
func (t task) lenient() bool { return t.command != nil && t.command.Lenient }

// part is what a cobra command was made of.
type part struct {
	*Command
	flags *Flags // those of the command alone
}

// newInvocation makes cobra's commands of the program's.
func newInvocation(ctx context.Context, p *Program, stdout, stderr io.Writer) *invocation {
	in := &invocation{ctx: ctx, program: p, parts: make(map[*cobra.Command]part), stdout: stdout, stderr: stderr}
	flags := NewFlags(p.Name)
	if p.Flags != nil {
		p.Flags(flags)
	}
	if p.Daemon {
		flags.Group("Configuration and log")
		flags.String("config", "", "configuration `FILE` in TOML: flags by their long names, and tables"+p.packaged())
		in.logs.flags(flags.FlagSet)
	}
	flags.Group("")
	in.own = flags.FlagSet

	root := &cobra.Command{
		Use: p.Name, Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	in.root = root
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usagef("%s%s", flagError(err, c.Flags()), in.hint(c, "flags"))
	})
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { io.WriteString(stdout, in.help(c)) })
	root.PersistentFlags().SortFlags = false
	root.PersistentFlags().AddFlagSet(in.own)
	root.PersistentFlags().BoolP("help", "h", false, "print this and exit")
	root.Flags().SortFlags = false
	version := root.Flags().Bool("version", false, "print the version and exit")
	root.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case *version:
			fmt.Fprintf(stdout, "%s %s\n", p.Name, Version())
		case p.Args == "" && len(args) > 0:
			return in.unknown(c, args[0])
		default:
			in.status = in.work(task{program: p}, c.Flags(), args)
		}
		return nil
	}
	help := in.add(root, in.helpCommand())
	root.SetHelpCommand(help)
	help.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return append(in.topics(), names(root)...), cobra.ShellCompDirectiveNoFileComp
	}
	for _, c := range append(append([]*Command{}, p.Commands...), in.common()...) {
		in.add(root, c)
	}
	return in
}

// add makes a cobra command of cmd, below parent.
func (in *invocation) add(parent *cobra.Command, cmd *Command) *cobra.Command {
	c := &cobra.Command{Use: cmd.Name, Short: firstSentence(cmd.About), Hidden: cmd.Hidden, Args: cobra.ArbitraryArgs}
	flags := NewFlags(cmd.Name)
	if cmd.Flags != nil {
		cmd.Flags(flags)
	}
	flags.Group("")
	c.Flags().SortFlags = false
	c.Flags().AddFlagSet(flags.FlagSet)
	in.parts[c] = part{cmd, flags}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case cmd.Run == nil && len(args) > 0, cmd.Args == "" && len(args) > 0:
			return in.unknown(c, args[0])
		case cmd.Run == nil:
			return Usagef("%s: give one of its commands: %s%s", c.CommandPath(), strings.Join(names(c), ", "), in.hint(c, "commands"))
		}
		in.status = in.work(task{in.program, cmd}, c.Flags(), args)
		return nil
	}
	parent.AddCommand(c)
	for _, sub := range cmd.Commands {
		in.add(c, sub)
	}
	return c
}

// unquoteUsage takes the marks out of what flags do: a shell shows it as it is.
func (in *invocation) unquoteUsage() {
	plain := func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) }
	in.own.VisitAll(plain)
	for _, part := range in.parts {
		part.flags.VisitAll(plain)
	}
}

// maxWord is how much is said of a word that is not understood: it may be a secret
// whose flag was forgotten.
const maxWord = 20

// unknown is about a word where a command was expected, or nothing.
func (in *invocation) unknown(c *cobra.Command, word string) error {
	if len(word) > maxWord {
		word = word[:maxWord] + "..."
	}
	if len(names(c)) == 0 {
		return Usagef("unexpected argument %q%s", word, in.hint(c, "flags"))
	}
	mend := nearest.Hint(word, names(c), func(w string) string { return fmt.Sprintf("%q", w) })
	if stray := in.program.Stray; mend == "" && stray != "" && !c.HasParent() {
		mend = ": " + stray
	}
	return Usagef("%q is not a command of %s%s%s", word, c.CommandPath(), mend, in.hint(c, "commands"))
}

func (in *invocation) hint(c *cobra.Command, what string) string {
	return fmt.Sprintf("; %s --help lists the %s", c.CommandPath(), what)
}

// names are those of the commands below c that help shows.
func names(c *cobra.Command) (all []string) {
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			all = append(all, sub.Name())
		}
	}
	return all
}

// contents is the topic that lists the others.
const contents = "handbook"

// topics are the names of the pages that help shows.
func (in *invocation) topics() []string {
	if in.program.Book == nil {
		return nil
	}
	return append([]string{contents}, in.program.Book.Names()...)
}

// topic returns the text of a topic, false if there is none of that name.
func (in *invocation) topic(name string) (string, bool) {
	switch book := in.program.Book; {
	case book == nil:
		return "", false
	case name == contents:
		return book.Contents(in.program.Name), true
	default:
		return book.Text(name, in.program.Name)
	}
}

// noTopic is about a word that is neither a command nor a topic.
func (in *invocation) noTopic(word string) error {
	hint := nearest.Hint(word, append(in.topics(), names(in.root)...), func(w string) string { return fmt.Sprintf("%q", w) })
	return Usagef("%q is neither a command of %s nor a page of its handbook%s; %[2]s help %[4]s lists the pages", word, in.program.Name, hint, contents)
}

// helpCommand prints what --help prints, or a page of the handbook.
func (in *invocation) helpCommand() *Command {
	cmd := &Command{Name: "help", Args: "[COMMAND...]", About: "Prints what a command does, and its flags.", Bare: true}
	if in.program.Book != nil {
		cmd.Args = "[COMMAND... | NAME]"
		cmd.About = "Prints what a command does, or the page of that name of the handbook. " + contents + " lists the pages."
	}
	cmd.Run = func(_ context.Context, p *Process) error {
		c := in.root
		for _, word := range p.Args {
			next := (*cobra.Command)(nil)
			for _, sub := range c.Commands() {
				if sub.Name() == word {
					next = sub
				}
			}
			switch text, ok := in.topic(word); {
			case next != nil:
				c = next
			case len(p.Args) == 1 && ok:
				_, err := io.WriteString(p.Stdout, text)
				return err
			case len(p.Args) == 1 && in.program.Book != nil:
				return in.noTopic(word)
			default:
				return in.unknown(c, word)
			}
		}
		_, err := io.WriteString(p.Stdout, in.help(c))
		return err
	}
	return cmd
}

// common are the commands that every program has.
func (in *invocation) common() []*Command {
	var asJSON bool
	var all []*Command
	if in.program.Daemon {
		all = append(all, in.configCommand())
	}
	return append(all, []*Command{
		{
			Name: "version", About: "Prints the version, of the program and of Go.", Bare: true,
			Flags: func(fs *Flags) { fs.BoolVar(&asJSON, "json", false, "as one JSON object") },
			Run: func(_ context.Context, p *Process) error {
				if asJSON {
					return writeVersion(p.Stdout, in.program.Name)
				}
				_, err := fmt.Fprintf(p.Stdout, "%s %s\n", in.program.Name, Version())
				return err
			},
		},
		{
			Name: "completion", Args: "bash|zsh|fish", About: "Prints a script by which a shell completes commands and flags.", Hidden: true, Bare: true,
			Examples: []Example{{"source <(" + in.program.Name + " completion bash)", "for this shell"}},
			Run: func(_ context.Context, p *Process) error {
				shells := map[string]func(io.Writer) error{
					"bash": func(w io.Writer) error { return in.root.GenBashCompletionV2(w, true) },
					"zsh":  in.root.GenZshCompletion,
					"fish": func(w io.Writer) error { return in.root.GenFishCompletion(w, true) },
				}
				if len(p.Args) != 1 || shells[p.Args[0]] == nil {
					return Usagef("completion: give one shell: bash, zsh or fish")
				}
				return shells[p.Args[0]](p.Stdout)
			},
		},
		{
			Name: "man", About: "Prints the manual page, for man(1).", Hidden: true, Bare: true,
			Examples: []Example{{in.program.Name + " man | man -l -", "read it"}},
			Run: func(_ context.Context, p *Process) error {
				_, err := io.WriteString(p.Stdout, in.manual())
				return err
			},
		},
	}...)
}
