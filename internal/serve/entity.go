package serve

import (
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"
)

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
func entityOf(name string, f file, info fs.FileInfo, steady bool, now time.Time) entity {
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
	if whole(r) {
		e.sendAll(w, r, body, http.StatusOK)
	} else {
		e.sendPart(w, r, body)
	}
}

// sendPart answers with the part of body asked for, or tells that it has not changed.
func (e *entity) sendPart(w http.ResponseWriter, r *http.Request, body io.ReadSeeker) {
	set(w.Header(), "Content-Type", e.contentType, "Etag", e.tag, "Content-Encoding", e.coding, "Vary", e.vary, "Cache-Control", e.cacheControl)
	http.ServeContent(w, e.plain(r), "", e.changed, body)
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
