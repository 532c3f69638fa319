package serve

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/net/webdav"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/httpfield"
)

const (
	// maxDAVBody bounds in bytes what a WebDAV request may say in XML.
	maxDAVBody = 64 << 10

	davMethods      = "OPTIONS, GET, HEAD, POST, PROPFIND"
	davWriteMethods = davMethods + ", PUT, DELETE, MKCOL, COPY, MOVE, PROPPATCH, LOCK, UNLOCK"
)

// A dav serves the folder by WebDAV (RFC 4918), classes 1 and 2: for reading all
// that is served otherwise, for writing the upload folder if that lies in it.
// GET, HEAD and POST stay what they are.
//
// The protocol is x/net/webdav's. Here is what it leaves to others: who may
// write where, that files and folders are replaced whole or not at all, bounds,
// and statuses that say why.
type dav struct {
	// Fixed when it is made.
	d       *folder
	handler webdav.Handler
	locks   *davLocks
}

func newDAV(d *folder) *dav {
	v := &dav{d: d}
	v.locks = newDAVLocks(v.tag)
	v.handler = webdav.Handler{FileSystem: &davTree{d: d}, LockSystem: v.locks, Logger: func(r *http.Request, err error) {
		if err != nil {
			d.log.Debug("a WebDAV request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
	}}
	return v
}

// tag returns the ETag of what has the path, "" if that has none.
func (v *dav) tag(name string) string {
	served, _, err := v.d.localName(&url.URL{Path: name})
	if err != nil {
		return ""
	}
	info, err := v.d.root.Stat(served)
	if err != nil || info.IsDir() {
		return ""
	}
	return v.d.davTag(served, info)
}

// handles tells whether the method of r is answered here.
func (v *dav) handles(r *http.Request) bool {
	switch r.Method {
	case http.MethodOptions, http.MethodPut, http.MethodDelete, "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK":
		return true
	}
	return false
}

func (v *dav) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if host := seenHost(r); host != r.Host {
		// It is the one in Destination.
		r = r.WithContext(r.Context()) // a copy
		r.Host = host
	}
	served, _, err := v.d.localName(r.URL)
	if err != nil {
		if r.Method == "PROPFIND" || r.Method == http.MethodOptions || v.d.uploads == nil {
			v.d.refuse(w, r, err)
		} else {
			http.Error(w, "403: a file of this name is not served here", http.StatusForbidden)
		}
		return
	}
	name, writable := v.d.writable(served)
	switch r.Method {
	case http.MethodOptions:
		h := w.Header()
		h.Set("DAV", "1")
		h.Set("Allow", davMethods)
		if writable {
			h.Set("DAV", "1, 2")
			h.Set("Allow", davWriteMethods)
		}
		h.Set("MS-Author-Via", "DAV")
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return
	case "PROPFIND":
		if depth := r.Header.Get("Depth"); depth != "0" && depth != "1" {
			// RFC 4918, 9.1.1: a whole tree may be refused.
			w.Header().Set("Content-Type", "application/xml; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `<?xml version="1.0" encoding="utf-8"?>`+"\n"+`<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>`+"\n")
			return
		}
	default:
		if code, text := v.mayWrite(r, served, name, writable); code != 0 {
			if code == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", davMethods)
			}
			http.Error(w, fmt.Sprintf("%d: %s", code, text), code)
			return
		}
	}
	v.pass(w, r, served)
}

// mayWrite tells why r must not write, or 0.
func (v *dav) mayWrite(r *http.Request, served, name string, writable bool) (code int, text string) {
	const (
		elsewhere = "only what is in the upload folder can be changed, and nothing whose name begins with a dot"
		lockedIn  = "somebody has locked something in it"
		// What is replaced would take the source with it; what is copied into itself has
		// no end.
		itself = "a folder cannot be copied or moved into itself, nor over what it is in"
	)
	switch {
	case v.d.uploads == nil:
		return http.StatusMethodNotAllowed, "nothing can be changed here"
	case !sameOrigin(r):
		return http.StatusForbidden, "another site's page may not change anything here"
	case strings.Count(r.Header.Get("If"), "(") > maxIfLists:
		return http.StatusBadRequest, "If has too many lists"
	case !writable && r.Method != "COPY":
		return http.StatusForbidden, elsewhere
	case name == "." && (r.Method == http.MethodDelete || r.Method == "MOVE"):
		return http.StatusForbidden, "the upload folder itself stays"
	case (r.Method == http.MethodDelete || r.Method == "MOVE") && v.locks.lockedIn(r.URL.Path, r.Header.Get("If")):
		return http.StatusLocked, lockedIn
	case r.Method == http.MethodPut:
		return v.mayPut(r, served)
	case r.Method == "MKCOL" && depthOf(name) > maxUploadDepth:
		return http.StatusForbidden, errTooDeep.Error()
	case r.Method == "COPY" || r.Method == "MOVE":
		to, err := url.Parse(r.Header.Get("Destination"))
		if err != nil || to.Path == "" {
			return http.StatusBadRequest, "Destination must be a URL"
		}
		target, _, err := v.d.localName(to)
		into, writable := v.d.writable(target)
		switch {
		case err != nil || !writable || into == ".":
			return http.StatusForbidden, elsewhere
		case within(target, served), within(served, target):
			return http.StatusForbidden, itself
		}
		switch info, err := v.d.root.Stat(served); {
		case err != nil:
			return http.StatusNotFound, "there is no such file here"
		case v.overlap(served, info, target):
			return http.StatusForbidden, itself
		case v.locks.lockedIn(to.Path, r.Header.Get("If")):
			return http.StatusLocked, lockedIn
		case !v.d.mayMake(into, info.IsDir()):
			return http.StatusForbidden, errBadName.Error()
		}
	}
	return 0, ""
}

// overlap tells whether the source, which is served and has that info, holds the
// target or the other way round, whatever links or letters their names lead there by;
// or is a link to it, which in its place would lead to itself.
func (v *dav) overlap(served string, info fs.FileInfo, target string) bool {
	root := v.d.root
	if root.isIn(path.Dir(target), info) {
		return true
	}
	replaced, err := root.Stat(target)
	return err == nil && (root.isIn(served, replaced) || os.SameFile(info, replaced) && v.isLink(served))
}

// isLink tells whether what has the name served is a link that can be moved.
func (v *dav) isLink(served string) bool {
	name, ok := v.d.writable(served)
	if !ok {
		return false
	}
	info, err := v.d.uploads.dir.Lstat(name)
	return err == nil && info.Mode().Type() == fs.ModeSymlink
}

// within tells whether name is folder or in it.
func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder+"/")
}

// mayPut judges a PUT by what RFC 9110, 9.3.4 and 13.1 say.
func (v *dav) mayPut(r *http.Request, served string) (code int, text string) {
	u := v.d.uploads
	switch {
	case r.Header.Get("Content-Range") != "":
		return http.StatusBadRequest, "a part of a file cannot be kept; send the whole"
	case r.ContentLength > u.max:
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("at most %d bytes are kept", u.max)
	}
	tag := ""
	info, err := v.d.root.Stat(served)
	if err == nil {
		tag = v.d.davTag(served, info)
	}
	match, noneMatch := r.Header["If-Match"], r.Header["If-None-Match"]
	if match != nil && !(err == nil && (httpfield.HasToken(match, "*") || hasTag(match, tag))) ||
		noneMatch != nil && err == nil && (httpfield.HasToken(noneMatch, "*") || hasTag(noneMatch, tag)) {
		return http.StatusPreconditionFailed, errNotMeant.Error()
	}
	return 0, ""
}

// errNotMeant is a file of which a condition of the request does not hold.
var errNotMeant = errors.New("the file is not the one that was meant")

// hasTag tells whether the lists name a strong tag, to the letter (RFC 9110,
// 8.8.3.2). Ours have no comma in them.
func hasTag(lists []string, tag string) bool {
	for _, l := range lists {
		for t := range strings.SplitSeq(l, ",") {
			if strings.Trim(t, " \t") == tag && strings.HasPrefix(tag, `"`) {
				return true
			}
		}
	}
	return false
}

// spelled returns the header of r, a LOCK, COPY or MOVE, as the library is to read it: it
// takes a word in other letters, small or capital, for another word, which in RFC 4918 it is
// not (RFC 2616, 2.1), and a MOVE without Overwrite for one that must not replace (RFC 4918,
// 10.6: it may). PROPFIND's Depth is ServeHTTP's to judge.
func spelled(r *http.Request) http.Header {
	h := r.Header.Clone()
	if v := h.Get("Depth"); v != "" {
		h.Set("Depth", strings.ToLower(v))
	}
	if r.Method == "LOCK" {
		h.Set("Timeout", boundedTimeout(h.Get("Timeout")))
	} else {
		overwrite := "F" // for what is no value of it, too: nothing is lost by that
		if v := h.Get("Overwrite"); v == "" || httpfield.Equal(v, "T") {
			overwrite = "T"
		}
		h.Set("Overwrite", overwrite)
	}
	return h
}

// pass lets the library answer r, which is about what has the name served.
func (v *dav) pass(w http.ResponseWriter, r *http.Request, served string) {
	handler := v.handler
	op := &davOp{method: r.Method, served: served, flat: r.Header.Get("Depth") == "0"}
	r = r.WithContext(context.WithValue(r.Context(), davOpKey{}, op))
	switch r.Method {
	case "LOCK", "COPY", "MOVE":
		r.Header = spelled(r)
	}
	if r.Method == http.MethodPut {
		op.body = &formReader{received: newReceived(w, r), allow: math.MaxInt64}
		op.isNew = httpfield.HasToken(r.Header["If-None-Match"], "*")
		r.Body = io.NopCloser(op.body)
	} else if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDAVBody))
		switch {
		case errors.As(err, new(*http.MaxBytesError)):
			http.Error(w, fmt.Sprintf("413: at most %d bytes of XML are taken", maxDAVBody), http.StatusRequestEntityTooLarge)
			return
		case err != nil:
			http.Error(w, "400: the body ended before its end", http.StatusBadRequest)
			return
		case undeclares(body):
			http.Error(w, "400: a prefix stands for no namespace", http.StatusBadRequest)
			return
		case r.Method == "LOCK" && len(body) > 0 && v.locks.full():
			// Without a body it asks for no lock, but for more time for one (RFC 4918, 9.10.2).
			http.Error(w, "503: too many locks are held; try again later", http.StatusServiceUnavailable)
			return
		}
		if r.Method == "LOCK" {
			if exclusive, ok := asExclusive(body); ok {
				body, op.shared = exclusive, true
				handler.LockSystem = sharedLocks{v.locks}
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	to := &davWriter{ResponseWriter: w, v: v, r: r, op: op}
	if r.Method == "PROPFIND" && r.Header.Get("Depth") == "1" {
		v.list(r.Context(), op, r.URL.Path)
		defer func() { v.d.held.Add(-heldOf(len(op.list))) }()
	}
	if op.err == nil {
		handler.ServeHTTP(to, r)
	} else {
		to.WriteHeader(http.StatusInternalServerError)
	}
	if to.code/100 == 2 && (r.Method == http.MethodDelete || r.Method == "MOVE") {
		v.locks.forget(r.URL.Path)
	}
	if op.err != nil && (to.code < 400 || r.Context().Err() != nil) {
		// It has said that all was well, and a list that is cut looks whole; or nobody is there to hear.
		panic(http.ErrAbortHandler)
	}
}

// list reads the folder that has the path into op. Where there is none, the
// library finds that out again, and says so.
func (v *dav) list(ctx context.Context, op *davOp, name string) {
	f, err := v.handler.FileSystem.OpenFile(ctx, name, os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		op.list, _ = f.(*davFile).list() // an error is in op
	}
}

// undeclares tells whether a document takes the meaning from a prefix, which
// Namespaces in XML 1.0, 2.2 forbids and the library's parser lets pass.
func undeclares(document []byte) bool {
	for d := xml.NewDecoder(bytes.NewReader(document)); ; {
		token, err := d.RawToken()
		if err != nil {
			return false // the library says what is wrong
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Space == "xmlns" && a.Value == "" {
					return true
				}
			}
		}
	}
}

// A davOp is what a request has come to.
type davOp struct {
	method   string
	served   string        // the name in the root of what it is about
	flat     bool          // a COPY of a folder without what is in it
	body     *formReader   // of a PUT
	isNew    bool          // a PUT that is to replace nothing
	list     []os.FileInfo // of a PROPFIND: what is in the folder
	err      error         // the first that the library has no status for
	replaced bool          // a file was replaced by another
	replaces string        // the name in the upload folder of what is to be replaced
	shared   bool          // a LOCK that asks for a shared lock
}

type davOpKey struct{}

func opOf(ctx context.Context) *davOp {
	op, _ := ctx.Value(davOpKey{}).(*davOp)
	return op
}

// note remembers err if it is of this machine or of the body, which the library
// would call a file that is not there. It returns the error for the library: one
// that it does not take for a file to be left out of a list.
func (op *davOp) note(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errListsFull), errors.Is(err, context.Canceled),
		status(err) == http.StatusServiceUnavailable, status(err) == http.StatusInternalServerError,
		status(err) == http.StatusForbidden && op.method != "PROPFIND":
		return op.fail(err)
	}
	return err
}

// failed remembers what is wrong with a change that was tried, but for a name that is
// taken where that is all: the library says it. It returns the error for the library.
func (op *davOp) failed(err error) error {
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return err
	case errno.Is(err, syscall.ENAMETOOLONG):
		err = errBadName
	case errno.Is(err, syscall.ENOTDIR), errno.Is(err, syscall.ELOOP), escapes(err):
		err = errNoFolder
	}
	return op.fail(err)
}

func (op *davOp) fail(err error) error {
	if op.err == nil {
		op.err = err
	}
	return fmt.Errorf("%w", err)
}

// A davWriter gives the answer that the davOp asks for.
type davWriter struct {
	http.ResponseWriter
	v    *dav
	r    *http.Request
	op   *davOp
	code int
	mute bool // what the library says of a status is not passed on
}

func (w *davWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *davWriter) WriteHeader(code int) {
	if w.code != 0 {
		return // the library has begun a list, and cannot go on
	}
	text := ""
	switch {
	case w.op.err != nil && w.r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is there to hear
	case w.op.err != nil && (code >= 400 || w.op.method != "PROPFIND"):
		code, text = w.problem()
	case w.op.replaced && code == http.StatusCreated && w.op.method == http.MethodPut:
		code, w.mute = http.StatusNoContent, true
	case code >= 400:
		text = davText(w.op.method, code)
	}
	w.code = code
	if code == http.StatusCreated && w.op.method == http.MethodPut || text != "" {
		w.mute = true
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	if tag := w.Header()["Etag"]; slices.Equal(tag, []string{""}) {
		w.Header().Del("Etag")
	}
	w.ResponseWriter.WriteHeader(code)
	if text != "" {
		fmt.Fprintf(w.ResponseWriter, "%d: %s\n", code, text)
	}
}

// davText returns what is said of a status that the library gives alone.
func davText(method string, code int) string {
	switch {
	case code == http.StatusConflict && method != "UNLOCK":
		return "the folder that this would be in is not there; make it first (MKCOL)"
	case code == http.StatusLocked:
		return "somebody has locked it"
	}
	return strings.ToLower(webdav.StatusText(code))
}

// problem tells what is answered for the error of op.
func (w *davWriter) problem() (code int, text string) {
	d, err := w.v.d, w.op.err
	switch {
	case errors.Is(err, errListsFull):
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, "too many large folders are listed at once; try again soon"
	case w.op.method != "PROPFIND" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFolder)):
		return http.StatusConflict, davText(w.op.method, http.StatusConflict)
	case errors.Is(err, errNotMeant):
		return http.StatusPreconditionFailed, err.Error()
	case errors.Is(err, errMovedAway):
		return http.StatusConflict, err.Error()
	case w.op.method != "PROPFIND" && errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden, "c may not read or change this"
	case d.uploads != nil && w.op.method != "PROPFIND":
		return d.uploads.problem(w.ResponseWriter, err, w.op.body != nil && w.op.body.err != nil)
	case status(err) == http.StatusServiceUnavailable:
		noDescriptors(d.limit, w.r.URL.Path, err)
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, "too many files are open; try again soon"
	}
	return http.StatusInternalServerError, "this folder cannot be read"
}

func (w *davWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.mute {
		return len(p), nil
	}
	if w.op.shared {
		// The library knows no other; its whole answer is one Write.
		if _, err := w.ResponseWriter.Write(bytes.Replace(p, []byte("<D:exclusive/>"), []byte("<D:shared/>"), 1)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
