package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Flags are those of a program that runs others.
type Flags struct {
	*pflag.FlagSet
	about string
}

// NewFlags returns the flags of the program of that name, none yet. about is the
// first paragraph of its help.
func NewFlags(name, about string) *Flags {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	return &Flags{fs, about}
}

// Parse reads args, which are flags only. It returns [pflag.ErrHelp] where Help is
// wanted.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not understood: %s has flags only; see --help", f.Arg(0), f.Name())
	}
	return nil
}

// Help is what --help prints.
func (f *Flags) Help() string { return f.about + "\n\n" + f.FlagUsages() }

// Prepare makes paths absolute, since programs are started in other folders, and
// returns this program's own file. It is an error that there is no /proc.
func Prepare(paths ...*string) (self string, err error) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return "", errors.New("there is no /proc here, which tells what a process uses: run it on Linux")
	}
	for _, name := range paths {
		if *name, err = filepath.Abs(*name); err != nil {
			return "", err
		}
	}
	return os.Executable()
}

// Made returns an error if one of the files is missing that make makes.
func Made(files ...string) error {
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("%w; run make, which makes programs and certificates", err)
		}
	}
	return nil
}
