// Package originname is what an origin is called: on the control port, in a token
// file, in a Host header, on the admin port and in logs. It also knows under which
// hosts a name is reached, by the domains that P has.
package originname

import (
	"errors"
	"fmt"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

const (
	// maxLabel is the length of a DNS label in bytes (RFC 1035, 2.3.4).
	maxLabel = 63
	// maxHost is that of a host name, without the final dot (RFC 1035, 3.1).
	maxHost = 253
)

// Default is how people write the default origin, which has no name.
const Default = "@"

// Name is the name of an origin as [Parse] returns it: a DNS label or a full host
// name, in lower case, with A-labels (RFC 5890, 2.3.2.1) for what is not ASCII.
// The zero value is the default origin.
type Name string

// String returns the name, and Default for the default origin.
func (n Name) String() string {
	if n == "" {
		return Default
	}
	return string(n)
}

// Host reports whether the name is a full host name, not a label.
func (n Name) Host() bool { return strings.Contains(string(n), ".") }

// Parse reads what a person wrote: "" or Default for the default origin, or what
// ParseNamed takes.
func Parse(s string) (Name, error) {
	if s == "" || s == Default {
		return "", nil
	}
	return ParseNamed(s)
}

// ParseNamed reads a label as ParseLabel takes it, or a full host name as parseHost
// does: what has a dot.
func ParseNamed(s string) (Name, error) {
	if strings.Contains(s, ".") {
		return parseHost(s)
	}
	return ParseLabel(s)
}

// ParseLabel reads a DNS label of 1 to 63 of a-z, 0-9 and inner hyphens, in any
// case, or an internationalised one (RFC 5891), as an A-label or as people write
// it. Its error is one line.
func ParseLabel(s string) (Name, error) {
	label, err := asciiLabel(s)
	if err != nil {
		return "", fmt.Errorf("%.70q is not a name: %w", s, err)
	}
	return Name(label), nil
}

// parseHost reads a full host name: two labels or more, 253 bytes at most. Its
// error is one line.
func parseHost(s string) (Name, error) {
	host, err := asciiHost(s)
	if err == nil && !strings.Contains(host, ".") {
		err = errors.New("a host name has a dot within")
	}
	if err != nil {
		return "", fmt.Errorf("%.270q is not a host name: %w", s, err)
	}
	return Name(host), nil
}

// IsLabel reports whether s is a label in the form of a Name. An A-label may be one
// that Parse would not take: nobody can register that.
func IsLabel(s string) bool { return checkLDH(s) == nil && strings.ToLower(s) == s }

// asciiHost returns a host name of one label or more as Name has it.
func asciiHost(s string) (string, error) {
	if len(s) > 4*maxHost {
		return "", fmt.Errorf("it has more than %d bytes", maxHost)
	}
	if strings.ContainsAny(s, dots) {
		return "", errNotDot
	}
	labels := strings.Split(s, ".")
	for i, l := range labels {
		if l == "" {
			return "", errors.New("it has a dot too many")
		}
		var err error
		if labels[i], err = asciiLabel(l); err != nil {
			return "", err
		}
	}
	host := strings.Join(labels, ".")
	if len(host) > maxHost {
		return "", fmt.Errorf("it has more than %d bytes", maxHost)
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", errors.New("it is an address") // RFC 3696, 2: no top-level domain is all digits
	}
	return host, checkHost(host)
}

// checkLDH says what is wrong with a label of letters, digits and hyphens.
func checkLDH(s string) error {
	if s == "" || len(s) > maxLabel {
		return fmt.Errorf("1 to %d characters are wanted", maxLabel)
	}
	if s[0] == '-' || s[len(s)-1] == '-' {
		return errors.New("it begins or ends with a hyphen")
	}
	for i := range len(s) {
		if c := s[i]; !httpfield.IsAlnum(c) && c != '-' {
			return errors.New("only letters, digits and inner hyphens are")
		}
	}
	return nil
}
