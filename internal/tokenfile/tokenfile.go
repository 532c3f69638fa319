// Package tokenfile edits P's token file: lines are added and taken away, and all
// else in it, comments and order, stays as it is. What the lines mean is package
// control's to say.
//
// An edit is whole or not at all, also when the machine fails: the new file is
// written beside the old one, and takes its place. While it is there, another edit
// waits a moment, and is refused then, or removes it if nobody is at work on it.
package tokenfile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/oneline"
)

// Entry is a line with a token.
type Entry struct {
	Fingerprint string    // of the token
	Names       []string  // as they are written
	JoinBy      time.Time // of an invitation that nobody has used yet: it is good until then; else zero
	Comment     string    // behind them, for people; "" if there is none
}

// Fingerprint returns eight hexadecimal digits by which people tell tokens apart. Of
// a token that can be guessed it would tell who has it right.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte("spdy-proxy token fingerprint\x00" + token))
	return hex.EncodeToString(sum[:4])
}

// New returns a new token, of 130 random bits.
func New() string { return rand.Text() }

// File is the content of a token file, while it is edited.
type File struct {
	lines []line
}

// line is one with its end. Without a token it is a comment, or empty.
type line struct {
	text    string
	token   string
	names   []string
	joinBy  time.Time
	comment string
}

func (l *line) entry() Entry {
	return Entry{Fingerprint(l.token), l.names, l.joinBy, oneline.Clean(l.comment)}
}

func parse(text string) *File {
	f := &File{}
	for raw := range strings.Lines(text) {
		l := line{text: raw}
		written := raw
		if len(f.lines) == 0 {
			written = strings.TrimPrefix(written, "\ufeff") // as control reads it
		}
		written, comment, _ := control.CutComment(written) // control refuses the file
		if fields := strings.Fields(written); len(fields) > 0 {
			l.token, l.comment = fields[0], strings.TrimSpace(comment)
			var err error
			if l.names, l.joinBy, err = control.CutJoinBy(fields[1:]); err != nil {
				l.names = fields[1:] // control refuses the file
			}
		}
		f.lines = append(f.lines, l)
	}
	return f
}

func (f *File) text() string {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.text)
	}
	return b.String()
}

// same reports whether two lines say the same of the same token.
func (l line) same(m line) bool {
	return l.token == m.token && slices.Equal(l.names, m.names) && l.joinBy.Equal(m.joinBy)
}

// Entries returns the lines that have a token.
func (f *File) Entries() (all []Entry) {
	for _, l := range f.lines {
		if l.token != "" {
			all = append(all, l.entry())
		}
	}
	return all
}

// Add appends a line. The token must be used for the first time by joinBy, to the second;
// zero: when one likes. Its error is one line that says which of the names is none.
func (f *File) Add(token string, names []string, joinBy time.Time, comment string) error {
	for _, name := range names {
		if err := control.CheckName(name); err != nil {
			return err
		}
	}
	if n := len(f.lines); n > 0 && !strings.HasSuffix(f.lines[n-1].text, "\n") {
		f.lines[n-1].text += "\n"
	}
	f.lines = append(f.lines, newLine(token, names, joinBy, comment))
	return nil
}

func newLine(token string, names []string, joinBy time.Time, comment string) line {
	joinBy = joinBy.Truncate(time.Second) // as it is written
	text := token + " " + strings.Join(names, " ")
	if !joinBy.IsZero() {
		text += " " + control.JoinBy(joinBy)
	}
	if comment = oneline.Clean(comment); comment != "" {
		text += "  # " + comment
	}
	return line{text + "\n", token, names, joinBy, comment}
}

// Settle takes the limit from the invitations whose token used reports true for, and
// returns those lines as they are then.
func (f *File) Settle(used func(token string) bool) (settled []Entry) {
	for i, l := range f.lines {
		if !l.joinBy.IsZero() && used(l.token) {
			f.lines[i] = newLine(l.token, l.names, time.Time{}, l.comment)
			settled = append(settled, f.lines[i].entry())
		}
	}
	return settled
}

// Remove takes the line of a token away, by its fingerprint, or a name from all
// lines, and returns those lines as they were. A line without a name goes. is reports
// whether a name, as it is written, is the one that is meant; nil: as what is.
func (f *File) Remove(what string, is func(name string) bool) (was []Entry, err error) {
	token := slices.ContainsFunc(f.lines, func(l line) bool { return l.token != "" && Fingerprint(l.token) == what })
	if is == nil {
		is = func(name string) bool { return name == what }
	}
	name := slices.ContainsFunc(f.lines, func(l line) bool { return slices.ContainsFunc(l.names, is) })
	switch {
	case token && name:
		return nil, fmt.Errorf("%q is a token's fingerprint and a name: remove the line with an editor", what)
	case !token && !name:
		return nil, fmt.Errorf("no token has the fingerprint or the name %q: token list shows what there is", what)
	}
	var rest []line
	for _, l := range f.lines {
		if l.token == "" || !slices.ContainsFunc(l.names, is) && Fingerprint(l.token) != what {
			rest = append(rest, l)
			continue
		}
		was = append(was, l.entry())
		if names := slices.DeleteFunc(slices.Clone(l.names), is); name && len(names) > 0 {
			rest = append(rest, newLine(l.token, names, l.joinBy, l.comment))
		}
	}
	f.lines = rest
	return was, nil
}

// Read reads a file.
func Read(file string) (*File, error) {
	flags := 0
	if rootInAnothers(filepath.Dir(file)) {
		flags = noFollow
	}
	data, _, err := readFile(file, flags)
	if err != nil {
		return nil, fmt.Errorf("token file %s cannot be read: %w; name yours with --token-file, or by --config the file that does", file, reason(err))
	}
	return parse(string(data)), nil
}

// Edit has change edit a file, which is made if it is missing, and puts what comes
// of it in its place, readable by its owner alone, who stays the same, and by the group
// that root lends it to; of a new file that root makes, the owner is the folder's, since
// p may run as another. What control would not read is not written. Its error is one line that says what would mend it.
func Edit(file string, change func(*File) error) error {
	if target, err := filepath.EvalSymlinks(file); err == nil && !rootInAnothers(filepath.Dir(file)) {
		file = target
	}
	next := file + ".new"
	w, err := create(next)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another edit is under way, or was cut off; if none is, remove that file", next)
	}
	if err != nil {
		return fmt.Errorf("token file %s cannot be replaced: %w; its folder must be there and writable; --token-file, or the file of --config, names another", file, reason(err))
	}
	renamed := false
	defer func() {
		w.Close()
		if !renamed { // else it may be another's by now
			os.Remove(next)
		}
	}()
	data, old, err := readFile(file, noFollow)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("token file %s cannot be read: %w", file, reason(err))
	}
	f := parse(string(data))
	if err := change(f); err != nil {
		return err
	}
	text := f.text()
	if _, err := control.ParseTokens(strings.NewReader(text)); err != nil {
		return fmt.Errorf("token file %s is left as it is: it would be refused: %w", file, err)
	}
	if !slices.EqualFunc(parse(text).lines, f.lines, line.same) {
		return fmt.Errorf("token file %s is left as it is: what would be written says something else when it is read", file)
	}
	_, err = w.WriteString(text)
	if old == nil && os.Geteuid() == 0 {
		old, _ = os.Stat(filepath.Dir(file))
	}
	if err == nil && old != nil {
		err = keepOwner(w, old)
	}
	if err == nil {
		err = w.Sync()
	}
	if err == nil && runtime.GOOS == "windows" { // it renames no open file; else the lock is held until then
		err = w.Close()
	}
	if err == nil {
		err = os.Rename(next, file)
		renamed = err == nil
	}
	if err != nil {
		return fmt.Errorf("token file %s is left as it is: it cannot be replaced: %w", file, reason(err))
	}
	syncFolder(filepath.Dir(file))
	return nil
}

// An edit takes a moment, and nothing says when another process has ended its own.
const (
	editTime = 5 * time.Second
	editTick = 20 * time.Millisecond
)

// create makes a file that is not there, once it is not: that of another edit is waited
// for, for a while, and one that was cut off is removed.
func create(name string) (*os.File, error) {
	for begun := time.Now(); ; time.Sleep(editTick) {
		last := time.Since(begun) >= editTime
		w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			lock(w)
		}
		if !errors.Is(err, fs.ErrExist) || !removeLeft(name) && last {
			return w, err
		}
	}
}

// maxSize bounds a file in bytes. Root may read one of a user's who cannot be trusted.
const maxSize = 16 << 20

var errTooLarge = fmt.Errorf("it has more than %d MiB", maxSize>>20)

// readFile reads a file that is opened with flags, and tells whose it is.
func readFile(file string, flags int) (data []byte, info fs.FileInfo, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxSize+1))
	}
	if err == nil && len(data) > maxSize {
		err = errTooLarge
	}
	return data, info, err
}

// syncFolder has a rename last. The file is whole anyhow.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// reason is an error without the file, which was said.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}
