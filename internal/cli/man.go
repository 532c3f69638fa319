package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/columns"
)

// manual is the program's page for man(1), of what help is made of, in the macros
// of man(7). cobra's own generator brings a Markdown parser and a YAML one, and
// knows no groups.
func (in *invocation) manual() string {
	var b strings.Builder
	p := in.program
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"spdy-proxy %s\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", strings.ToUpper(p.Name), roff(thisBuild().Version), roff(p.Name), roff(p.Short))
	for i, line := range in.synopsis(in.root) {
		if i > 0 {
			b.WriteString(".br\n")
		}
		b.WriteString(".B " + roff(line) + "\n")
	}
	b.WriteString(".SH DESCRIPTION\n")
	paragraphs(&b, p.About)
	if len(names(in.root)) > 0 {
		b.WriteString(".SH COMMANDS\n")
	}
	for _, c := range in.root.Commands() {
		in.manualCommand(&b, c)
	}
	b.WriteString(".SH OPTIONS\n")
	manualFlags(&b, append(flagsOf(in.own), in.root.PersistentFlags().Lookup("help"), in.root.Flags().Lookup("version")))
	if p.Daemon {
		b.WriteString(".SH ENVIRONMENT\n")
		paragraphs(&b, fmt.Sprintf("Each option can also be given in the environment, --log-level as %s; the option wins.", envName("log-level")))
	}
	if p.Book != nil {
		b.WriteString(".SH HANDBOOK\n")
		paragraphs(&b, fmt.Sprintf("%s help %s lists the pages of the handbook, %[1]s help NAME shows one.", p.Name, contents))
	}
	b.WriteString(".SH EXIT STATUS\n")
	paragraphs(&b, "0 after a requested stop, 1 when running failed, 2 for a bad option, file or address; each but the first with one line on standard error.")
	if len(p.Examples) > 0 {
		b.WriteString(".SH EXAMPLES\n")
	}
	for _, e := range p.Examples {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(strings.ReplaceAll(e.Line, "\\\n ", "")), roff(e.About))
	}
	return b.String()
}

// manualCommand writes what c and the commands below it do.
func (in *invocation) manualCommand(b *strings.Builder, c *cobra.Command) {
	if c.Hidden {
		return
	}
	part := in.parts[c]
	for _, line := range in.synopsis(c) {
		if part.Run == nil {
			continue // its commands say it all
		}
		fmt.Fprintf(b, ".TP\n.B %s\n", roff(line))
		b.WriteString(roff(strings.ReplaceAll(part.About, "\n", " ")) + "\n")
		if flags := flagsOf(part.flags.FlagSet); len(flags) > 0 {
			b.WriteString(".RS\n")
			manualFlags(b, flags)
			b.WriteString(".RE\n")
		}
	}
	for _, sub := range c.Commands() {
		in.manualCommand(b, sub)
	}
}

func manualFlags(b *strings.Builder, flags []*pflag.Flag) {
	for _, g := range groups(flags) {
		if g.title != "Flags" {
			fmt.Fprintf(b, ".SS %s\n", roff(g.title))
		}
		for _, f := range g.flags {
			name, usage := words(f)
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", --" + name
			} else {
				name = "--" + name
			}
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(strings.ReplaceAll(usage, columns.Space, " ")))
		}
	}
}

func paragraphs(b *strings.Builder, text string) {
	for line := range strings.Lines(text) {
		b.WriteString(".PP\n" + roff(strings.TrimSpace(line)) + "\n")
	}
}

// roff returns a text as it is written in man(7): nothing in it is a request, and
// hyphens are those that can be typed.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
