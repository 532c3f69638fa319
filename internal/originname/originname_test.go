package originname

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for in, want := range map[string]Name{
		"films": "films", "FiLmS-2": "films-2", "A-1": "a-1", "7": "7", "0": "0", "a": "a", "xn--bcher-kva": "xn--bcher-kva", long: Name(long),
	} {
		for what, parse := range map[string]func(string) (Name, error){"Parse": Parse, "ParseLabel": ParseLabel} {
			if got, err := parse(in); err != nil || got != want {
				t.Errorf("%s(%q) = %q, %v; want %q", what, in, got, err, want)
			}
		}
	}
	for _, in := range []string{
		"-", "-a", "a-", "a.b", "a_b", "a b", "ä", "\u212a", "a\x00", "a\n", "*", "@a", "@@", long + "a",
	} {
		for what, parse := range map[string]func(string) (Name, error){"Parse": Parse, "ParseLabel": ParseLabel} {
			if got, err := parse(in); err == nil {
				t.Errorf("%s(%q) = %q, want an error", what, in, got)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("%s(%q): %q is not one line", what, in, err)
			}
		}
	}
}

func TestDefault(t *testing.T) {
	for _, in := range []string{"", "@"} {
		if got, err := Parse(in); err != nil || got != "" {
			t.Errorf("Parse(%q) = %q, %v; want the default origin", in, got, err)
		}
		if got, err := ParseLabel(in); err == nil {
			t.Errorf("ParseLabel(%q) = %q, want an error", in, got)
		}
	}
	if got := Name("").String(); got != "@" {
		t.Errorf("the default origin is %q, want @", got)
	}
	if got := Name("films").String(); got != "films" {
		t.Errorf("films is %q", got)
	}
}
