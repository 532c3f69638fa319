package originname

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// acePrefix begins an A-label (RFC 5890, 2.3.2.1).
const acePrefix = "xn--"

// dots are the characters that IDNA's mappings make a dot of: a label must not
// become two.
const dots = "\u3002\uff0e\uff61"

var errNotDot = errors.New(`it has a dot that is none: write "."`)

// Unicode returns the name as people write it, which is safe to be shown: what
// Parse has taken has no character that cannot be seen, and none that only looks
// like another's.
func (n Name) Unicode() string {
	if !strings.Contains(string(n), acePrefix) {
		return n.String()
	}
	u, err := idna.Lookup.ToUnicode(string(n))
	if err != nil {
		return string(n)
	}
	return u
}

// asciiLabel returns a label as Name has it.
func asciiLabel(s string) (string, error) {
	if isASCII(s) {
		if err := checkLDH(s); err != nil {
			return "", err
		}
		s = strings.ToLower(s)
		if !strings.HasPrefix(s, acePrefix) {
			return s, nil
		}
		// RFC 5891, 5.4: what is called an A-label has to be one.
		u, err := idna.Lookup.ToUnicode(s)
		if err == nil {
			err = checkUnicode(u)
		}
		if err != nil {
			return "", fmt.Errorf("%s is for internationalised names, and no good one begins so: %w", acePrefix, err)
		}
		if again, err := idna.Lookup.ToASCII(u); err != nil || again != s {
			return "", errors.New("its Punycode is not what its letters give")
		}
		return s, nil
	}
	switch {
	case len(s) > 4*maxLabel:
		return "", fmt.Errorf("1 to %d characters are wanted", maxLabel)
	case !utf8.ValidString(s):
		return "", errors.New("it is not UTF-8")
	case strings.ContainsAny(s, dots):
		return "", errNotDot
	}
	a, err := idna.Lookup.ToASCII(s)
	if err != nil {
		return "", err
	}
	u, err := idna.Lookup.ToUnicode(a)
	if err != nil {
		return "", err
	}
	// Case and normal form are all that may differ (RFC 5891, 5.2; RFC 5895, 2):
	// beyond them, what is seen would not be what is meant.
	seen, meant := strings.ToLower(norm.NFC.String(s)), strings.ToLower(u)
	if seen != meant || isASCII(u) {
		return "", fmt.Errorf("it has characters that stand for others, or for none: write %q, if that is meant", u)
	}
	if err := checkUnicode(u); err != nil {
		return "", err
	}
	if len(a) > maxLabel {
		return "", fmt.Errorf("it is more than %d characters long, as %s", maxLabel, acePrefix)
	}
	return a, nil
}

// checkHost says what is wrong with a host name whose labels are right: the rule
// for writing from right to left (RFC 5893, 2) is one of all labels together.
func checkHost(host string) error {
	if !strings.Contains(host, acePrefix) {
		return nil
	}
	_, err := idna.Lookup.ToUnicode(host)
	return err
}

// checkUnicode says what is wrong with a U-label beyond what idna has looked at:
// it must be of letters, marks and digits (RFC 5892, 2), which idna's tables do
// not ask, and not of scripts that are never written together, by which one name
// looks like another (UTS 39, 5.2, highly restrictive).
func checkUnicode(u string) error {
	var seen []string
	for _, r := range u {
		switch {
		case unicode.In(r, unicode.L, unicode.M, unicode.Nd), r == '-':
		case strings.ContainsRune("\u00b7\u0375\u05f3\u05f4\u30fb\u200c\u200d", r): // RFC 5892, A.1 to A.7: by context
		default:
			return fmt.Errorf("%U is no letter or digit", r)
		}
		if s := script(r); s != "" && !slices.Contains(seen, s) {
			seen = append(seen, s)
		}
	}
	if len(seen) < 2 {
		return nil
	}
	for _, together := range [][]string{{"Latin", "Han", "Hiragana", "Katakana"}, {"Latin", "Han", "Bopomofo"}, {"Latin", "Han", "Hangul"}} {
		if !slices.ContainsFunc(seen, func(s string) bool { return !slices.Contains(together, s) }) {
			return nil
		}
	}
	return fmt.Errorf("it mixes %s letters, so that it looks like another name", strings.Join(seen, " and "))
}

// script returns the script of r, "" for those that go with any.
func script(r rune) string {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			return "Latin"
		}
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			if name == "Common" || name == "Inherited" {
				return ""
			}
			return name
		}
	}
	return ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
