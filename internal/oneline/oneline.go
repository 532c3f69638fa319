// Package oneline makes text that came from outside fit for one line of a log or
// a terminal: it neither ends the line nor steers who reads it. Control
// characters do that (C1 as well, U+0080 to U+009F, which many terminals heed as
// they heed escape), line and paragraph separators, and marks that turn the
// direction of writing, so that one text looks like another.
package oneline

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unsafe reports whether r has no place in a line that a person reads. A byte
// that is not UTF-8 comes as [utf8.RuneError], which is safe.
func Unsafe(r rune) bool {
	switch {
	case r < 0x80:
		return r < ' ' || r == 0x7f
	case r < 0xa0, r == '\u2028', r == '\u2029':
		return true
	}
	return unicode.Is(unicode.Bidi_Control, r)
}

// Clean returns s without white space at its ends, and with a space for each
// rune that is [Unsafe].
func Clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if Unsafe(r) {
			return ' '
		}
		return r
	}, s))
}

// Count writes how many there are of what is called so, and with an s where it is not
// one: "1 token", "2 tokens". n is an integer of any type.
func Count(n any, what string) string {
	number := fmt.Sprint(n)
	if number != "1" {
		what += "s"
	}
	return number + " " + what
}

// Append appends s to b with \uXXXX for each rune that is [Unsafe]. In JSON that
// is the same text: it can only be within a string there.
func Append[T []byte | string](b []byte, s T) []byte {
	from := 0 // what is before it was appended
	for i := 0; i < len(s); {
		if ' ' <= s[i] && s[i] < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		switch {
		case Unsafe(r):
			b = fmt.Appendf(append(b, s[from:i]...), `\u%04x`, r)
			from = i + size
		case r == utf8.RuneError && size == 1:
			b = utf8.AppendRune(append(b, s[from:i]...), r)
			from = i + size
		}
		i += size
	}
	return append(b, s[from:]...)
}
