package serve

import (
	"net/http"
	"path/filepath"
	"strings"
)

//go:generate go run types_gen.go package/db.json

// ownTypes says, in the form of knownTypes, what knownTypes does not know or
// players and browsers want otherwise. Most are the names that freedesktop's
// shared-mime-info has for them.
const ownTypes = `application/epub+zip epub
application/gzip gz tgz
application/jsonl jsonl ndjson
application/octet-stream sub
application/rtf rtf
application/vnd.amazon.mobi8-ebook azw3
application/vnd.comicbook+zip cbz
application/vnd.comicbook-rar cbr
application/vnd.debian.binary-package deb udeb
application/x-fictionbook+xml fb2
application/x-iso9660-image iso
application/x-subrip srt
application/x-xz xz txz
application/yaml yaml yml
application/zstd zst
audio/aiff aif aiff
audio/flac flac
audio/mpeg mp3
audio/mp4 m4a m4b
audio/x-ape ape
audio/x-dff dff
audio/x-dsf dsf
audio/x-matroska mka
audio/x-musepack mpc
audio/x-scpls pls
audio/x-tta tta
audio/x-wavpack wv
image/x-canon-cr2 cr2
image/x-canon-cr3 cr3
image/x-fuji-raf raf
image/x-icon ico
image/x-nikon-nef nef
image/x-olympus-orf orf
image/x-panasonic-rw2 rw2
image/x-sony-arw arw
text/javascript cjs
text/vcard vcf
text/x-ssa ass ssa
video/mp4 mp4 m4v
video/x-matroska mkv
video/x-msvideo avi
`

// types gives the content type of each known extension. It stands here, and
// not in the system's mime files, so that a file has one type on every machine.
var types = readTypes(knownTypes, ownTypes)

// readTypes reads tables of a line a type; the later ones win.
func readTypes(tables ...string) map[string]string {
	m := make(map[string]string, 1500)
	for _, table := range tables {
		for line := range strings.Lines(table) {
			name, extensions, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			name = withCharset(name)
			for ext := range strings.SplitSeq(extensions, " ") {
				m["."+ext] = name
			}
		}
	}
	return m
}

// withCharset adds the charset that text has these days, but for documents
// that tell theirs themselves: it would overrule them.
func withCharset(name string) string {
	switch {
	case name == "text/html", name == "text/xml", strings.HasSuffix(name, "+xml"):
		return name
	case strings.HasPrefix(name, "text/"), name == "application/x-subrip":
		return name + "; charset=utf-8"
	}
	return name
}

// inert lists the extensions that the name of an upload keeps: of types that a
// browser shows or saves, and never runs.
var inert = map[string]bool{
	".3gp": true, ".7z": true, ".aac": true, ".avi": true, ".avif": true, ".bmp": true, ".csv": true, ".docx": true,
	".epub": true, ".flac": true, ".gif": true, ".gz": true, ".heic": true, ".jpeg": true, ".jpg": true, ".json": true,
	".log": true, ".m4a": true, ".m4v": true, ".mkv": true, ".mov": true, ".mp3": true, ".mp4": true, ".mpeg": true,
	".mpg": true, ".odp": true, ".ods": true, ".odt": true, ".oga": true, ".ogg": true, ".ogv": true, ".opus": true,
	".pdf": true, ".png": true, ".pptx": true, ".srt": true, ".tar": true, ".tgz": true, ".tif": true, ".tiff": true,
	".txt": true, ".vtt": true, ".wav": true, ".webm": true, ".webp": true, ".xlsx": true, ".xz": true, ".zip": true,
	".zst": true,
}

// contentType tells the type of f by its name's extension. Without a known
// one the first bytes decide, but only between text and anything else: no
// content can make itself a page that a browser runs.
func contentType(f file, name string) string {
	if t, ok := types[strings.ToLower(filepath.Ext(name))]; ok {
		return t
	}
	var head [512]byte
	n, _ := f.ReadAt(head[:], 0)
	if t := http.DetectContentType(head[:n]); strings.HasPrefix(t, "text/") {
		_, charset, ok := strings.Cut(t, "; ")
		if !ok {
			charset = "charset=utf-8"
		}
		return "text/plain; " + charset
	}
	return "application/octet-stream"
}
