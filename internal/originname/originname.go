// Package originname is what an origin is called: on the control port, in a token
// file, in a Host header, on the admin port and in logs.
package originname

import (
	"fmt"
	"strings"
)

// maxLabel is the length of a DNS label in bytes (RFC 1035, 2.3.4).
const maxLabel = 63

// Default is how people write the default origin, which has no name.
const Default = "@"

// Name is the name of an origin as [Parse] returns it: a DNS label in lower case.
// The zero value is the default origin.
type Name string

// String returns the name, and Default for the default origin.
func (n Name) String() string {
	if n == "" {
		return Default
	}
	return string(n)
}

// Parse reads what a person wrote: a label as ParseLabel takes it, or "" or Default
// for the default origin.
func Parse(s string) (Name, error) {
	if s == "" || s == Default {
		return "", nil
	}
	return ParseLabel(s)
}

// ParseLabel reads a DNS label of 1 to 63 of a-z, 0-9 and inner hyphens, in any
// case. Its error is one line.
func ParseLabel(s string) (Name, error) {
	if s == "" || len(s) > maxLabel {
		return "", fmt.Errorf("%.70q is not a name: 1 to %d characters are wanted", s, maxLabel)
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
