package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

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
		if first != nil || f.Changed || f.Name == "help" || f.Name == "version" {
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
