package serve

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

var (
	//go:embed listing.html
	listingHTML string
	//go:embed listing.css
	listingCSS string
	//go:embed listing.js
	listingJS string
)

// listingPage has the templates head and foot; what is between is written by hand.
var listingPage = template.Must(template.New("listing").Funcs(template.FuncMap{
	"css":          func() template.CSS { return template.CSS(listingCSS) },
	"js":           func() template.JS { return template.JS(listingJS) },
	"uploadForm":   func() template.HTML { return template.HTML(uploadForm) },
	"uploadScript": func() template.JS { return template.JS(uploadScript) },
	"size":         sizeText,
}).Parse(listingHTML))

// pagePolicy lets a listing show and play what is beside it, run the scripts
// that are in it, and nothing else.
var pagePolicy = fmt.Sprintf("default-src 'none'; img-src 'self' data:; media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "+
	"frame-ancestors 'self'; style-src '%s'; script-src '%s' '%s'", sourceHash(listingCSS), sourceHash(listingJS), sourceHash(uploadScript))

// sourceHash names a script or style in a Content-Security-Policy.
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// pageRows is how many rows a browser gets at a time.
const pageRows = 1000

// A page writes a listing for people, and for the programs that read what was
// written for people: Kodi takes a link only if its text is the decoded href;
// lftp and Kodi read date and size behind it in the way of Apache and nginx;
// mirrors follow each link, so that what is no entry is a button.
type page struct {
	host    string // as the visitor calls this place
	browser bool   // it is a browser that asks
}

func (page) contentType() string { return "text/html; charset=utf-8" }

// A crumb is a folder on the way to the one that is shown.
type crumb struct {
	Name string
	Link string // empty: this is the one
}

// A column is one that the listing can be sorted by.
type column struct {
	Title string
	Value string // of ?sort= for the order that a click gives
	Order string // of now: ascending, descending or none
}

func (p page) head(b []byte, l *listing) []byte {
	data := struct {
		Path    string
		Crumbs  []crumb
		Columns []column
		Sort    string // of now; empty: as it is without asking
		Filter  string
		Root    bool
	}{Path: "/", Filter: l.query.Filter, Root: l.name == "."}
	home := p.host
	if host, _, err := net.SplitHostPort(home); err == nil {
		home = host
	}
	if home == "" {
		home = "files"
	}
	names := []string{readable(home)}
	if !data.Root {
		data.Path = "/" + readable(l.name) + "/"
		names = append(names, strings.Split(readable(l.name), "/")...)
	}
	for i, name := range names {
		data.Crumbs = append(data.Crumbs, crumb{name, strings.Repeat("../", len(names)-1-i)})
	}
	for _, title := range []string{"Name", "Size", "Date"} {
		c := column{Title: title, Value: strings.ToLower(title), Order: "none"}
		if c.Value == l.query.Sort {
			if c.Order = "ascending"; l.query.Reverse {
				c.Order = "descending"
			} else {
				c.Value = "-" + c.Value
			}
		} else if c.Value != "name" {
			c.Value = "-" + c.Value // the largest, the latest
		}
		data.Columns = append(data.Columns, c)
	}
	data.Sort = l.query.sortValue()
	out := bytes.NewBuffer(b)
	if err := listingPage.ExecuteTemplate(out, "head", data); err != nil {
		panic(err) // it writes to memory what is known to fit
	}
	return out.Bytes()
}

// entry writes a row. What only the page's style and script need is left out for
// a program: it is a third of the bytes of a large folder.
func (p page) entry(b []byte, _ bool, e *entry) []byte {
	b = append(b, `<li`...)
	if p.browser {
		b = append(b, ` class=`...)
		b = append(b, kindOf(e)...)
	}
	b = append(b, `><a href="`...)
	b = appendHref(b, e)
	b = append(b, `">`...)
	b = appendText(b, readable(e.name))
	if e.folder {
		b = append(b, '/')
	}
	at := time.Unix(e.changed, 0).UTC()
	b = append(b, `</a> <time`...)
	if p.browser {
		b = append(b, ` datetime=`...)
		b = at.AppendFormat(b, "2006-01-02T15:04:05Z")
	}
	b = append(b, '>')
	b = at.AppendFormat(b, "02-Jan-2006 15:04")
	b = append(b, `</time> <span`...)
	if e.folder {
		return append(b, "> -</span>\n"...)
	}
	if p.browser {
		// The number is for programs, and this text for people.
		b = append(b, ` data-h="`...)
		b = append(b, sizeText(e.size)...)
		b = append(b, '"')
	}
	b = append(b, `> `...)
	b = strconv.AppendInt(b, e.size, 10)
	b = append(b, `</span>`...)
	if p.browser {
		b = append(b, ` <button form=get name=download title=Download formaction="`...)
		b = appendHref(b, e)
		b = append(b, `"></button>`...)
	}
	return append(b, '\n')
}

func (p page) foot(b []byte, l *listing) []byte {
	data := struct {
		sums
		listingQuery
		Upload     bool
		Pages      int
		Prev, Next string // links; empty: none
		Sort       string
	}{sums: l.sums, listingQuery: l.query, Sort: l.query.sortValue(), Upload: p.browser && l.d.uploadsHere(l.name)}
	if data.Pages = (l.sums.Files + l.sums.Folders + pageRows - 1) / pageRows; data.Pages > 1 && p.browser {
		if l.query.Page > 1 {
			data.Prev = l.query.link(min(l.query.Page-1, data.Pages))
		}
		if l.query.Page < data.Pages {
			data.Next = l.query.link(l.query.Page + 1)
		}
	}
	out := bytes.NewBuffer(b)
	if err := listingPage.ExecuteTemplate(out, "foot", data); err != nil {
		panic(err) // as above
	}
	return out.Bytes()
}

// sortValue is the ?sort= of q, empty where that is as without asking.
func (q *listingQuery) sortValue() string {
	switch {
	case q.Reverse:
		return "-" + q.Sort
	case q.Sort == "name":
		return ""
	}
	return q.Sort
}

// link leads to another page of the same listing.
func (q *listingQuery) link(page int) string {
	values := url.Values{"page": {strconv.Itoa(page)}}
	if sort := q.sortValue(); sort != "" {
		values.Set("sort", sort)
	}
	if q.Filter != "" {
		values.Set("q", q.Filter)
	}
	return "?" + values.Encode()
}

// kindOf tells what a row looks like, and what a click on it does.
func kindOf(e *entry) string {
	if e.folder {
		return "d"
	}
	dot := strings.LastIndexByte(e.key, '.')
	if dot < 0 {
		return "f"
	}
	kind, name, _ := strings.Cut(types[e.key[dot:]], "/")
	switch {
	case kind == "image", kind == "video", kind == "audio":
		return kind[:1]
	case strings.Contains(name, "zip"), strings.Contains(name, "compressed"), strings.Contains(name, "tar"):
		return "z"
	case kind == "text":
		return "t"
	}
	return "f"
}

// appendHref appends the link of e, relative to its folder. All but letters,
// digits and four marks is encoded: a colon would make a scheme of what is
// before it, and some programs take + for a blank, or ; for the end.
func appendHref(b []byte, e *entry) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(e.name) {
		c := e.name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if e.folder {
		b = append(b, '/')
	}
	return b
}

// appendText appends s as text of HTML. Only what must be is escaped: some
// programs know no other names of characters.
func appendText(b []byte, s string) []byte {
	for {
		i := strings.IndexAny(s, "&<>")
		if i < 0 {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		switch s[i] {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		}
		s = s[i+1:]
	}
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
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{" kB", " MB", " GB", " TB", " PB", " EB"} {
		f /= 1000
		if f < 99.95 {
			return strconv.FormatFloat(f, 'f', 1, 64) + unit
		}
		if f < 999.5 {
			return strconv.FormatFloat(f, 'f', 0, 64) + unit
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// disposition is the header that makes a browser save a file under its name.
func disposition(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%;`, r) {
			return '_'
		}
		return r
	}, name)
	value := `attachment; filename="` + ascii + `"`
	if ascii != name {
		e := entry{name: name}
		value += "; filename*=UTF-8''" + string(appendHref(nil, &e))
	}
	return value
}

// wantsDownload tells whether r asks for a file to be saved, not shown.
func wantsDownload(r *http.Request) bool {
	return r.URL.RawQuery != "" && r.URL.Query().Has("download")
}
