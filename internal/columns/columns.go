// Package columns sets text for a terminal.
package columns

import (
	"strings"
	"unicode/utf8"
)

const (
	// Width is how many columns a line has at most.
	Width = 80
	// Space is one at which no line ends; Wrap makes an ordinary one of it.
	Space = "\u00a0"
)

// Wrap returns text in lines of at most Width columns, each after an indent of so many;
// a word that is longer has a line of its own.
func Wrap(text string, indent int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' }) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+n > Width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(strings.ReplaceAll(word, Space, " "))
		column += n
	}
	if column > 0 {
		b.WriteString("\n")
	}
	return b.String()
}
