package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// errNotFound stands for whatever the visitor is told is not there: absent,
// outside the root, hidden, or not a file or folder.
var errNotFound = errors.New("no such file")

// A folder serves the files of one folder.
type folder struct {
	// Fixed when it is made.
	root           *tree
	dotfiles       bool
	noListing      bool
	cors           bool
	cacheControl   string // of files; empty: none
	fallback       string // a name in the root for what is not there; empty: none
	fallbackStatus int
	dav            *dav     // nil: no WebDAV
	uploads        *uploads // nil: bodies are read and forgotten
	log            *slog.Logger
	limit          *loglimit.Logger // for what any number of requests can cause
	now            func() time.Time // the clock that tells the age of files

	small    smallFiles    // has its own lock
	restless restlessFiles // has its own lock
	held     atomic.Int64  // entries in memory, of all listings
}

func (d *folder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.cors {
		allowOrigins(w.Header(), r.Method == http.MethodOptions)
	}
	if d.dav != nil && d.dav.handles(r) {
		d.dav.ServeHTTP(w, r)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		d.get(w, r)
	case http.MethodPost, http.MethodPut:
		switch {
		case d.uploads != nil:
			d.keep(w, r)
		case r.Method == http.MethodPost:
			d.post(w, r)
		default:
			d.refuseMethod(w)
		}
	case http.MethodOptions:
		w.Header().Set("Allow", d.allow())
		w.WriteHeader(http.StatusNoContent)
	default:
		d.refuseMethod(w)
	}
}

// allow lists the methods that have an answer, for the Allow header.
func (d *folder) allow() string {
	if d.uploads != nil {
		return "GET, HEAD, OPTIONS, POST, PUT"
	}
	return "GET, HEAD, OPTIONS, POST"
}

func (d *folder) refuseMethod(w http.ResponseWriter) {
	w.Header().Set("Allow", d.allow())
	http.Error(w, "405: this method has no meaning here", http.StatusMethodNotAllowed)
}

// post reads the body to its end and answers as for GET, telling in two
// headers what arrived.
func (d *folder) post(w http.ResponseWriter, r *http.Request) {
	body := newReceived(w, r)
	if err := body.discard(); err != nil {
		body.refuse(w, err)
		return
	}
	body.describe(w.Header())
	r = r.WithContext(r.Context()) // a copy
	r.Method = http.MethodGet
	d.get(w, r)
}

// get answers GET and HEAD with a file, a folder's index.html or its listing.
func (d *folder) get(w http.ResponseWriter, r *http.Request) {
	// A file is what its name says it is, whatever it holds: no guessing by browsers.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	name, slash, err := d.localName(r.URL)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if !slash && (d.sendEncoded(w, r, name) || d.sendSmall(w, r, name)) {
		return
	}
	f, info, err := d.open(name)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	defer f.Close()
	switch {
	case !info.IsDir() && slash:
		d.refuse(w, r, errNotFound)
	case !info.IsDir():
		d.sendFile(w, r, name, f, info)
	case !slash && d.noListing && !d.hasIndex(name):
		d.refuse(w, r, fs.ErrNotExist)
	case slash && !d.noListing && wantsArchive(r) != "":
		d.sendArchive(w, r, name, f, wantsArchive(r))
	case !slash:
		// "./" because a name may hold a colon, and "//" must not become a host.
		to := "./" + url.PathEscape(path.Base(name)) + "/"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
	default:
		d.sendFolder(w, r, name, f)
	}
}

// hasIndex tells whether the folder of that name has an index.html.
func (d *folder) hasIndex(name string) bool {
	info, err := d.root.Stat(path.Join(name, "index.html"))
	return err == nil && info.Mode().IsRegular()
}

// sendFolder answers with the folder's index.html, or else its listing.
func (d *folder) sendFolder(w http.ResponseWriter, r *http.Request, name string, f *os.File) {
	indexName := path.Join(name, "index.html")
	if d.sendEncoded(w, r, indexName) || d.sendSmall(w, r, indexName) {
		return
	}
	index, indexInfo, err := d.open(indexName)
	if err == nil {
		defer index.Close()
		if !indexInfo.IsDir() {
			d.sendFile(w, r, indexName, index, indexInfo)
			return
		}
	} else if status(err) != http.StatusNotFound {
		d.refuse(w, r, err)
		return
	}
	if d.noListing {
		d.refuse(w, r, fs.ErrNotExist)
		return
	}
	d.sendListing(w, r, name, f)
}

// sendFile answers with the content of f, whose name in the root is name, or
// with the part of it asked for.
func (d *folder) sendFile(w http.ResponseWriter, r *http.Request, name string, f *os.File, info fs.FileInfo) {
	d.sendFileAs(w, r, name, "", f, info)
}

// sendFileAs is sendFile where f holds the file of that name in that coding.
func (d *folder) sendFileAs(w http.ResponseWriter, r *http.Request, name, coding string, f *os.File, info fs.FileInfo) {
	now := d.now()
	body := &steadyFile{file: f, was: stampOf(info)}
	body.steady = d.steady(name, info, now)
	e := entityOf(path.Base(name), f, info, body.steady, now)
	e.coding, e.cacheControl = coding, d.cacheControl
	if encodable(name) {
		e.vary = "Accept-Encoding"
	}
	if coding == "" {
		if small := d.small.read(name, f, info, e, now); small != nil {
			small.send(w, r, bytes.NewReader(small.bytes))
			return
		}
	}
	e.send(w, r, body)
	if !body.failed.Load() {
		return
	}
	// One line, however many were downloading it.
	if d.restless.add(name, now) {
		d.log.Info("a download was broken off: the file changed meanwhile", "file", name)
	}
	// The headers promised a whole body: only a broken one tells the truth now.
	panic(http.ErrAbortHandler)
}

// sendSmall answers with the file of that name if it is in memory, and tells
// whether it did.
func (d *folder) sendSmall(w http.ResponseWriter, r *http.Request, name string) bool {
	small := d.small.get(d.root, name, d.now())
	if small != nil {
		small.send(w, r, bytes.NewReader(small.bytes))
	}
	return small != nil
}

// An entity is what the headers say of a file.
type entity struct {
	name         string
	contentType  string
	tag          string    // empty: the file changes, and no name would stand for one content
	coding       string    // empty: none
	vary         string    // what it was chosen by; empty: it was not
	cacheControl string    // empty: none
	lastModified string    // empty: not known, or no time yet from which on nothing changed
	changed      time.Time // zero: so
	size         int64
}

// entityOf describes f, which a visitor knows by that name, at the time now.
func entityOf(name string, f *os.File, info fs.FileInfo, steady bool, now time.Time) entity {
	e := entity{name: name, contentType: contentType(f, name), size: info.Size()}
	if steady {
		e.tag = etag(info)
	}
	// Not a time that is to come (RFC 9110, 8.8.2.1), nor one so near that the
	// file may change once more within its second.
	if changed := info.ModTime(); now.Sub(changed) >= atRest {
		if e.lastModified = lastModified(changed); e.lastModified != "" {
			e.changed = changed
		}
	}
	return e
}

// send answers with body, or with the part of it asked for, or tells that it
// has not changed.
func (e *entity) send(w http.ResponseWriter, r *http.Request, body io.ReadSeeker) {
	if wantsDownload(r) {
		w.Header().Set("Content-Disposition", disposition(e.name))
	}
	if !whole(r) {
		set(w.Header(), "Content-Type", e.contentType, "Etag", e.tag, "Content-Encoding", e.coding, "Vary", e.vary, "Cache-Control", e.cacheControl)
		http.ServeContent(w, e.plain(r), "", e.changed, body)
		return
	}
	e.sendAll(w, r, body, http.StatusOK)
}

// sendAll answers with all of body, as http.ServeContent does where there is
// nothing to decide. Most requests for small files are such, and it saves a
// sixth of their time.
func (e *entity) sendAll(w http.ResponseWriter, r *http.Request, body io.Reader, status int) {
	set(w.Header(), "Content-Type", e.contentType, "Etag", e.tag, "Last-Modified", e.lastModified, "Content-Encoding", e.coding, "Vary", e.vary,
		"Cache-Control", e.cacheControl, "Accept-Ranges", "bytes", "Content-Length", strconv.FormatInt(e.size, 10))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.Copy(w, body)
	}
}

// plain returns r with no other Range than http.ServeContent understands.
func (e *entity) plain(r *http.Request) *http.Request {
	if e.tag == "" && r.Header["If-Range"] != nil {
		// Whatever the visitor has, nothing tells that a part of this belongs to it.
		return withRange(r, "")
	}
	return plainRange(r, e.size)
}

// whole tells whether r asks for all of a file, whatever it is.
func whole(r *http.Request) bool {
	for _, key := range [...]string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if r.Header[key] != nil {
			return false
		}
	}
	return true
}

// lastModified returns the header of that name. As for net/http, no time and
// the system's first one stand for a time that is not known.
func lastModified(changed time.Time) string {
	if changed.IsZero() || changed.Equal(time.Unix(0, 0)) {
		return ""
	}
	return changed.UTC().Format(http.TimeFormat)
}

// set sets headers of canonical names, but for those without a value: what
// h.Set does, for several at the cost of one.
func set(h http.Header, pairs ...string) {
	values := make([]string, len(pairs)/2)
	for i := range values {
		if v := pairs[2*i+1]; v != "" {
			values[i] = v
			h[pairs[2*i]] = values[i : i+1 : i+1]
		}
	}
}

// localName returns the name that u stands for, relative to the root and in
// the form that os.Root takes ("." for the root), and whether u ends in a slash.
// Dot segments are resolved first (RFC 3986, 5.2.4), but none leads above the root.
func (d *folder) localName(u *url.URL) (name string, slash bool, err error) {
	// No name holds a slash: an encoded one is a disguise.
	if strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return "", false, errNotFound
	}
	var parts []string
	last := ""
	for last = range strings.SplitSeq(u.Path, "/") {
		switch last {
		case "", ".":
		case "..":
			if len(parts) == 0 {
				return "", false, errNotFound
			}
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, last)
		}
	}
	slash = last == "" || last == "." || last == ".."
	if len(parts) == 0 {
		return ".", true, nil
	}
	// What the dots lead to is judged, not the way there.
	for _, part := range parts {
		if !d.visible(part) || os.PathSeparator != '/' && strings.ContainsRune(part, os.PathSeparator) {
			return "", false, errNotFound
		}
	}
	name = strings.Join(parts, "/")
	// IsLocal knows what else a system reads into a name: drives, devices. It
	// takes any bytes, as a name may hold, while fs.ValidPath wants UTF-8.
	if !filepath.IsLocal(name) || strings.Contains(name, "\x00") {
		return "", false, errNotFound
	}
	return name, slash, nil
}

// visible tells whether a name in the root may be served. It judges names
// that a visitor gives: a link that the owner placed may lead to a dotfile.
// What RFC 8615 puts under .well-known is there to be asked for.
func (d *folder) visible(name string) bool {
	if strings.HasPrefix(name, ".") && !d.dotfiles && name != ".well-known" {
		return false
	}
	// An upload that is not whole yet is nobody's to read.
	return !strings.HasPrefix(name, partPrefix)
}

// open opens a regular file or a folder under the root. It never blocks.
func (d *folder) open(name string) (*os.File, fs.FileInfo, error) {
	// Opening a device or FIFO can have effects of its own, so look first; and
	// look again at what was opened, because the name may stand for another by then.
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, nil, errNotFound
	}
	f, err := d.root.open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		err = errNotFound
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// status returns the status code that err of os stands for. What is not known
// better is not there: os.Root has no type for a name that leads out.
func status(err error) int {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return http.StatusServiceUnavailable
	case errors.Is(err, syscall.EIO):
		return http.StatusInternalServerError
	}
	return http.StatusNotFound
}

// refuse answers a request whose file could not be had. The answer never
// holds a name of this machine.
func (d *folder) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := status(err)
	// What is hidden is not missing: it is nobody's business what is there.
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	if code == http.StatusNotFound && (missing || d.fallbackStatus == code) && d.sendFallback(w, r) {
		return
	}
	text := "there is no such file here"
	switch code {
	case http.StatusForbidden:
		text = "this file may not be read"
	case http.StatusServiceUnavailable:
		text = "too many files are open; try again soon"
		w.Header().Set("Retry-After", "1")
		noDescriptors(d.limit, r.URL.Path, err)
	case http.StatusInternalServerError:
		text = "this file cannot be read"
		d.log.Error("a file could not be read", "path", r.URL.Path, "error", err)
	}
	http.Error(w, fmt.Sprintf("%d: %s", code, text), code)
}

// etag names the content that info stands for: size, time of change to the
// nanosecond and, where the system has them, the inode and its own time of
// change, which no program can set back.
//
// It is strong, so that a part of a file may be joined to another part under
// the same tag, on these promises of the system: each write moves the times,
// once what was there before is at rest (see [atRest]). It does not see a
// write through mmap until the system notes it, nor one made beneath the
// file system. It changes more often than the content does: with a chmod, a new
// hard link or a copy to another disk. That costs a transfer, never a wrong byte.
func etag(info fs.FileInfo) string {
	s := stampOf(info)
	tag := make([]byte, 0, 80)
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, s.size, 16)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, s.changed.UnixNano(), 16)
	tag = append(tag, '-')
	tag = strconv.AppendUint(tag, s.inode, 16)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, s.inodeChanged.UnixNano(), 16)
	tag = append(tag, '"')
	return string(tag)
}

// A stamp is what the system says of a file's content without reading it.
type stamp struct {
	size         int64
	changed      time.Time
	inode        uint64    // 0: the system has none
	inodeChanged time.Time // equal to changed where the system has none
	attributes   [2]uint64 // what else moves inodeChanged: number of names, mode; where the system has them
}

// equal tells whether nothing that s holds differs in t.
func (s stamp) equal(t stamp) bool {
	return s.sameContent(t) && s.inode == t.inode && s.inodeChanged.Equal(t.inodeChanged)
}

// sameContent tells whether the same file has the same content by both stamps.
// A file that was only given or taken a name or a right has; one whose time was
// set back has not.
func (s stamp) sameContent(t stamp) bool {
	return s.size == t.size && s.changed.Equal(t.changed) &&
		(s.inodeChanged.Equal(t.inodeChanged) || s.attributes != t.attributes)
}
