package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// Limits of a head beside those of Server.
const (
	// maxEmptyLines may come before a request (RFC 9112, 2.2).
	maxEmptyLines = 8

	// maxMethod is the longest method in bytes; what is longer is 501 (RFC 9112, 3).
	maxMethod = 64
)

// refusal is why bytes are no request that is served.
type refusal struct {
	status int
	detail string // in words of our own: nothing of what the client sent
}

func bad(detail string) *refusal { return &refusal{http.StatusBadRequest, detail} }

// limits are of one head, or of a trailer section.
type limits struct{ bytes, lines int }

// span is a part of what is parsed, from its begin.
type span struct{ from, to int }

func (s span) of(text string) string { return text[s.from:s.to] }

type field struct{ name, value span }

// parser reads a head as it comes (RFC 9112, 2 to 5), line by line. Each line ends
// in CRLF: a LF alone is refused, because some take it for a line's end and some
// do not. It remembers where things are, not what they are: the bytes are the
// caller's, who gives the same ones again and more of them.
type parser struct {
	pos     int // where the next line begins
	scanned int // up to where there is no LF, from pos
	trailer bool
	lined   bool // the request line was read, or there is none
	method  span
	target  span
	minor   int // of the version
	fields  []field
}

func (p *parser) reset(trailer bool) {
	clear(p.fields)
	*p = parser{trailer: trailer, lined: trailer, fields: p.fields[:0]}
}

// parse reads on in b. It reports whether the empty line that ends the head was
// there, at p.pos then. It writes names into b as http.Header has them.
func (p *parser) parse(b []byte, max limits) (done bool, why *refusal) {
	for {
		i := bytes.IndexByte(b[p.scanned:], '\n')
		if i < 0 {
			p.scanned = len(b)
			if len(b) > max.bytes {
				return false, p.tooLarge()
			}
			return false, nil
		}
		end := p.scanned + i
		line := span{p.pos, end - 1}
		if end == p.pos || b[end-1] != '\r' {
			return false, bad("a line does not end in CRLF")
		}
		p.pos, p.scanned = end+1, end+1
		switch {
		case p.pos > max.bytes:
			return false, p.tooLarge()
		case !p.lined:
			if why := p.requestLine(b, line); why != nil {
				return false, why
			}
			p.lined = true
		case line.from == line.to:
			return true, nil
		case len(p.fields) == max.lines:
			return false, &refusal{http.StatusRequestHeaderFieldsTooLarge, "the head has too many lines"}
		default:
			if why := p.fieldLine(b, line); why != nil {
				return false, why
			}
		}
	}
}

func (p *parser) tooLarge() *refusal {
	if !p.lined {
		return &refusal{http.StatusRequestURITooLong, "the request line is too long"}
	}
	return &refusal{http.StatusRequestHeaderFieldsTooLarge, "the head is too large"}
}

// requestLine: method SP request-target SP HTTP-version, with one space each
// (RFC 9112, 3).
func (p *parser) requestLine(b []byte, line span) *refusal {
	text := b[line.from:line.to]
	i := bytes.IndexByte(text, ' ')
	if i < 0 || !isToken(text[:i]) {
		return bad("the request line has no method")
	}
	if i > maxMethod {
		return &refusal{http.StatusNotImplemented, "the method is not known"}
	}
	n := bytes.IndexByte(text[i+1:], ' ')
	if n <= 0 {
		return bad("the request line is not whole")
	}
	p.method = span{line.from, line.from + i}
	p.target = span{p.method.to + 1, p.method.to + 1 + n}
	for _, c := range b[p.target.from:p.target.to] {
		if !isTarget[c] {
			return bad("the target is not valid")
		}
	}
	v := b[p.target.to+1 : line.to]
	if len(v) != 8 || string(v[:5]) != "HTTP/" || !isDigit(v[5]) || v[6] != '.' || !isDigit(v[7]) {
		return bad("the version is not valid")
	}
	if v[5] != '1' {
		return &refusal{http.StatusHTTPVersionNotSupported, "this version of HTTP is not served here"}
	}
	// A higher minor version is as good as the highest known (RFC 9110, 2.5).
	p.minor = min(int(v[7]-'0'), 1)
	return nil
}

// fieldLine: field-name ":" OWS field-value OWS. Whitespace before the colon, or a
// line that goes on with the one before, is refused (RFC 9112, 5.1 and 5.2), and
// so is any control character.
func (p *parser) fieldLine(b []byte, line span) *refusal {
	colon := bytes.IndexByte(b[line.from:line.to], ':')
	switch {
	case b[line.from] == ' ' || b[line.from] == '\t':
		return bad("a line begins with a space")
	case colon < 0:
		return bad("a line has no colon")
	}
	name := span{line.from, line.from + colon}
	if !canonical(b[name.from:name.to]) {
		return bad("a name is not valid")
	}
	value := span{name.to + 1, line.to}
	for value.from < value.to && isSpace(b[value.from]) {
		value.from++
	}
	for value.from < value.to && isSpace(b[value.to-1]) {
		value.to--
	}
	for _, c := range b[value.from:value.to] {
		if !isValue[c] {
			return bad("a value has a control character")
		}
	}
	p.fields = append(p.fields, field{name, value})
	return nil
}

// canonical makes name what http.CanonicalHeaderKey makes of it, and reports
// whether it is one.
func canonical(name []byte) bool {
	upper := true
	for i, c := range name {
		if !isTokenByte[c] {
			return false
		}
		if upper && 'a' <= c && c <= 'z' {
			name[i] = c - ('a' - 'A')
		} else if !upper && 'A' <= c && c <= 'Z' {
			name[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
	return len(name) > 0
}

// Where the parser's tables come from: token is RFC 9110, 5.6.2, field-vchar with
// SP and HTAB 5.5.
var (
	isTokenByte = table(func(c byte) bool { return httpfield.IsToken(string(rune(c))) })
	isValue     = table(func(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f })
	isTarget    = table(func(c byte) bool { return httpfield.IsTarget(string(rune(c))) })
	isPlain     = table(func(c byte) bool { return httpfield.IsAlnum(c) || strings.IndexByte("/-._~", c) >= 0 }) // as it is in a path
	isHost      = table(func(c byte) bool { return httpfield.IsAlnum(c) || strings.IndexByte("-._~%!$&'()*+,;=:[]", c) >= 0 })
)

func table(in func(byte) bool) (t [256]bool) {
	for i := range t {
		t[i] = in(byte(i))
	}
	return t
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		if !isTokenByte[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// isHostText reports whether s may be a host with a port: what is escaped in it is
// whole (RFC 3986, 2.1).
func isHostText(s string) bool {
	if !all(s, &isHost) {
		return false
	}
	for {
		_, rest, more := strings.Cut(s, "%")
		if !more {
			return true
		}
		if len(rest) < 2 || unhex(rest[0]) < 0 || unhex(rest[1]) < 0 {
			return false
		}
		s = rest[2:]
	}
}

func all(s string, in *[256]bool) bool {
	for i := range len(s) {
		if !in[s[i]] {
			return false
		}
	}
	return true
}

// framing is what a head says about where its message ends.
type framing struct {
	host      string
	hosts     int
	length    int64    // of Content-Length, -1 without
	codings   []string // of each Transfer-Encoding
	expects   bool     // there is an Expect that is not empty
	continues bool     // Expect: 100-continue, nothing else
}

// note takes in a field. It reports whether that is no part of the header any
// more.
func (f *framing) note(name, value string) (taken bool, why *refusal) {
	switch name {
	case "Host":
		f.host = value
		f.hosts++
		return true, nil
	case "Content-Length":
		n, why := contentLength(value)
		if why == nil && f.length >= 0 && n != f.length {
			why = bad("Content-Length has different values")
		}
		taken = f.length >= 0
		f.length = n
		return taken, why
	case "Transfer-Encoding":
		f.codings = append(f.codings, value)
		return true, nil
	case "Expect":
		f.continues = !f.expects && httpfield.Equal(value, "100-continue")
		f.expects = f.expects || value != ""
	}
	return false, nil
}

// contentLength reads a Content-Length: a number, or a list of the same number
// (RFC 9112, 6.3).
func contentLength(value string) (int64, *refusal) {
	first, rest, more := strings.Cut(value, ",")
	first = strings.Trim(first, " \t")
	n, why := number(first)
	for why == nil && more {
		var next string
		next, rest, more = strings.Cut(rest, ",")
		m, whyNot := number(strings.Trim(next, " \t"))
		if why = whyNot; why == nil && m != n {
			why = bad("Content-Length has different values")
		}
	}
	return n, why
}

func number(s string) (int64, *refusal) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, bad("Content-Length is no number")
		}
	}
	if s == "" {
		return 0, bad("Content-Length is no number")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, &refusal{http.StatusRequestEntityTooLarge, "Content-Length is too large"}
	}
	return n, nil
}

// judge says whether the message's end can be known by everybody in the same way.
// Whoever reads it otherwise takes a part of a body for a request.
func (f *framing) judge(minor int) *refusal {
	switch {
	case f.hosts > 1:
		return bad("there is more than one Host")
	case f.hosts == 0 && minor > 0:
		return bad("there is no Host") // RFC 9112, 3.2
	case !isHostText(f.host):
		return bad("the Host is not valid")
	case len(f.codings) == 0:
	case minor == 0:
		return bad("HTTP/1.0 has no Transfer-Encoding") // RFC 9112, 6.1
	case f.length >= 0:
		return bad("there is a Content-Length beside Transfer-Encoding") // RFC 9112, 6.1
	case len(f.codings) == 1 && httpfield.Equal(f.codings[0], "chunked"):
	default:
		return f.judgeCoding()
	}
	return nil
}

// judgeCoding is for all codings but chunked alone. What does not end in chunked
// has no end (RFC 9112, 6.3); chunked has no parameters, and comes once (7.1).
// Empty elements of the list are refused: others read them in different ways.
func (f *framing) judgeCoding() *refusal {
	codings := strings.Split(strings.Join(f.codings, ","), ",")
	for i, coding := range codings {
		name, _, parameters := strings.Cut(coding, ";")
		chunked := httpfield.Equal(strings.Trim(name, " \t"), "chunked")
		if !isToken(strings.Trim(name, " \t")) || chunked && parameters || chunked != (i == len(codings)-1) {
			return bad("the Transfer-Encoding is not valid")
		}
	}
	return &refusal{http.StatusNotImplemented, "this Transfer-Encoding is not known"}
}
