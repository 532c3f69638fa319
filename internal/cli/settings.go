package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/config"
	"github.com/amahi/spdy-proxy/internal/nearest"
)

// Source is where the value of a flag comes from; the greater wins.
type Source int

// The sources.
const (
	Default Source = iota
	File
	Environment
	Flag
)

func (s Source) String() string {
	return [...]string{"default", "file", "environment", "flag"}[s]
}

// settings are the values of a program's flags, and where they come from.
type settings struct {
	program *Program
	flags   *pflag.FlagSet
	source  map[string]Source // by flag
	file    string            // the configuration file, "" if there is none
	each    []table           // those of Program.Each, in the order of the file
	unread  error             // why the file that a package put in place was not read
}

// table is one whose keys are flags.
type table struct {
	name  string
	flags *pflag.FlagSet
}

// newSettings returns those of flags that were parsed.
func newSettings(p *Program, flags *pflag.FlagSet) *settings {
	s := &settings{program: p, flags: flags, source: make(map[string]Source)}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			s.source[f.Name] = Flag
		}
	})
	return s
}

// read gives each flag that the command line did not its value from the
// environment, or else from the configuration file, and returns what is wrong with
// those.
func (s *settings) read(lookup func(string) (string, bool)) (faults []error) {
	faults = s.applyEnv(lookup)
	f := s.flags.Lookup("config")
	if f == nil {
		return faults
	}
	if s.file = f.Value.String(); s.source["config"] == Default {
		s.file, s.unread = s.program.packagedFile()
	}
	if s.file == "" {
		return faults
	}
	set, err := config.Load(s.file, s.spec(s.flags, s.program.Tables))
	for _, name := range set {
		s.source[name] = File
	}
	if more, ok := errors.AsType[config.FileErrors](err); ok {
		faults = append(faults, more...)
	}
	return faults
}

func (s *settings) spec(flags *pflag.FlagSet, tables any) config.Spec {
	spec := config.Spec{Flags: flags, Never: []string{"config"}, Elsewhere: flagsOfBoth, Tables: tables, Each: make(map[string]func() *pflag.FlagSet)}
	for name, begin := range s.program.Each {
		spec.Each[name] = func() *pflag.FlagSet {
			fs := begin()
			s.each = append(s.each, table{name, fs})
			return fs
		}
	}
	return spec
}

func (s *settings) readTables(into any) error {
	if s.file == "" {
		return nil
	}
	// What else is in the file is read, and forgotten.
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags.VisitAll(func(f *pflag.Flag) {
		again := *f
		again.Changed = true
		fs.AddFlag(&again)
	})
	_, err := config.Load(s.file, s.spec(fs, into))
	return err
}

// applyEnv gives each flag that the command line did not its value from the
// environment. An empty variable is a value for a text (SPDY_PROXY_ADMIN= turns
// the admin port off, as --admin= does); for any other flag it counts as
// absent, since a compose file cannot leave a variable out.
func (s *settings) applyEnv(lookup func(string) (string, bool)) (faults []error) {
	s.flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		name := envName(f.Name)
		v, ok := lookup(name)
		if !ok || v == "" && f.Value.Type() != "string" {
			return
		}
		if err := s.flags.Set(f.Name, v); err != nil {
			faults = append(faults, fmt.Errorf("%s: %q is not %s", name, v, wanted(f)))
			return
		}
		s.source[f.Name] = Environment
	})
	return faults
}

// notFlags are the variables with our prefix that no flag has: the token itself,
// and what a process tells the one that takes over from it.
var notFlags = []string{"SPDY_PROXY_TOKEN", "SPDY_PROXY_HANDOVER", "SPDY_PROXY_HANDOVER_STATE"}

// warnUnknown warns of variables with our prefix that are none of p's and c's, which
// are often started from one environment.
func warnUnknown(log *slog.Logger, flags *pflag.FlagSet, environ []string) {
	known := slices.Clone(notFlags)
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, envName(f.Name)) })
	own := len(known)
	for _, flag := range flagsOfBoth {
		known = append(known, envName(flag))
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		log.Warn("a variable in the environment has no effect: " + name + " is no flag's" + nearest.Hint(name, known[:own], strings.Clone))
	}
}

// packagedIn is the folder of the configuration files of a program that a package put
// in place, "" of one from a checkout. The linker sets it (-X), and nothing else.
var packagedIn string

// configFile is the name of ConfigFile, "" for none.
func (p *Program) configFile() string {
	if p.ConfigFile != "" || packagedIn == "" {
		return p.ConfigFile
	}
	return filepath.Join(packagedIn, p.Name+".toml")
}

// packaged says for the help where a configuration file is looked for.
func (p *Program) packaged() string {
	if file := p.configFile(); file != "" {
		return " (default: " + file + ")"
	}
	return ""
}

// packagedFile returns the configuration file that a package put in place, "" if there
// is none, or it is not for this user, with that as an error: who runs a program for
// himself on the same machine may leave it aside.
func (p *Program) packagedFile() (file string, unread error) {
	if file = p.configFile(); file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err == nil {
		f.Close()
		return file, nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return "", fmt.Errorf("configuration file %s, where one is looked for, was not read: %w", file, err)
}

// StateDir is the folder for what a program keeps, where none is named: the first that
// systemd has made for StateDirectory= of the unit, else "state".
func StateDir() string {
	dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	return cmp.Or(dir, "state")
}
