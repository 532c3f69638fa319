package nearest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	words := []string{"front", "control", "admin", "tls", "max-header-bytes", "token-file", "check", "config"}
	for written, want := range map[string]string{
		"fornt": "front", "fron": "front", "frount": "front", "frent": "front",
		"chekc": "check", "tokenfile": "token-file", "token_file": "token-file",
		"max-header": "max-header-bytes", "max-heder-byte": "max-header-bytes",
		"tsl": "tls", "conf": "config", "nonsense": "", "x": "", "": "", "fr": "",
	} {
		if got := word(written, words); got != want {
			t.Errorf("%q: got %q, want %q", written, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1},
		{"kitten", "sitting", 3}, {"ab", "ba", 1}, {"ca", "abc", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestHint(t *testing.T) {
	dashes := func(w string) string { return "--" + w }
	if got, want := Hint("fornt", []string{"front"}, dashes), "; did you mean --front?"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Hint(strings.Repeat("x", 1<<12), []string{"front"}, dashes); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}
