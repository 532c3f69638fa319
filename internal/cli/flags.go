package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// Flags are a program's, or a command's, in groups.
type Flags struct {
	*pflag.FlagSet
	group string // of the flags that are defined from now on
}

// NewFlags returns no flags yet. Errors name what they are of.
func NewFlags(of string) *Flags {
	fs := pflag.NewFlagSet(of, pflag.ContinueOnError)
	fs.SortFlags = false
	return &Flags{FlagSet: fs}
}

// Group has the flags that are defined from now on shown under a title in the
// help, in the order of their titles' first use.
func (f *Flags) Group(title string) {
	f.VisitAll(func(flag *pflag.Flag) {
		if _, ok := flag.Annotations[noteGroup]; !ok {
			f.SetAnnotation(flag.Name, noteGroup, []string{f.group})
		}
	})
	f.group = title
}

// Secret has the value of a flag shown nowhere.
func (f *Flags) Secret(name string) { f.SetAnnotation(name, noteSecret, nil) }

// Annotations of flags.
const (
	noteGroup  = "group"
	noteSecret = "secret"
)

// group returns a flag's group, "" if it has none.
func group(f *pflag.Flag) string { return strings.Join(f.Annotations[noteGroup], "") }

// envName returns the environment variable of a flag: --log-level is
// SPDY_PROXY_LOG_LEVEL.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
