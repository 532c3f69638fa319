package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

const (
	// listingBatch is how many entries are read of a folder before it is looked
	// whether the visitor is still there.
	listingBatch = 1000
	// maxSorted is how many entries of one folder are sorted. A larger one is
	// listed in runs of that many, each sorted.
	maxSorted = 1 << 18
	// maxHeld is how many entries all listings together hold in memory beyond the first
	// listingBatch of each, at some 100 bytes each, WebDAV's lists among them. Beyond it
	// the runs get shorter, down to listingBatch, and WebDAV lists no folder with more.
	// The first are held in any case, and are not counted: who has many small lists made
	// must not keep others from large ones.
	maxHeld = 1 << 20
	// listingPiece is how much of a listing is written at a time.
	listingPiece = 32 << 10
)

// A listing is the content of one folder, as a visitor asked for it: all of it,
// whatever its size, because a mirror that gets a part takes it for the whole.
// It is read, sorted and written in runs, so that it takes bounded memory, and
// it ends where the visitor does.
type listing struct {
	// Fixed when it is made.
	ctx   context.Context
	d     *folder
	name  string // of the folder, in the root
	dir   file
	query listingQuery

	// Owned by write.
	entries []entry // of this run
	held    int64   // of maxHeld, for them
	more    bool    // there are more runs
	sums    sums
}

// An entry is one file or folder in a listing.
type entry struct {
	name    string
	key     string // name, for sorting and searching
	folder  bool
	size    int64
	changed int64 // seconds since 1970
}

// sums are what a listing has shown.
type sums struct {
	Files, Folders int
	Bytes          int64
}

// A listingQuery is how a visitor wants a listing.
type listingQuery struct {
	Sort    string // name, size or date
	Reverse bool
	Filter  string // what each name shown has in it, in any case
	Page    int    // from 1; 0: all in one
}

// readQuery reads ?sort=name, size or date, with a minus for the reverse
// order, ?q= and, where the listing comes in pages, ?page=. What makes no sense
// counts as absent.
func readQuery(u *url.URL, pages bool) listingQuery {
	q := listingQuery{Sort: "name"}
	if pages {
		q.Page = 1
	}
	if u.RawQuery == "" {
		return q
	}
	values := u.Query()
	sort, reverse := strings.CutPrefix(values.Get("sort"), "-")
	switch sort {
	case "name", "size", "date":
		q.Sort, q.Reverse = sort, reverse
	}
	q.Filter = values.Get("q")
	if n, err := strconv.ParseInt(values.Get("page"), 10, 32); err == nil && pages && n > 0 {
		q.Page = int(n)
	}
	return q
}

// shows tells whether entry i of all is on the page that was asked for.
func (q *listingQuery) shows(i int) bool { return q.Page == 0 || i/pageRows == q.Page-1 }

// compare orders entries as q wants: folders first, then by what was asked for.
func (q *listingQuery) compare(a, b entry) int {
	if a.folder != b.folder {
		if a.folder {
			return -1
		}
		return 1
	}
	order := 0
	switch q.Sort {
	case "size":
		order = cmp.Compare(a.size, b.size)
	case "date":
		order = cmp.Compare(a.changed, b.changed)
	default:
		order = cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.name, b.name))
	}
	if q.Reverse {
		order = -order
	}
	return cmp.Or(order, strings.Compare(a.key, b.key), strings.Compare(a.name, b.name))
}

// A listingForm is a way to write a listing: each appends to b what comes next.
type listingForm interface {
	contentType() string
	head(b []byte, l *listing) []byte
	entry(b []byte, first bool, e *entry) []byte
	foot(b []byte, l *listing) []byte
}

// sendListing answers with what is in the folder f, whose name in the root is name.
func (d *folder) sendListing(w http.ResponseWriter, r *http.Request, name string, f file) {
	l := &listing{ctx: r.Context(), d: d, name: name, dir: f}
	var form listingForm
	switch json, html := formWeights(r.Header["Accept"]); {
	case json > html:
		form, l.query = jsonForm{}, readQuery(r.URL, false)
	default:
		// A browser says that it takes HTML. It gets a page at a time: a hundred
		// thousand rows stop a phone for a minute. Mirrors and players take
		// anything, and not each would follow a link to the next page.
		form, l.query = page{host: seenHost(r), browser: html > 0}, readQuery(r.URL, html > 0)
	}
	h := w.Header()
	h.Set("Content-Type", form.contentType())
	h.Set("Content-Security-Policy", pagePolicy)
	// No time and no tag: the folder's own time does not move when a file in it
	// does, and nothing else is known before all of it has been sent.
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	defer l.release()
	if err := l.read(); err != nil {
		if l.ctx.Err() != nil {
			panic(http.ErrAbortHandler) // nobody is there to hear, and it is no answer
		}
		h.Del("Content-Security-Policy")
		d.refuse(w, r, err)
		return
	}
	out := &pieces{w: w, b: make([]byte, 0, listingPiece+8<<10)}
	err := l.write(form, out)
	if err == nil {
		return
	}
	if out.err == nil && l.ctx.Err() == nil {
		d.limit.Log("listing", slog.LevelError, "a folder could not be read to its end", slog.String("path", r.URL.Path), slog.Any("error", reason(err)))
	}
	panic(http.ErrAbortHandler) // what was sent must not look like the whole
}

// write writes the run that was read, and all that follow.
func (l *listing) write(form listingForm, out *pieces) error {
	out.b = form.head(out.b, l)
	first, i := true, 0
	for {
		for j := range l.entries {
			e := &l.entries[j]
			if e.folder {
				l.sums.Folders++
			} else {
				l.sums.Files++
				l.sums.Bytes += e.size
			}
			if l.query.shows(i) {
				out.b = form.entry(out.b, first, e)
				first = false
			}
			i++
			if len(out.b) >= listingPiece {
				if out.flush(); out.err != nil {
					return out.err
				}
			}
		}
		if !l.more {
			break
		}
		if err := l.read(); err != nil {
			return err
		}
	}
	out.b = form.foot(out.b, l)
	if out.n == 0 {
		out.w.Header().Set("Content-Length", strconv.Itoa(len(out.b)))
	}
	out.flush()
	return out.err
}

// A pieces writes an answer in pieces.
type pieces struct {
	w   http.ResponseWriter
	b   []byte
	n   int   // pieces written
	err error // of a Write: the visitor left
}

func (p *pieces) flush() {
	_, p.err = p.w.Write(p.b)
	p.b, p.n = p.b[:0], p.n+1
}

// read reads and sorts the next run.
func (l *listing) read() error {
	l.release()
	filter := strings.ToLower(l.query.Filter)
	for {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		batch, err := l.dir.ReadDir(listingBatch)
		for _, e := range batch {
			if e, ok := l.d.entry(l.name, e, filter); ok {
				l.entries = append(l.entries, e)
			}
		}
		if l.more = err == nil; !l.more {
			if err != io.EOF {
				return err
			}
			break
		}
		if len(l.entries) >= maxSorted || !l.hold() {
			break
		}
	}
	slices.SortFunc(l.entries, l.query.compare)
	return nil
}

// hold claims the room that the entries take, and tells whether there is some
// left for the next batch.
func (l *listing) hold() bool {
	n := heldOf(len(l.entries)) - l.held
	l.held += n
	return l.d.held.Add(n) < maxHeld
}

// heldOf returns how many of maxHeld a list of n entries takes.
func heldOf(n int) int64 { return int64(max(0, n-listingBatch)) }

// release forgets the entries of a run.
func (l *listing) release() {
	l.d.held.Add(-l.held)
	clear(l.entries)
	l.entries, l.held = l.entries[:0], 0
}

// entry describes e, if it is something that get would serve and that the
// visitor looks for.
func (d *folder) entry(dir string, e dirEntry, filter string) (entry, bool) {
	name := e.Name()
	if !d.visible(name) {
		return entry{}, false
	}
	key := strings.ToLower(name)
	if !strings.Contains(key, filter) {
		return entry{}, false
	}
	info, err := e.Info()
	if err == nil && e.Type() == fs.ModeSymlink {
		info, err = d.root.Stat(path.Join(dir, name))
	}
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return entry{}, false
	}
	it := entry{name: name, key: key, folder: info.IsDir(), changed: info.ModTime().Unix()}
	if !it.folder {
		it.size = info.Size()
	}
	return it, true
}

// formWeights returns the weights that Accept headers give to the two forms of a
// listing by name. What only a wildcard covers has none.
func formWeights(accept []string) (json, html float64) {
	for name, q := range httpfield.Weighted(accept) {
		switch name {
		case "application/json":
			json = q
		case "text/html":
			html = q
		}
	}
	return json, html
}

// A jsonForm writes a listing as nginx's autoindex_format json does, with the
// link beside each name: a name that is not UTF-8 cannot be written in JSON.
type jsonForm struct{}

func (jsonForm) contentType() string { return "application/json" }

func (jsonForm) head(b []byte, _ *listing) []byte { return append(b, "[\n"...) }

func (jsonForm) entry(b []byte, first bool, e *entry) []byte {
	if !first {
		b = append(b, ",\n"...)
	}
	name, _ := json.Marshal(e.name) // a string always can be
	b = append(b, `{ "name":`...)
	b = append(b, name...)
	kind := "file"
	if e.folder {
		kind = "directory"
	}
	b = append(b, `, "type":"`...)
	b = append(b, kind...)
	b = append(b, `", "mtime":"`...)
	b = time.Unix(e.changed, 0).UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, '"')
	if !e.folder {
		b = append(b, `, "size":`...)
		b = strconv.AppendInt(b, e.size, 10)
	}
	b = append(b, `, "href":"`...)
	b = appendHref(b, e)
	return append(b, `" }`...)
}

func (jsonForm) foot(b []byte, _ *listing) []byte { return append(b, "\n]\n"...) }
