package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// configCommand prints what is in force as a configuration file.
func (in *invocation) configCommand() *Command {
	return &Command{
		Name: "config", Lenient: true,
		About: "Prints what is in effect, and where each value comes from. " +
			"It is printed as a configuration file, but for secrets. What is wrong with the environment and the configuration file is listed after it.",
		Examples: []Example{{in.program.Name + " config | grep -E ' # (file|environment|flag)$'", "what was changed"}},
		Run: func(_ context.Context, p *Process) error {
			var b bytes.Buffer
			if in.program.Remarks != nil {
				for _, line := range in.program.Remarks(p) {
					fmt.Fprintf(&b, "# %s\n", oneline.Clean(line))
				}
			}
			if err := p.settings.write(&b); err != nil {
				return err
			}
			if _, err := p.Stdout.Write(b.Bytes()); err != nil || len(p.Faults) == 0 {
				return err
			}
			return Usage(LineErrors(p.Faults))
		},
	}
}

// write writes the settings as a configuration file.
func (s *settings) write(w io.Writer) error {
	if s.file != "" {
		fmt.Fprintf(w, "# with %s (%v)\n", s.file, s.source["config"])
	}
	if os.Getenv(envPrefix+"TOKEN") != "" && s.source["token-file"] < Environment {
		fmt.Fprintf(w, "# %sTOKEN is set, and stands for token-file\n", envPrefix)
	}
	for _, g := range groups(flagsOf(s.flags)) {
		fmt.Fprintf(w, "\n# %s\n", g.title)
		for _, f := range g.flags {
			s.writeFlag(w, f, s.source[f.Name].String())
		}
	}
	for _, t := range s.each {
		fmt.Fprintf(w, "\n[[%s]]\n", t.name)
		t.flags.VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				s.writeFlag(w, f, File.String())
			}
		})
	}
	if s.program.Tables == nil || reflect.ValueOf(s.program.Tables).Elem().IsZero() {
		return nil
	}
	tables, err := toml.Marshal(s.program.Tables)
	if err == nil {
		_, err = fmt.Fprintf(w, "\n# %v\n%s", File, tables)
	}
	return err
}

func (s *settings) writeFlag(w io.Writer, f *pflag.Flag, source string) {
	_, secret := f.Annotations[noteSecret]
	switch {
	case f.Name == "config":
	case secret && f.Value.String() != "":
		fmt.Fprintf(w, "# %s is set, and not shown  # %s\n", f.Name, source)
	default:
		fmt.Fprintf(w, "%s = %s  # %s\n", f.Name, inTOML(f), source)
	}
}

// inTOML returns a flag's value as it stands in a configuration file.
func inTOML(f *pflag.Flag) string {
	v := f.Value.String()
	switch f.Value.Type() {
	case "bool", "int", "int32", "int64", "uint", "uint32", "uint64", "float32", "float64":
		return v
	case "duration":
		return quote(shortDuration(v))
	}
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return quote(v)
	}
	var words []string
	for _, word := range list.GetSlice() {
		words = append(words, quote(word))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// quote returns a text as a basic string of TOML. Those of JSON are some, but for DEL.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(text)
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`)
}
