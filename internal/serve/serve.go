// Package serve is what C answers with: the files of one folder, the bodies
// that visitors leave in another, or a local web service.
//
// It is plain net/http. The [http.ResponseWriter] may be any that net/http's
// own handlers could use; a WebSocket to a local service needs one on which
// WriteHeader(101) turns the request's body and the writer into the two raw
// directions, as the SPDY engine's does.
package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// DefaultUploadMax is the largest body kept when [Config.UploadMax] is 0.
const DefaultUploadMax = 1 << 30

// A Config says what to serve. Exactly one of Root and To is set.
type Config struct {
	// Root is the folder to serve. Nothing outside it is ever served.
	Root string

	// To is the address of the web service to serve instead of a folder:
	// http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH of a socket.
	To string

	// ToHost is the Host header that the service gets, HOST[:PORT], and, if it is
	// https, the name that its certificate must bear; "-": that of To. Empty: the
	// visitor's Host, and the name in To. ToCA is a file with the CA, in PEM, of an
	// https service's certificate, or with that. Empty: the system's roots. They go
	// with To only.
	ToHost string
	ToCA   string

	// Upload is the folder in which the bodies of POST and PUT are kept.
	// Empty: they are read and forgotten. It goes with Root only.
	Upload string

	// UploadMax is the size in bytes above which a body is refused.
	// 0: DefaultUploadMax. Negative: an error of New.
	UploadMax int64

	// Dotfiles also serves names that begin with a dot. It goes with Root only.
	Dotfiles bool

	// NoListing answers 404 for a folder without an index.html.
	// It goes with Root only.
	NoListing bool

	// DAV also serves the folder by WebDAV: for reading, and for writing what of
	// it is in Upload. It goes with Root only.
	DAV bool

	// FollowLinks also serves what links lead to outside Root, be it anything
	// that this process may read. It goes with Root only.
	FollowLinks bool

	// CORS lets pages of any site read what is here. It goes with Root only.
	CORS bool

	// CacheControl is the value of that header on files. Empty: none.
	// It goes with Root only.
	CacheControl string

	// Fallback is the file in Root that answers for what is not there: with 404
	// if its name is 404.html, else with 200, for a single-page application.
	// Empty: none. It goes with Root only.
	Fallback string

	// Places are those of calls about files, from NewPlaces for all handlers of a process,
	// or they may hold too many threads together. nil: it is the only one.
	Places *Places

	// Logger takes what the person who runs C should know: a service that
	// does not answer, an upload that failed. nil: nothing is logged.
	Logger *slog.Logger
}

// A Handler serves what its Config says. It may be used by any number of
// goroutines at once.
type Handler struct {
	serve http.Handler
	close []func() error
}

// New checks cfg and opens what it names, so that a mistake is found at start
// and not by the first visitor. Its errors are one line, and say what to do.
func New(cfg Config) (*Handler, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Root == "" && cfg.To == "":
		return nil, errors.New("nothing to serve: give a folder (--root) or a web service (--to)")
	case cfg.Root != "" && cfg.To != "":
		return nil, errors.New("--root and --to exclude each other: give one of them")
	case cfg.To != "" && cfg.Upload != "":
		return nil, errors.New("--upload does not go with --to: the service gets the bodies; leave one of them out")
	case cfg.To != "" && len(cfg.ofFolder()) > 0:
		return nil, fmt.Errorf("what is about a folder does not go with --to %s: leave out %s", cfg.To, strings.Join(cfg.ofFolder(), ", "))
	case cfg.To == "" && (cfg.ToHost != "" || cfg.ToCA != ""):
		return nil, errors.New("--to-host and --to-ca go with --to: they are about a web service; leave them out")
	case cfg.DAV && cfg.NoListing:
		return nil, errors.New("--dav and --no-listing exclude each other: WebDAV lists folders; leave one of them out")
	case cfg.UploadMax < 0:
		return nil, fmt.Errorf("--upload-max %d: give a number of bytes above 0", cfg.UploadMax)
	}
	if cfg.UploadMax == 0 {
		cfg.UploadMax = DefaultUploadMax
	}
	if cfg.Places == nil {
		cfg.Places = NewPlaces(1)[0]
	}
	h := new(Handler)
	limit := loglimit.New(cfg.Logger, 1)
	h.close = append(h.close, func() error { limit.Close(); return nil })
	if cfg.To != "" {
		s, err := newService(cfg, limit)
		if err != nil {
			return nil, err
		}
		h.serve, h.close = s, append(h.close, s.Close)
		return h, nil
	}
	root, err := openFolder("--root", cfg.Root)
	if err != nil {
		return nil, err
	}
	h.close = append(h.close, root.Close)
	d := &folder{
		root: newTree(root, cfg.Root, cfg.FollowLinks, cfg.Logger, cfg.Places.root), dotfiles: cfg.Dotfiles, noListing: cfg.NoListing,
		log: cfg.Logger, limit: limit, now: time.Now,
	}
	if cfg.DAV {
		d.dav = newDAV(d)
	}
	h.serve = d
	if err := d.prepare(cfg); err != nil {
		h.Close()
		return nil, err
	}
	if cfg.Upload == "" {
		return h, nil
	}
	dir, err := openFolder("--upload", cfg.Upload)
	if err != nil {
		h.Close()
		return nil, err
	}
	h.close = append(h.close, dir.Close)
	at := nameUnder(cfg.Root, cfg.Upload, d.visible)
	if !d.allChangeable(at) {
		h.Close()
		return nil, fmt.Errorf("--upload %q: what is in %s speaks for the whole host; name another folder", cfg.Upload, wellKnown)
	}
	d.uploads, err = newUploads(uploadRoot{dir, cfg.Places.upload}, cfg.UploadMax, at, cfg.Logger, limit)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("--upload %q: no file can be made there (%w); change its mode or owner, or name another folder", cfg.Upload, reason(err))
	}
	h.close = append(h.close, d.uploads.Close)
	return h, nil
}

// seenHost returns the host that the visitor sees: not r's, where a proxy that P
// trusts is between.
func seenHost(r *http.Request) string {
	return cmp.Or(r.Header.Get("X-Forwarded-Host"), r.Host)
}

// ofFolder returns the flags that are given and are about a folder to read.
func (cfg *Config) ofFolder() (flags []string) {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--dotfiles", cfg.Dotfiles}, {"--no-listing", cfg.NoListing}, {"--follow-links", cfg.FollowLinks}, {"--dav", cfg.DAV},
		{"--cors", cfg.CORS}, {"--cache-control", cfg.CacheControl != ""}, {"--fallback", cfg.Fallback != ""},
	} {
		if f.given {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// noDescriptors tells that a request for what was refused because no more files
// can be opened: of many such there is a line a minute.
func noDescriptors(limit *loglimit.Logger, what string, err error) {
	limit.Log("descriptors", slog.LevelWarn, "requests were refused: no more files can be opened; allow more (ulimit -n)",
		slog.String("request", what), slog.Any("error", err))
}

// reason is err without the names that os puts around it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve.ServeHTTP(w, r) }

// Reload reads again what a service's certificate is verified against, for the
// connections to come. After an error, of one line, what was read before stays.
func (h *Handler) Reload() error {
	if s, ok := h.serve.(*service); ok {
		return s.loadCA()
	}
	return nil
}

// Close gives back what New opened. Requests that still run may fail.
func (h *Handler) Close() error {
	var errs []error
	for _, c := range h.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// openFolder opens dir as a jail: what is opened through the result stays
// inside dir, whatever the names and links say.
func openFolder(flag, dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	isFile := err == nil && !info.IsDir()
	var root *os.Root
	if err == nil && !isFile {
		root, err = os.OpenRoot(dir)
	}
	switch {
	case err == nil && !isFile:
		return root, nil
	case errors.Is(err, fs.ErrNotExist):
		create := "create it"
		if filepath.Clean(dir) == "testdata" {
			create = "create it (in a checkout, make fills it)"
		}
		return nil, fmt.Errorf("%s %q: there is no such folder; %s, or name another", flag, dir, create)
	case isFile, errno.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%s %q: not a folder; name the folder that holds it", flag, dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s %q: no permission to open it; change its mode, or that of a folder above it, or run as its owner", flag, dir)
	}
	return nil, fmt.Errorf("%s %q: %w", flag, dir, reason(err))
}
