package serve

import (
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"strings"
)

// prepare checks what cfg says of files and makes d of it.
func (d *folder) prepare(cfg Config) error {
	if strings.ContainsFunc(cfg.CacheControl, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("--cache-control %q: give a header's value, such as max-age=3600", cfg.CacheControl)
	}
	d.cors, d.cacheControl = cfg.CORS, cfg.CacheControl
	if cfg.Fallback == "" {
		return nil
	}
	name := path.Clean(filepath.ToSlash(cfg.Fallback))
	if !filepath.IsLocal(name) {
		return fmt.Errorf("--fallback %q: name a file in the folder, such as index.html", cfg.Fallback)
	}
	info, err := d.root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("--fallback %q: there is no such file in %q; name one that is in it", cfg.Fallback, cfg.Root)
	}
	d.fallback, d.fallbackStatus = name, http.StatusOK
	if path.Base(name) == "404.html" {
		d.fallbackStatus = http.StatusNotFound
	}
	return nil
}

// allowOrigins says in h that pages of any site may read what is here (Fetch
// standard, 3.3). It allows no more than reading: what a page of another site may
// not do with a visitor's rights, it may not do here either.
func allowOrigins(h http.Header, preflight bool) {
	h.Set("Access-Control-Allow-Origin", "*")
	if !preflight {
		h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Range, ETag, Last-Modified")
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Cache-Control, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range")
	h.Set("Access-Control-Max-Age", "86400")
}

// sendFallback answers a request for what is not there, if there is a file for
// that, and tells whether it did.
func (d *folder) sendFallback(w http.ResponseWriter, r *http.Request) bool {
	if d.fallback == "" {
		return false
	}
	if d.fallbackStatus == http.StatusOK {
		if d.speaksForHost(r.URL) {
			return false // or this file, which may be an upload, were the answer to all that is asked there
		}
		if d.sendSmall(w, r, d.fallback) {
			return true
		}
		f, info, err := d.open(d.fallback)
		if err != nil {
			return false
		}
		defer f.Close()
		d.sendFile(w, r, d.fallback, f, info)
		return true
	}
	f, info, err := d.open(d.fallback)
	if err != nil || info.IsDir() {
		return false
	}
	defer f.Close()
	// The page belongs to the answer, not to what was asked for: it has neither
	// tag nor time, and no part of it can be asked for.
	e := entity{contentType: contentType(f, d.fallback), size: info.Size()}
	e.sendAll(w, r, &steadyFile{file: f, was: stampOf(info)}, d.fallbackStatus)
	return true
}
