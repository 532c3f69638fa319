// Package nearest finds the word that somebody meant who wrote another one.
package nearest

import "strings"

// minPrefix is how many letters of a word are enough to mean it.
const minPrefix = 3

// word returns the one of words that written was most likely meant to be: the
// first of those that differ from it in the fewest letters, at most a third of its
// own, else the first that it is the beginning of. "" if there is none.
func word(written string, words []string) string {
	best, least := "", max(1, len(written)/3)+1
	for _, w := range words {
		if d := distance(written, w); d < least {
			best, least = w, d
		}
	}
	if best != "" || len(written) < minPrefix {
		return best
	}
	for _, w := range words {
		if strings.HasPrefix(w, written) {
			return w
		}
	}
	return ""
}

// Hint is what an error says of [word]: "; did you mean WORD?", as format writes
// the word. "" if there is none.
func Hint(written string, words []string, format func(word string) string) string {
	w := word(written, words)
	if w == "" {
		return ""
	}
	return "; did you mean " + format(w) + "?"
}

// distance is how many letters are to be put in, left out, replaced, or swapped
// with their neighbour to make b of a (the optimal string alignment distance).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			replace := row[j]
			if a[i] != b[j] {
				replace++
			}
			next[j+1] = min(replace, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
