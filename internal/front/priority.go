package front

import (
	"strings"
)

// defaultPriority is that of a request without a Priority header (RFC 9218, 4.1).
const defaultPriority = 3

// parsePriority returns the urgency in a request's Priority header lines, 0 to
// 7. A header that is not a dictionary (RFC 9651, 3.2), and an urgency that is
// no integer of that range, count as absent.
func parsePriority(lines []string) uint8 {
	if len(lines) == 0 {
		return defaultPriority
	}
	p := sfParser{strings.Trim(strings.Join(lines, ","), " ")}
	urgency := uint8(defaultPriority)
	for p.s != "" {
		key, ok := p.key()
		if !ok {
			return defaultPriority
		}
		digit := -1
		if p.skip('=') {
			if p.s != "" && p.s[0] == '(' {
				ok = p.innerList()
			} else {
				var item string
				item, ok = p.bareItem()
				if len(item) == 1 && item[0] >= '0' && item[0] <= '7' {
					digit = int(item[0] - '0')
				}
			}
		}
		if !ok || !p.parameters() {
			return defaultPriority
		}
		if key == "u" { // the last one counts (RFC 9651, 3.2)
			urgency = defaultPriority
			if digit >= 0 {
				urgency = uint8(digit)
			}
		}
		p.space()
		if p.s == "" {
			break
		}
		if !p.skip(',') {
			return defaultPriority
		}
		p.space()
		if p.s == "" { // a final comma
			return defaultPriority
		}
	}
	return urgency
}

// sfParser reads structured fields (RFC 9651, 4.2). s is what is left.
type sfParser struct{ s string }

// space skips optional whitespace.
func (p *sfParser) space() { p.s = strings.TrimLeft(p.s, " \t") }

func (p *sfParser) skip(c byte) bool {
	if p.s == "" || p.s[0] != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

// take cuts off the longest start whose bytes are all in set.
func (p *sfParser) take(in func(c byte) bool) string {
	i := 0
	for i < len(p.s) && in(p.s[i]) {
		i++
	}
	t := p.s[:i]
	p.s = p.s[i:]
	return t
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (p *sfParser) key() (string, bool) {
	if p.s == "" || !isLower(p.s[0]) && p.s[0] != '*' {
		return "", false
	}
	return p.take(func(c byte) bool {
		return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}), true
}

func (p *sfParser) parameters() bool {
	for p.skip(';') {
		p.s = strings.TrimLeft(p.s, " ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.skip('=') {
			if _, ok := p.bareItem(); !ok {
				return false
			}
		}
	}
	return true
}

func (p *sfParser) innerList() bool {
	p.skip('(')
	for {
		p.s = strings.TrimLeft(p.s, " ")
		if p.skip(')') {
			return true
		}
		if _, ok := p.bareItem(); !ok || !p.parameters() {
			return false
		}
		if p.s == "" || p.s[0] != ' ' && p.s[0] != ')' {
			return false
		}
	}
}

// bareItem returns an item as it was written; for an integer, with its sign and
// without zeros before it, so that "7" is seven however it was written.
func (p *sfParser) bareItem() (string, bool) {
	if p.s == "" {
		return "", false
	}
	start := p.s
	switch c := p.s[0]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return start, p.quoted()
	case c == '*' || 'a' <= c|0x20 && c|0x20 <= 'z':
		p.take(func(c byte) bool { return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0 })
		return "token", true
	case c == ':':
		p.s = p.s[1:]
		p.take(func(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '=' })
		return "bytes", p.skip(':')
	case c == '?':
		p.s = p.s[1:]
		return "boolean", p.skip('0') || p.skip('1')
	case c == '@':
		p.s = p.s[1:]
		n, ok := p.number()
		return "date", ok && !strings.Contains(n, ".")
	case c == '%':
		p.s = p.s[1:]
		return "display string", p.quoted()
	}
	return "", false
}

// number reads an integer of at most 15 digits, or a decimal of at most 12 and
// 3 (RFC 9651, 4.2.4).
func (p *sfParser) number() (string, bool) {
	sign := ""
	if p.skip('-') {
		sign = "-"
	}
	whole := p.take(isDigit)
	if whole == "" {
		return "", false
	}
	if p.skip('.') {
		part := p.take(isDigit)
		return sign + whole + "." + part, len(whole) <= 12 && part != "" && len(part) <= 3
	}
	short := strings.TrimLeft(whole, "0")
	if short == "" {
		short, sign = "0", "" // -0 is 0
	}
	return sign + short, len(whole) <= 15
}

// quoted reads a string from its first quote to its last.
func (p *sfParser) quoted() bool {
	if !p.skip('"') {
		return false
	}
	for p.s != "" {
		c := p.s[0]
		p.s = p.s[1:]
		switch {
		case c == '"':
			return true
		case c == '\\':
			if !p.skip('"') && !p.skip('\\') {
				return false
			}
		case c < ' ' || c > '~':
			return false
		}
	}
	return false
}
