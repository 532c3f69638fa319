package inspector

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// maxUnzipped is how much of a compressed body is shown, in bytes.
const maxUnzipped = 4 * maxBody

func newMessage(h http.Header, cut bool, body capture) message {
	m := message{Head: headText(h), HeadCut: cut, Bytes: body.bytes, Kept: len(body.begin)}
	text := body.begin
	if httpfield.Equal(h.Get("Content-Encoding"), "gzip") {
		if plain := unzip(text); len(plain) > 0 {
			text, m.Unzip = plain, true
		}
	}
	if isText(text) {
		m.Body = strings.ToValidUTF8(string(text), "�")
	} else {
		m.Binary = true
	}
	return m
}

// headText is a header as HTTP/1.1 writes it, but for the line ends.
func headText(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	return b.String()
}

// parseHead reads what headText writes.
func parseHead(text string) (http.Header, error) {
	h := make(http.Header)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(value, "\x00\r") {
			return nil, fmt.Errorf("%.60q is not a header's line: Name: value", line)
		}
		h.Add(name, value)
	}
	return h, nil
}

// unzip returns what the begin of a gzip stream holds, some of it at most.
func unzip(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(z, maxUnzipped)) // what there is before an error
	return plain
}

// isText reports whether b can be shown as it is; its end may be a part of a character.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' && r != 0x1b {
			return false
		}
		b = b[n:]
	}
	return true
}
