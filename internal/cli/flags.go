package cli

import (
	"fmt"
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

// noteGroup annotates a flag with its group.
const noteGroup = "group"

// group returns a flag's group, "" if it has none.
func group(f *pflag.Flag) string { return strings.Join(f.Annotations[noteGroup], "") }

// envName returns the environment variable of a flag: --log-level is
// SPDY_PROXY_LOG_LEVEL.
func envName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv gives each flag that the command line did not its value from the
// environment. An empty variable is a value for a text (SPDY_PROXY_ADMIN= turns
// the admin port off, as --admin= does); for any other flag it counts as
// absent, since a compose file cannot leave a variable out. Other variables with our
// prefix are not an error: p and c are often started from one environment.
func applyEnv(fs *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var first error
	fs.VisitAll(func(f *pflag.Flag) {
		if first != nil || f.Changed {
			return
		}
		name := envName(f.Name)
		v, ok := lookup(name)
		if !ok || v == "" && f.Value.Type() != "string" {
			return
		}
		if err := fs.Set(f.Name, v); err != nil {
			first = fmt.Errorf("%s: %q is not %s", name, v, wanted(f))
		}
	})
	return first
}
