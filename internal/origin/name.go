package origin

import (
	"fmt"
	"strings"
)

// maxName is the length of a DNS label in bytes (RFC 1035, 2.3.4).
const maxName = 63

// Name is the name of an origin as [ParseName] returns it: a DNS label in lower
// case. The zero value is the default origin.
type Name string

// String returns the name, and "@" for the default origin.
func (n Name) String() string {
	if n == "" {
		return "@"
	}
	return string(n)
}

// ParseName reads a name: a DNS label of 1 to 63 of a-z, 0-9 and inner hyphens,
// in any case. "" and "@" are the default origin.
func ParseName(s string) (Name, error) {
	if s == "" || s == "@" {
		return "", nil
	}
	if len(s) > maxName {
		return "", fmt.Errorf("%.70q is not a name: at most %d characters are allowed", s, maxName)
	}
	if s[0] == '-' || s[len(s)-1] == '-' {
		return "", fmt.Errorf("%q is not a name: it begins or ends with a hyphen", s)
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return "", fmt.Errorf("%q is not a name: only letters a-z, digits and inner hyphens are", s)
		}
	}
	return Name(strings.ToLower(s)), nil
}
