package serve

import (
	"net/http"
	"path"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// encodings are the codings that a file may lie beside itself in, the one that
// is preferred among equals first (RFC 9110, 8.4.1; RFC 7932; RFC 8878).
var encodings = []struct{ coding, extension string }{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// encodable tells whether a file of that name is one that people lay beside
// itself compressed: the text and code of web pages, and no archive or film.
func encodable(name string) bool {
	kind, _, _ := strings.Cut(types[strings.ToLower(path.Ext(name))], ";")
	switch {
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "+xml"), strings.HasSuffix(kind, "+json"):
		return true
	}
	switch kind {
	case "application/json", "application/wasm", "application/xml", "font/ttf", "font/otf":
		return true
	}
	return false
}

// sendEncoded answers with a coding of the file of that name which lies beside
// it and which the visitor prefers, and tells whether it did. One that is older
// than the file is of another content.
//
// A Range header is about the coding that the visitor had (RFC 9110, 14.2).
// Only If-Range tells which that was: its tag, then, must be that coding's.
func (d *folder) sendEncoded(w http.ResponseWriter, r *http.Request, name string) bool {
	accept := r.Header["Accept-Encoding"]
	if accept == nil || !encodable(name) {
		return false
	}
	weights := make(map[string]float64)
	for coding, weight := range httpfield.Weighted(accept) {
		weights[coding] = weight
	}
	weight := func(coding string) float64 {
		if q, ok := weights[coding]; ok {
			return q
		}
		return weights["*"]
	}
	// Without a word on it, the file as it is may be sent, but is asked for least.
	least, named := weights["identity"]
	best := -1
	for i, e := range encodings {
		if q := weight(e.coding); q > 0 && (!named || q >= least) && (best < 0 || q > weight(encodings[best].coding)) && d.hasSibling(name, e.extension) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	f, info, err := d.open(name + encodings[best].extension)
	if err != nil {
		return false
	}
	defer f.Close()
	if r.Header["Range"] != nil && (len(r.Header["If-Range"]) != 1 || r.Header["If-Range"][0] != etag(info)) {
		return false
	}
	d.sendFileAs(w, r, name, encodings[best].coding, f, info)
	return true
}

// hasSibling tells whether the file of that name, which may be served, has one
// with that extension beside it that is not older.
func (d *folder) hasSibling(name, extension string) bool {
	coded, err := d.root.Stat(name + extension)
	if err != nil || !coded.Mode().IsRegular() {
		return false
	}
	plain, err := d.root.Stat(name)
	return err == nil && plain.Mode().IsRegular() && !coded.ModTime().Before(plain.ModTime())
}
