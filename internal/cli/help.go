package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/columns"
)

const usageColumn = 30 // where what a flag does begins

// help is what --help prints about c, within columns.Width columns.
func (in *invocation) help(c *cobra.Command) string {
	var b strings.Builder
	about, list := in.program.About, in.program.Examples
	for i, line := range in.synopsis(c) {
		fmt.Fprintf(&b, "%-6s %s\n", []string{"Usage:", ""}[min(i, 1)], line)
	}
	part, isCommand := in.parts[c]
	if isCommand {
		about, list = part.About, part.Examples
	}
	for paragraph := range strings.Lines(about) {
		b.WriteString("\n" + columns.Wrap(strings.TrimSpace(paragraph), 0))
	}
	if len(list) > 0 {
		b.WriteString("\nExamples:\n")
	}
	for _, e := range list {
		fmt.Fprintf(&b, "  %s\n%s", strings.ReplaceAll(e.Line, "\n", "\n  "), columns.Wrap(e.About, 6))
	}
	if len(names(c)) > 0 {
		b.WriteString("\nCommands:\n")
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			b.WriteString(entry("  "+sub.Name(), sub.Short, 16))
		}
	}
	if isCommand {
		in.writeFlags(&b, flagsOf(part.flags.FlagSet))
		if !part.Bare {
			b.WriteString("\n" + columns.Wrap(fmt.Sprintf("The flags of %s are its, too: %[1]s --help lists them.", in.program.Name), 0))
		}
		return b.String()
	}
	in.writeFlags(&b, append(flagsOf(in.own), c.PersistentFlags().Lookup("help"), c.Flags().Lookup("version")))
	if in.program.Daemon {
		b.WriteString("\n" + columns.Wrap(fmt.Sprintf("Each flag can also be given in the environment, --log-level as %s; the flag wins.", envName("log-level")), 0))
	}
	if topics := in.topics(); topics != nil {
		b.WriteString("\n" + columns.Wrap(fmt.Sprintf("The handbook: %s help NAME, where NAME is %s.", in.program.Name, strings.Join(topics, ", ")), 0))
	}
	return b.String()
}

// synopsis are the ways to call c.
func (in *invocation) synopsis(c *cobra.Command) (lines []string) {
	args, runs := in.program.Args, true
	if part, ok := in.parts[c]; ok {
		args, runs = part.Args, part.Run != nil
	}
	if args != "" {
		args = " " + args
	}
	if runs {
		lines = append(lines, c.CommandPath()+" [flags]"+args)
	}
	if len(names(c)) > 0 {
		lines = append(lines, c.CommandPath()+" COMMAND [flags]")
	}
	return lines
}

func flagsOf(fs *pflag.FlagSet) (flags []*pflag.Flag) {
	fs.VisitAll(func(f *pflag.Flag) { flags = append(flags, f) })
	return flags
}

// writeFlags writes what flags do, in their groups.
func (in *invocation) writeFlags(b *strings.Builder, flags []*pflag.Flag) {
	for _, g := range groups(flags) {
		fmt.Fprintf(b, "\n%s:\n", g.title)
		for _, f := range g.flags {
			name, usage := words(f)
			short := "    "
			if f.Shorthand != "" {
				short = "-" + f.Shorthand + ", "
			}
			b.WriteString(entry("  "+short+"--"+name, usage, usageColumn))
		}
	}
}

type flagGroup struct {
	title string
	flags []*pflag.Flag
}

// groups returns flags in their groups, those that have none as the last one.
func groups(flags []*pflag.Flag) (all []flagGroup) {
	var others []*pflag.Flag
	for _, f := range flags {
		title := group(f)
		i := slices.IndexFunc(all, func(g flagGroup) bool { return g.title == title })
		switch {
		case title == "":
			others = append(others, f)
		case i < 0:
			all = append(all, flagGroup{title, []*pflag.Flag{f}})
		default:
			all[i].flags = append(all[i].flags, f)
		}
	}
	if len(others) > 0 {
		title := "Others"
		if len(all) == 0 {
			title = "Flags"
		}
		all = append(all, flagGroup{title, others})
	}
	return all
}

// words returns a flag's name with that of its value, and what it does with its
// default.
func words(f *pflag.Flag) (name, usage string) {
	value, usage := pflag.UnquoteUsage(f)
	name = f.Name
	if value != "" {
		if !strings.Contains(value, "|") {
			value = strings.ToUpper(value)
		}
		name += " " + value
	}
	if d := defaultOf(f); d != "" {
		usage += " " + strings.ReplaceAll("(default "+d+")", " ", columns.Space)
	}
	return name, usage
}

// defaultOf returns a flag's default as it would be written, "" if that is what
// the flag's absence means anyhow.
func defaultOf(f *pflag.Flag) string {
	d := f.DefValue
	switch f.Value.Type() {
	case "bool", "string":
		if d == "false" {
			return ""
		}
	case "duration":
		d = shortDuration(d)
	default:
		if _, ok := f.Value.(pflag.SliceValue); ok {
			d = strings.Trim(d, "[]")
		}
	}
	if d == "0" {
		return ""
	}
	return d
}

// shortDuration is a duration as a person would write it: "1m", not "1m0s".
func shortDuration(d string) string {
	if s, ok := strings.CutSuffix(d, "m0s"); ok {
		d = s + "m"
	}
	if s, ok := strings.CutSuffix(d, "h0m"); ok {
		d = s + "h"
	}
	if d == "0s" {
		return "0"
	}
	return d
}

// entry is a name with its text beside it, which begins in a column, and below it
// where the name is too long.
func entry(name, text string, column int) string {
	body := columns.Wrap(text, column)
	if n := utf8.RuneCountInString(name); n+2 <= column {
		return name + body[n:]
	}
	return name + "\n" + body
}

// firstSentence is the begin of a text, without its full stop.
func firstSentence(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if s, _, ok := strings.Cut(text, ". "); ok {
		return s
	}
	return strings.TrimSuffix(text, ".")
}
