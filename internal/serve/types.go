package serve

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// types gives the content type of each known extension. It stands here, and
// not in the system's mime files, so that a file has one type on every machine.
var types = map[string]string{
	// Film and sound.
	".3gp": "video/3gpp", ".aac": "audio/aac", ".aif": "audio/aiff", ".aiff": "audio/aiff",
	".avi": "video/x-msvideo", ".flac": "audio/flac", ".flv": "video/x-flv", ".m2ts": "video/mp2t",
	".m3u": "audio/x-mpegurl", ".m3u8": "application/vnd.apple.mpegurl", ".m4a": "audio/mp4", ".m4b": "audio/mp4",
	".m4s": "video/iso.segment", ".m4v": "video/mp4", ".mid": "audio/midi", ".midi": "audio/midi",
	".mka": "audio/x-matroska", ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp3": "audio/mpeg",
	".mp4": "video/mp4", ".mpd": "application/dash+xml", ".mpeg": "video/mpeg", ".mpg": "video/mpeg",
	".oga": "audio/ogg", ".ogg": "audio/ogg", ".ogv": "video/ogg", ".opus": "audio/ogg",
	".srt": "application/x-subrip; charset=utf-8", ".ts": "video/mp2t", ".vtt": "text/vtt; charset=utf-8",
	".wav": "audio/wav", ".weba": "audio/webm", ".webm": "video/webm", ".wma": "audio/x-ms-wma", ".wmv": "video/x-ms-wmv",
	// Pictures.
	".apng": "image/apng", ".avif": "image/avif", ".bmp": "image/bmp", ".gif": "image/gif", ".heic": "image/heic",
	".heif": "image/heif", ".ico": "image/x-icon", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".jxl": "image/jxl",
	".png": "image/png", ".svg": "image/svg+xml", ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
	// Text and the web.
	".atom": "application/atom+xml", ".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8",
	".htm": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8", ".ics": "text/calendar; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".jsonl": "application/jsonl",
	".log": "text/plain; charset=utf-8", ".map": "application/json", ".md": "text/markdown; charset=utf-8",
	".mjs": "text/javascript; charset=utf-8", ".rss": "application/rss+xml", ".rtf": "application/rtf",
	".txt": "text/plain; charset=utf-8", ".vcf": "text/vcard; charset=utf-8", ".wasm": "application/wasm",
	".webmanifest": "application/manifest+json", ".xhtml": "application/xhtml+xml", ".xml": "text/xml; charset=utf-8",
	".yaml": "application/yaml", ".yml": "application/yaml",
	// Fonts.
	".otf": "font/otf", ".ttf": "font/ttf", ".woff": "font/woff", ".woff2": "font/woff2",
	// Documents.
	".doc":  "application/msword",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".epub": "application/epub+zip",
	".mobi": "application/x-mobipocket-ebook",
	".odp":  "application/vnd.oasis.opendocument.presentation",
	".ods":  "application/vnd.oasis.opendocument.spreadsheet",
	".odt":  "application/vnd.oasis.opendocument.text",
	".pdf":  "application/pdf",
	".ppt":  "application/vnd.ms-powerpoint",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".xls":  "application/vnd.ms-excel",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	// Archives and programs.
	".7z": "application/x-7z-compressed", ".apk": "application/vnd.android.package-archive",
	".bz2": "application/x-bzip2", ".deb": "application/vnd.debian.binary-package", ".gz": "application/gzip",
	".iso": "application/x-iso9660-image", ".jar": "application/java-archive", ".rar": "application/vnd.rar",
	".tar": "application/x-tar", ".tgz": "application/gzip", ".torrent": "application/x-bittorrent",
	".xz": "application/x-xz", ".zip": "application/zip", ".zst": "application/zstd",
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
func contentType(f *os.File, name string) string {
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
