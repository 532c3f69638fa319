// Package config reads a configuration file, in TOML: its top-level keys are a
// program's flags by their long names, and it may have tables beside them.
//
// It is strict. A key that is not known and a value of the wrong type are faults,
// each with file, line and what would mend it, and nobody finds out weeks later
// that a limit was never in force.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/nearest"
)

// Spec says what a file may hold.
type Spec struct {
	// Flags are the top-level keys, but for those in Never. A value is that of a
	// flag that was not Changed before.
	Flags *pflag.FlagSet
	Never []string

	// Elsewhere are keys that another program's file has: who finds one here has
	// given one file to both.
	Elsewhere []string

	// Tables is a pointer to a struct whose fields' toml tags name the tables beside
	// the flags. Nil: there are none. It is as go-toml leaves it.
	Tables any

	// Each names arrays of tables, [[name]], whose keys are flags themselves. It is
	// called for each table in turn and returns the flags, which get their values.
	Each map[string]func() *pflag.FlagSet
}

// FileErrors are what is wrong with a file, in the order of their lines, each in one
// line. Its own text is the first.
type FileErrors []error

func (f FileErrors) Error() string {
	if len(f) == 1 {
		return f[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", f[0], len(f)-1)
}

// Unwrap returns them all.
func (f FileErrors) Unwrap() []error { return f }

// Load reads a file. Its error is [FileErrors]; what is not wrong has its value then,
// too. set are the flags of Spec.Flags that got theirs from the file.
func Load(file string, spec Spec) (set []string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, FileErrors{unreadable(file, err)}
	}
	d := &document{file: file, data: bytes.TrimPrefix(data, []byte("\ufeff")), spec: spec}
	d.decode()
	d.walk()
	if len(d.faults) == 0 {
		return d.set, nil
	}
	slices.SortStableFunc(d.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var faults FileErrors
	for _, f := range d.faults {
		faults = append(faults, fmt.Errorf("%s:%d: %s", file, f.line, f.text))
	}
	return d.set, faults
}

func unreadable(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configuration file %s is missing: name yours with --config", file)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("configuration file %s cannot be read: %w", file, err)
}

// document is a file that is being read.
type document struct {
	file   string
	data   []byte
	spec   Spec
	set    []string
	faults []fault
}

type fault struct {
	line int
	text string
	raw  bool // the decoder's words for what is no TOML, which walk finds as well
}

func (d *document) fault(line int, format string, a ...any) {
	d.faults = append(d.faults, fault{line: line, text: fmt.Sprintf(format, a...)})
}

// decode reads the tables of Spec.Tables, and finds what is no TOML, or twice
// there. The keys that are flags are walk's.
func (d *document) decode() {
	into := d.spec.Tables
	if into == nil {
		into = &struct{}{}
	}
	err := toml.NewDecoder(bytes.NewReader(d.data)).DisallowUnknownFields().Decode(into)
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		for _, e := range unknown.Errors {
			if key := e.Key(); len(key) > 1 && tags(reflect.TypeOf(into))[key[0]] {
				line, _ := e.Position()
				d.fault(line, "unknown key %q%s", strings.Join(key, "."), d.hint(key[len(key)-1], below(reflect.TypeOf(into), key)))
			}
		}
		return
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		key, text := strings.Join(e.Key(), "."), strings.TrimPrefix(e.Error(), "toml: ")
		if want := wantedAt(reflect.TypeOf(into), e.Key()); want != "" && strings.HasPrefix(text, "cannot decode ") {
			d.fault(line, "%s is not %s", key, want) // the text is about Go's types
		} else {
			d.faults = append(d.faults, fault{line, strings.TrimPrefix(key+": "+text, ": "), true})
		}
	} else if err != nil {
		d.fault(1, "%s", strings.TrimPrefix(err.Error(), "toml: "))
	}
}

// tags are the names that a struct's fields have in a file.
func tags(t reflect.Type) map[string]bool {
	names := make(map[string]bool)
	for _, name := range below(t, nil) {
		names[name] = true
	}
	return names
}

// below returns the names of the keys that stand beside the last one of key,
// sorted as the struct is. Tables and arrays of tables are looked into.
func below(t reflect.Type, key []string) (names []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && name == "" {
			names = append(names, below(f.Type, key)...)
			continue
		}
		if len(key) > 1 && name == key[0] {
			return below(f.Type, key[1:])
		}
		if name != "" && name != "-" && len(key) <= 1 {
			names = append(names, name)
		}
	}
	return names
}

// wantedAt says what a key in a struct takes, "" if that is not known.
func wantedAt(t reflect.Type, key []string) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && len(key) > 0 {
		t = t.Elem()
	}
	if len(key) > 0 {
		if t.Kind() != reflect.Struct {
			return ""
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if f.Anonymous && name == "" {
				if want := wantedAt(f.Type, key); want != "" {
					return want
				}
			}
			if name == key[0] {
				return wantedAt(f.Type, key[1:])
			}
		}
		return ""
	}
	switch t.Kind() {
	case reflect.String:
		return textWanted
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in range"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return tablesWanted
		}
		return listWanted
	case reflect.Map:
		return "a table"
	}
	return ""
}

// walk gives the flags their values, up to where there is no TOML any more, and says
// what is wrong there. The package that it uses is called unstable
// because its interface may change with go-toml's version; go-toml itself keeps no
// positions of what it puts into a map.
func (d *document) walk() {
	var p unstable.Parser
	p.Reset(d.data)
	var table string      // that the keys are in, "" at the top
	var fs *pflag.FlagSet // their flags; nil in a table of others
	fs = d.spec.Flags
	for p.NextExpression() {
		e := p.Expression()
		key, line := path(&p, e)
		switch e.Kind {
		case unstable.KeyValue:
			switch {
			case fs == nil:
			case table == "" && d.spec.Each[key[0]] != nil:
				// What is above the tables may be their default, so they come last.
				d.fault(line, "%q is no value: write [[%[1]s]]", key[0])
			case table == "" && d.isTable(key[0]): // decode's
			default:
				d.value(fs, table, key, e.Value(), line)
			}
		case unstable.Table, unstable.ArrayTable:
			table, fs = key[0], nil
			begin := d.spec.Each[table]
			switch {
			case begin != nil && len(key) == 1 && e.Kind == unstable.ArrayTable:
				fs = begin()
			case begin != nil && len(key) == 1:
				d.fault(line, "[%s] is one table of several: write [[%[1]s]]", table)
			case len(key) == 1 && e.Kind == unstable.Table && d.spec.Tables != nil && wantedAt(reflect.TypeOf(d.spec.Tables), key) == tablesWanted:
				d.fault(line, "[%s] is one table of several: write [[%[1]s]]", table)
			case begin != nil:
				d.fault(line, "unknown table %q", strings.Join(key, "."))
			case d.spec.Flags.Lookup(table) != nil:
				d.fault(line, "%q is no table: write %[1]s = ..., above all tables", table)
			case !d.isTable(table):
				d.fault(line, "unknown table %q%s", strings.Join(key, "."), nearest.Hint(table, d.tables(), strconv.Quote))
			}
		}
	}
	if e, ok := errors.AsType[*unstable.ParserError](p.Error()); ok {
		line := 1 + bytes.Count(d.data[:p.Range(e.Highlight).Offset], []byte("\n"))
		d.faults = slices.DeleteFunc(d.faults, func(f fault) bool { return f.raw && f.line == line })
		d.fault(line, "%s", d.noTOML(line, table, fs, e.Message))
	}
}

// noTOML says what is wrong in a line: mostly a text that has no quotes, of which the
// parser's words only tell that some character is not one of a number's. It repeats
// nothing of the value, which may be a secret.
func (d *document) noTOML(line int, table string, fs *pflag.FlagSet, words string) string {
	text := strings.Split(string(d.data), "\n")[line-1]
	key, value, assigns := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !assigns || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return words
	}
	switch {
	case value == "" || value[0] == '#':
		return key + " has no value"
	case strings.Contains(words, "new lines"), strings.Contains(words, "unterminated"):
		return key + ": the text has no quote at its end"
	case value[0] == '"' || value[0] == '\'' || value[0] == '{':
		return key + ": " + words
	case value[0] == '[':
		return key + " is not " + listWanted
	}
	want := textWanted
	if fs == nil && d.spec.Tables != nil {
		want = cmp.Or(wantedAt(reflect.TypeOf(d.spec.Tables), append([]string{table}, key)), want)
	} else if fs != nil && fs.Lookup(key) != nil {
		want = wanted(fs.Lookup(key))
	}
	if want == textWanted {
		want += fmt.Sprintf(": write %s = \"...\"", key)
	}
	return key + " is not " + want
}

// path returns the parts of an expression's key, and its line.
func path(p *unstable.Parser, e *unstable.Node) (key []string, line int) {
	for it := e.Key(); it.Next(); {
		if len(key) == 0 {
			line = p.Shape(it.Node().Raw).Start.Line
		}
		key = append(key, string(it.Node().Data))
	}
	return key, line
}

// tables are the names that tables may have.
func (d *document) tables() (names []string) {
	if d.spec.Tables != nil {
		names = below(reflect.TypeOf(d.spec.Tables), nil)
	}
	for name := range d.spec.Each {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *document) isTable(name string) bool { return slices.Contains(d.tables(), name) }

// value gives a flag of fs its value, unless it has one of those that win. table is
// where the key stands.
func (d *document) value(fs *pflag.FlagSet, table string, key []string, v *unstable.Node, line int) {
	name := strings.Join(key, ".")
	f := fs.Lookup(name)
	top := table == ""
	if f == nil || top && slices.Contains(d.spec.Never, name) {
		if top && slices.Contains(d.spec.Elsewhere, name) {
			d.fault(line, "the key %q is another program's: each has a file of its own", name)
			return
		}
		d.fault(line, "unknown key %q%s", name, d.hint(name, d.keys(fs, top)))
		return
	}
	text, list, ok := literal(f, v)
	switch {
	case !ok:
		d.fault(line, "%s is not %s", name, wanted(f))
		return
	case top && f.Changed:
		return
	}
	if s, isList := f.Value.(pflag.SliceValue); isList {
		if s.Replace(list) != nil {
			d.fault(line, "%s is not %s", name, wanted(f))
			return
		}
		f.Changed = true
	} else if fs.Set(name, text) != nil {
		d.fault(line, "%s: %q is not %s", name, text, wanted(f))
		return
	}
	if top {
		d.set = append(d.set, name)
	}
}

// hint says of a key what may be meant, of those that may stand there. TOML takes what
// is written below a table for that table's, flags too.
func (d *document) hint(name string, names []string) string {
	if d.spec.Flags.Lookup(name) != nil && !slices.Contains(d.spec.Never, name) {
		return ": " + name + " is a flag, write it above all tables"
	}
	return nearest.Hint(name, names, strconv.Quote)
}

// keys are what may stand among the flags fs.
func (d *document) keys(fs *pflag.FlagSet, top bool) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if !top || !slices.Contains(d.spec.Never, f.Name) {
			names = append(names, f.Name)
		}
	})
	if top {
		names = append(names, d.tables()...)
	}
	return names
}

// literal returns what f is to be set to, the elements where it takes a list. A
// list of one may be written as a single value.
func literal(f *pflag.Flag, v *unstable.Node) (text string, list []string, ok bool) {
	text = string(v.Data)
	switch f.Value.Type() {
	case "bool":
		return text, nil, v.Kind == unstable.Bool
	case "int", "int32", "int64", "uint", "uint32", "uint64":
		return text, nil, v.Kind == unstable.Integer
	case "float32", "float64":
		return text, nil, v.Kind == unstable.Integer || v.Kind == unstable.Float
	}
	if _, isList := f.Value.(pflag.SliceValue); !isList {
		return text, nil, v.Kind == unstable.String
	}
	if v.Kind == unstable.String {
		return "", []string{text}, true
	}
	if v.Kind != unstable.Array {
		return "", nil, false
	}
	for it := v.Children(); it.Next(); {
		if it.Node().Kind != unstable.String {
			return "", nil, false
		}
		list = append(list, string(it.Node().Data))
	}
	return "", list, true
}

const (
	textWanted   = "a text in quotes"
	listWanted   = `a list of texts in quotes, such as ["a", "b"]`
	tablesWanted = "tables, each under its name in two pairs of brackets"
)

// wanted says how a value of f is written.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return `a duration in quotes, such as "15s" or "0s"`
	case "int", "int32", "int64", "uint", "uint32", "uint64":
		return "a whole number in range"
	case "float32", "float64":
		return "a number"
	}
	if _, isList := f.Value.(pflag.SliceValue); isList {
		return listWanted
	}
	return textWanted
}
