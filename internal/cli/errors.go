package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/nearest"
)

// usageError says that the program was started wrongly: a bad flag, file or
// address. It becomes exit status 2.
type usageError struct{ Err error }

func (e *usageError) Error() string { return e.Err.Error() }

// Unwrap returns what was wrong.
func (e *usageError) Unwrap() error { return e.Err }

// Usage makes err a [usageError]; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// Usagef is Usage of fmt.Errorf. The text says what is wrong and what mends it,
// on one line.
func Usagef(format string, a ...any) error {
	return Usage(fmt.Errorf(format, a...))
}

// isUsage reports whether err is, or wraps, a [usageError].
func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

// LineErrors are errors that are said in a line each.
type LineErrors []error

func (f LineErrors) Error() string { return errors.Join(f...).Error() }

// Unwrap returns them all.
func (f LineErrors) Unwrap() []error { return f }

// flagError words an error of pflag's. A value that does not parse is said with
// what would: pflag gives the name of the strconv function instead. A flag that is
// none of flags is said with the one that is most like it.
func flagError(err error, flags *pflag.FlagSet) string {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Sprintf("--%s: %q is not %s", e.GetFlag().Name, e.GetValue(), wanted(e.GetFlag()))
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() == "" {
		var all []string
		flags.VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
		return err.Error() + nearest.Hint(e.GetSpecifiedName(), all, func(w string) string { return "--" + w })
	}
	return err.Error()
}

// wanted says what values f takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 15s, 1m30s or 0"
	case "int", "int64", "uint", "uint32", "uint64":
		return "a whole number in range"
	}
	return "a value it takes (" + f.Usage + ")"
}
