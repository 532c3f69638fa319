package serve

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/loglimit"
)

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
	held     atomic.Int64  // of maxHeld, by all listings and lists
	nested   atomic.Int64  // folders that archives hold open, beyond the first usualDepth of each
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
func (d *folder) sendFolder(w http.ResponseWriter, r *http.Request, name string, f file) {
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
func (d *folder) sendFile(w http.ResponseWriter, r *http.Request, name string, f file, info fs.FileInfo) {
	d.sendFileAs(w, r, name, "", f, info)
}

// sendFileAs is sendFile where f holds the file of that name in that coding.
func (d *folder) sendFileAs(w http.ResponseWriter, r *http.Request, name, coding string, f file, info fs.FileInfo) {
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
