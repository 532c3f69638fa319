package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/amahi/spdy-proxy/internal/errno"
)

// errNotFound stands for whatever the visitor is told is not there: absent,
// outside the root, hidden, or not a file or folder.
var errNotFound = errors.New("no such file")

// wellKnown is the folder of what programs ask any host for (RFC 8615).
const wellKnown = ".well-known"

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
		if !d.visible(part) || os.PathSeparator != '/' && (strings.ContainsRune(part, os.PathSeparator) || isShortName(part)) {
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

// isShortName tells whether name has the form that Windows makes of a longer one
// as a second name of the same file: WELL-K~1 is .well-known there, GIT~1 is .git.
func isShortName(name string) bool {
	stem, ext, _ := strings.Cut(name, ".")
	head, number, ok := strings.Cut(stem, "~")
	return ok && head != "" && number != "" && strings.Trim(number, "0123456789") == "" && len(stem) <= 8 && len(ext) <= 3
}

// codes tells whether a file of that name is sent in the place of another, which
// lies beside it and has the name plain.
func codes(name string) (plain string, ok bool) {
	ext := path.Ext(name)
	plain = strings.TrimSuffix(name, ext)
	for _, e := range encodings {
		if strings.EqualFold(ext, e.extension) { // some file systems pass over case
			return plain, encodable(plain)
		}
	}
	return "", false
}

// visible tells whether a name in the root may be served. It judges names
// that a visitor gives: a link that the owner placed may lead to a dotfile.
// What is in wellKnown is there to be asked for.
func (d *folder) visible(name string) bool {
	if strings.HasPrefix(name, ".") && !d.dotfiles && name != wellKnown {
		return false
	}
	// An upload that is not whole yet is nobody's to read.
	return !strings.HasPrefix(name, partPrefix)
}

// changeable tells whether visitors may write what has the name part, or is in a
// folder that has it. What is in wellKnown speaks for the host: a CA gives a
// certificate for it to whoever places an answer there (RFC 8555, 8.3), and other
// programs ask there whom else they may trust.
func (d *folder) changeable(part string) bool {
	// Some file systems pass over what does not show, over the end, or over case.
	part = strings.TrimRight(shown(part), ". ")
	return !strings.HasPrefix(part, ".") || d.dotfiles && !strings.EqualFold(part, wellKnown)
}

// writable returns the name in the upload folder of what has the name served,
// and whether visitors may write it.
func (d *folder) writable(served string) (name string, ok bool) {
	if d.uploads == nil {
		return "", false
	}
	name, ok = d.uploads.inside(served)
	return name, ok && d.allChangeable(name)
}

// allChangeable tells whether each part of a name is changeable; "." is the root.
func (d *folder) allChangeable(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if !d.changeable(part) {
			return false
		}
	}
	return true
}

// speaksForHost tells whether u is a path in wellKnown.
func (d *folder) speaksForHost(u *url.URL) bool {
	name, _, err := d.localName(u)
	return err == nil && (name == wellKnown || strings.HasPrefix(name, wellKnown+"/"))
}

// open opens a regular file or a folder under the root. It never blocks.
func (d *folder) open(name string) (file, fs.FileInfo, error) {
	// Opening a device or FIFO can have effects of its own, so look first; and
	// look again at what was opened, because the name may stand for another by then.
	info, err := d.root.Stat(name)
	if err != nil {
		return file{}, nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return file{}, nil, errNotFound
	}
	f, info, err := d.root.open(name)
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		f.Close()
		return file{}, nil, errNotFound
	}
	return f, info, err
}

// status returns the status code that err of os stands for. What is not known
// better is not there: os.Root has no type for a name that leads out.
func status(err error) int {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errno.Is(err, syscall.EMFILE), errno.Is(err, syscall.ENFILE), errno.Is(err, syscall.ENOMEM):
		return http.StatusServiceUnavailable
	case errno.Is(err, syscall.EIO):
		return http.StatusInternalServerError
	}
	return http.StatusNotFound
}

// refuse answers a request whose file could not be had. The answer never
// holds a name of this machine.
func (d *folder) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := status(err)
	// What is hidden is not missing: it is nobody's business what is there.
	// What no file can be called is: an application's link may have a token in it.
	missing := errors.Is(err, fs.ErrNotExist) || errno.Is(err, syscall.ENOTDIR) || errno.Is(err, syscall.ENAMETOOLONG)
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
