package serve

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// maxListed bounds the memory that a listing takes.
const maxListed = 10_000

//go:embed listing.html
var listingHTML string

var listingPage = template.Must(template.New("listing").Parse(listingHTML))

// A listing is what listing.html shows.
type listing struct {
	Path    string // of the folder, as a person reads it
	Root    bool   // it has no folder above it
	Entries []entry
	More    bool // there are more than are shown
	Max     int

	changed time.Time // the latest change of the folder or of what is in it
}

// An entry is one file or folder in a listing.
type entry struct {
	Name   string // as a person reads it
	Link   template.URL
	Folder bool
	Size   string
	When   time.Time

	name string
	size int64
}

// list reads the folder f, whose name in the root is name.
func (d *folder) list(name string, f *os.File, info fs.FileInfo) (*listing, error) {
	l := &listing{Path: "/", Root: name == ".", Max: maxListed, changed: info.ModTime()}
	if !l.Root {
		l.Path = "/" + readable(name) + "/"
	}
	for {
		batch, err := f.ReadDir(1000)
		for _, e := range batch {
			if entry, ok := d.entry(name, e); ok {
				l.Entries = append(l.Entries, entry)
			}
		}
		if len(l.Entries) > 2*maxListed {
			l.cut()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	l.cut()
	for _, e := range l.Entries {
		if e.When.After(l.changed) {
			l.changed = e.When
		}
	}
	return l, nil
}

// cut sorts the entries, folders first, and keeps the first maxListed of them.
func (l *listing) cut() {
	slices.SortFunc(l.Entries, func(a, b entry) int {
		if a.Folder != b.Folder {
			if a.Folder {
				return -1
			}
			return 1
		}
		return cmp.Or(
			strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)),
			strings.Compare(a.name, b.name),
		)
	})
	if len(l.Entries) > maxListed {
		l.Entries, l.More = l.Entries[:maxListed], true
	}
}

// etag names what the listing shows.
func (l *listing) etag() string {
	sum := sha256.New()
	for _, e := range l.Entries {
		fmt.Fprintf(sum, "%q %t %d %d\n", e.name, e.Folder, e.size, e.When.UnixNano())
	}
	fmt.Fprintf(sum, "%t", l.More)
	return `"` + hex.EncodeToString(sum.Sum(nil)[:16]) + `"`
}

// entry describes e, if it is something that get would serve.
func (d *folder) entry(dir string, e fs.DirEntry) (entry, bool) {
	if !d.visible(e.Name()) {
		return entry{}, false
	}
	info, err := e.Info()
	if err == nil && e.Type() == fs.ModeSymlink {
		info, err = d.root.Stat(path.Join(dir, e.Name()))
	}
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return entry{}, false
	}
	// "./" keeps a colon in the name from making a scheme of what is before it.
	link := "./" + url.PathEscape(e.Name())
	if info.IsDir() {
		return entry{Name: readable(e.Name()), Link: template.URL(link + "/"), Folder: true, When: info.ModTime(), name: e.Name()}, true
	}
	return entry{
		Name: readable(e.Name()), Link: template.URL(link),
		Size: sizeText(info.Size()), When: info.ModTime(),
		name: e.Name(), size: info.Size(),
	}, true
}

// readable makes visible what a browser would hide in a name: line ends and
// other control characters, bytes that are not UTF-8, and marks that turn the
// direction of writing and so can make one name look like another.
func readable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '␀' + r
		case r == 0x7f:
			return '␡'
		case oneline.Unsafe(r):
			return utf8.RuneError
		}
		return r
	}, name)
}

// sizeText writes a number of bytes for a person.
func sizeText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		f /= 1000
		if f < 99.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		if f < 999.5 {
			return fmt.Sprintf("%.0f %s", f, unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
