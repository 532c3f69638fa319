package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amahi/spdy/spdytest"
)

// What is sent, and what comes back: RFC 9112 and 9110 by section.
const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n"
	post = "POST / HTTP/1.1\r\nHost: a\r\n"
	in   = post + "Transfer-Encoding: chunked\r\n\r\n" // chunks follow
	end  = "0\r\n\r\n"
	next = get + "\r\n" // is answered as the next request, or is not seen

	ok     = "200 GET a /; "
	closed = "closed"
	open   = "open"
)

var cases = []struct{ section, about, sent, want string }{
	// The message's form.
	{"9112, 2.1", "a request", get + "\r\n", ok + open},
	{"9112, 2.1", "two", get + "\r\n" + next, ok + ok + open},
	{"9112, 2.1", "not whole yet", get, open},
	{"9112, 2.1", "a field without a value", get + "X-A:\r\n\r\n", `200 GET a / X-A=[""]; ` + open},
	{"9112, 2.2", "an empty line before", "\r\n" + next, ok + open},
	{"9112, 2.2", "eight empty lines before", strings.Repeat("\r\n", 8) + next, ok + open},
	{"9112, 2.2", "too many empty lines", strings.Repeat("\r\n", 9) + next, "400 the request line has no method; " + closed},
	{"9112, 2.2", "an empty line between", next + "\r\n" + next, ok + ok + open},
	{"9112, 2.2", "an empty line behind a body", post + "Content-Length: 2\r\n\r\nhi\r\n" + next, `200 POST a / "hi"; ` + ok + open},
	{"9112, 2.2", "empty lines alone", "\r\n\r\n", open},
	{"9112, 2.2", "LF alone before", "\n" + next, "400 a line does not end in CRLF; " + closed},
	{"9112, 2.2", "LF alone ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 a line does not end in CRLF; " + closed},
	{"9112, 2.2", "LF alone ends a field", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", "400 a line does not end in CRLF; " + closed},
	{"9112, 2.2", "LF alone ends the head", get + "\n" + next, "400 a line does not end in CRLF; " + closed},
	{"9112, 2.2", "CR alone in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 2.2", "CR alone in a value", get + "X-A: b\rX-B: c\r\n\r\n", "400 a value has a control character; " + closed},
	{"9112, 2.2", "CR alone in a name", get + "X\rA: b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9112, 2.2", "CR CR LF", get + "X-A: b\r\r\n\r\n", "400 a value has a control character; " + closed},
	{"9112, 2.2", "a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 a line begins with a space; " + closed},
	{"9112, 2.2", "a tab before the first field", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", "400 a line begins with a space; " + closed},
	{"9112, 2.2", "no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\r\n", "400 the request line has no method; " + closed},

	// The version.
	{"9112, 2.3", "HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", ok + closed},
	{"9112, 2.3", "HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "200 GET  /; " + closed},
	{"9110, 2.5", "a higher minor version", "GET / HTTP/1.7\r\nHost: a\r\n\r\n", ok + open},
	{"9110, 15.6.6", "HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 this version of HTTP is not served here; " + closed},
	{"9110, 15.6.6", "h2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 this version of HTTP is not served here; " + closed},
	{"9110, 15.6.6", "HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", "505 this version of HTTP is not served here; " + closed},
	{"9112, 2.3", "no version", "GET /\r\n\r\n", "400 the request line is not whole; " + closed},
	{"9112, 2.3", "lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 2.3", "two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 2.3", "a digit is missing", "GET / HTTP/1.\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 2.3", "no dot", "GET / HTTP/11\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 2.3", "a plus", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 2.3", "another protocol", "GET / ICY/1.1\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},

	// The request line.
	{"9112, 3", "two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line is not whole; " + closed},
	{"9112, 3", "two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 3", "a space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 3", "a space at the begin", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3", "a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3", "a tab before the version", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line is not whole; " + closed},
	{"9112, 3", "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 the version is not valid; " + closed},
	{"9112, 3", "a method alone", "GET\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3", "a target too long", "GET /" + strings.Repeat("x", 2000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 the request line is too long; " + closed},
	{"9112, 3", "a target without end", "GET /" + strings.Repeat("x", 2100), "414 the request line is too long; " + closed},
	{"9112, 3.1", "a method of our own", "FIND / HTTP/1.1\r\nHost: a\r\n\r\n", "200 FIND a /; " + open},
	{"9112, 3.1", "lower case is another method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "200 get a /; " + open},
	{"9112, 3.1", "all that a token has", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n", "200 !#$%&'*+-.^_`|~09azAZ a /; " + open},
	{"9112, 3.1", "no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3.1", "above ASCII", "G\xc3\xa4T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3.1", "NUL", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line has no method; " + closed},
	{"9112, 3.1", "too long", strings.Repeat("M", 65) + " / HTTP/1.1\r\nHost: a\r\n\r\n", "501 the method is not known; " + closed},
	{"9112, 3.1", "HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "200; " + open},
	{"9110, 9.3.2", "HEAD with a body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + next, "200; " + ok + open},
	{"9110, 9.3.1", "GET with a body", get + "Content-Length: 2\r\n\r\nhi" + next, `200 GET a / "hi"; ` + ok + open},
	{"9112, 3.2.1", "a path as it is sent", "GET //a/../b/./c;d=e?f=g?h HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET a //a/../b/./c;d=e?f=g?h; " + open},
	{"9112, 3.2.1", "escapes as they are sent", "GET /%2e%2E/%41?%zz HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET a /%2e%2E/%41?%zz; " + open},
	{"9112, 3.2.1", "an escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2.1", "half an escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2.1", "above ASCII, as some clients send it", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET a /\xc3\xa4; " + open},
	{"9112, 3.2.1", "what browsers do not escape", "GET /a|b?c={d}^`\"<> HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET a /a|b?c={d}^`\"<>; " + open},
	{"9112, 3.2.1", "DEL", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2.1", "NUL", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2", "a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2", "no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is no path, and no URL; " + closed},
	{"9112, 3.2", "a query alone", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is no path, and no URL; " + closed},
	{"9112, 3.2.2", "a URL is above Host", "GET http://b:80/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET b:80 http://b:80/c?d; " + open},
	{"9112, 3.2.2", "a URL without a path", "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "200 GET b http://b; " + open},
	{"9112, 3.2.2", "a URL without Host", "GET http://b/ HTTP/1.1\r\n\r\n", "400 there is no Host; " + closed},
	{"9112, 3.2.2", "a URL in HTTP/1.0", "GET http://b/ HTTP/1.0\r\n\r\n", "200 GET b http://b/; " + closed},
	{"9112, 3.2.2", "a URL with a host that is none", "GET http://b^/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2.2", "a URL with a port that is none", "GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"9112, 3.2.2", "a scheme alone", "GET mailto:a@b HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is no path, and no URL; " + closed},
	{"9112, 3.2.3", "CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n" + next, "200 CONNECT b:443 b:443; " + closed},
	{"9112, 3.2.3", "CONNECT to an address", "CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", "200 CONNECT [::1]:443 [::1]:443; " + closed},
	{"9112, 3.2.3", "CONNECT without a port", "CONNECT b HTTP/1.1\r\nHost: b\r\n\r\n", "400 the target is no host with a port; " + closed},
	{"9110, 9.3.6", "CONNECT with an empty port", "CONNECT b: HTTP/1.1\r\nHost: b\r\n\r\n", "400 the target is no host with a port; " + closed},
	{"9110, 9.3.6", "CONNECT with a port that is none", "CONNECT b:x HTTP/1.1\r\nHost: b\r\n\r\n", "400 the target is no host with a port; " + closed},
	{"9112, 3.2.3", "CONNECT with a path", "CONNECT / HTTP/1.1\r\nHost: b\r\n\r\n", "400 the target is no host with a port; " + closed},
	{"9112, 3.2.3", "a host with a port for another method", "GET b:80 HTTP/1.1\r\nHost: b\r\n\r\n", "400 the target is no path, and no URL; " + closed},
	{"9112, 3.2.4", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200 OPTIONS a *; " + open},
	{"9112, 3.2.4", "* for another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 this method has no target *; " + closed},

	// Host.
	{"9112, 3.2", "no Host", "GET / HTTP/1.1\r\n\r\n", "400 there is no Host; " + closed},
	{"9112, 3.2", "two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 there is more than one Host; " + closed},
	{"9112, 3.2", "two of the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "400 there is more than one Host; " + closed},
	{"9112, 3.2", "two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 there is more than one Host; " + closed},
	{"9112, 3.2", "an empty one", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "200 GET  /; " + open},
	{"9112, 3.2", "a space in it", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2", "a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2", "half an escape", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2.3", "half an escape", "CONNECT a%2:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is no host with a port; " + closed},
	{"9112, 3.2", "an escape", "GET / HTTP/1.1\r\nHost: a%2D\r\n\r\n", "200 GET a%2D /; " + open},
	{"9112, 3.2", "a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2", "user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2", "above ASCII", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", "400 the Host is not valid; " + closed},
	{"9112, 3.2", "a port", "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", "200 GET a:80 /; " + open},
	{"9112, 3.2", "an address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200 GET [::1]:80 /; " + open},

	// Fields.
	{"9112, 5", "any case", get + "x-AbC: d\r\n\r\n", `200 GET a / X-Abc=["d"]; ` + open},
	{"9112, 5", "twice, in order", get + "X-A: b\r\nx-a: c\r\n\r\n", `200 GET a / X-A=["b" "c"]; ` + open},
	{"9112, 5", "no colon", get + "X-A\r\n\r\n", "400 a line has no colon; " + closed},
	{"9112, 5", "an empty name", get + ": b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9112, 5.1", "spaces around a value", get + "X-A: \t b c \t\r\n\r\n", `200 GET a / X-A=["b c"]; ` + open},
	{"9112, 5.1", "no space before a value", get + "X-A:b\r\n\r\n", `200 GET a / X-A=["b"]; ` + open},
	{"9112, 5.1", "a space before the colon", get + "X-A : b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9112, 5.1", "a tab before the colon", get + "X-A\t: b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9112, 5.1", "a space in a name", get + "X A: b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9112, 5.1", "spaces before the colon of Content-Length", post + "Content-Length : 5\r\n\r\nhello", "400 a name is not valid; " + closed},
	{"9112, 5.1", "a colon in a value", get + "X-A: b:c\r\n\r\n", `200 GET a / X-A=["b:c"]; ` + open},
	{"9112, 5.2", "folded by a space", get + "X-A: b\r\n c\r\n\r\n", "400 a line begins with a space; " + closed},
	{"9112, 5.2", "folded by a tab", get + "X-A: b\r\n\tc\r\n\r\n", "400 a line begins with a space; " + closed},
	{"9112, 5.2", "a space alone in a line", get + " \r\n\r\n", "400 a line begins with a space; " + closed},
	{"9112, 5.2", "a folded Transfer-Encoding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n" + end, "400 a line begins with a space; " + closed},
	{"9110, 5.1", "a name above ASCII", get + "X-\xc3\xa4: b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9110, 5.1", "a name with a slash", get + "X/A: b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9110, 5.1", "a name in quotes", get + "\"X\": b\r\n\r\n", "400 a name is not valid; " + closed},
	{"9110, 5.1", "underscores are no hyphens", get + "X-a_B: b\r\n\r\n", `200 GET a / X-A_b=["b"]; ` + open},
	{"9110, 5.5", "NUL in a value", get + "X-A: b\x00c\r\n\r\n", "400 a value has a control character; " + closed},
	{"9110, 5.5", "another control character", get + "X-A: b\x08c\r\n\r\n", "400 a value has a control character; " + closed},
	{"9110, 5.5", "DEL", get + "X-A: b\x7fc\r\n\r\n", "400 a value has a control character; " + closed},
	{"9110, 5.5", "a tab within", get + "X-A: b\tc\r\n\r\n", `200 GET a / X-A=["b\tc"]; ` + open},
	{"9110, 5.5", "above ASCII", get + "X-A: \xe4\r\n\r\n", `200 GET a / X-A=["\xe4"]; ` + open},
	{"9110, 5.4", "a head too large", get + "X-A: " + strings.Repeat("x", 2000) + "\r\n\r\n", "431 the head is too large; " + closed},
	{"9110, 5.4", "a head without end", get + "X-A: " + strings.Repeat("x", 2100), "431 the head is too large; " + closed},
	{"6585, 5", "too many lines", get + strings.Repeat("X-A: b\r\n", 20) + "\r\n", "431 the head has too many lines; " + closed},
	{"6585, 5", "as many as may be", get + strings.Repeat("Y: b\r\n", 19) + "\r\n", ok + open},

	// Where a body ends.
	{"9112, 6.2", "a length", post + "Content-Length: 5\r\n\r\nhello" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 6.2", "none", post + "Content-Length: 0\r\n\r\n" + next, "200 POST a /; " + ok + open},
	{"9112, 6.3", "neither", post + "\r\n" + next, "200 POST a /; " + ok + open},
	{"9112, 6.2", "zeros before", post + "Content-Length: 0005\r\n\r\nhello" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 6.2", "a sign", post + "Content-Length: +5\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "negative", post + "Content-Length: -5\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "negative zero", post + "Content-Length: -0\r\n\r\n", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "hexadecimal", post + "Content-Length: 0x5\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "a fraction", post + "Content-Length: 5.0\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "an underscore", post + "Content-Length: 1_0\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "a space within", post + "Content-Length: 1 0\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "empty", post + "Content-Length:\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "digits above ASCII", post + "Content-Length: \xd9\xa5\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.2", "in quotes", post + "Content-Length: \"5\"\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9110, 8.6", "more than a number holds", post + "Content-Length: 9223372036854775808\r\n\r\nhello", "413 Content-Length is too large; " + closed},
	{"9110, 8.6", "more than any number holds", post + "Content-Length: 99999999999999999999999\r\n\r\nhello", "413 Content-Length is too large; " + closed},
	{"9112, 6.3", "two lengths", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "400 Content-Length has different values; " + closed},
	{"9112, 6.3", "the same twice", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 6.3", "a list of the same", post + "Content-Length: 5, 5,5\r\n\r\nhello" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 6.3", "a list of others", post + "Content-Length: 5, 6\r\n\r\nhello!", "400 Content-Length has different values; " + closed},
	{"9112, 6.3", "a list with an empty element", post + "Content-Length: 5,\r\n\r\nhello", "400 Content-Length is no number; " + closed},
	{"9112, 6.3", "a list, then another", post + "Content-Length: 5, 5\r\nContent-Length: 6\r\n\r\nhello!", "400 Content-Length has different values; " + closed},
	{"9112, 6.3", "shorter than announced", post + "Content-Length: 6\r\n\r\nhello", open},
	{"9112, 6.1", "both", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + end + next, "400 there is a Content-Length beside Transfer-Encoding; " + closed},
	{"9112, 6.1", "both, the other way round", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + end + next, "400 there is a Content-Length beside Transfer-Encoding; " + closed},
	{"9112, 6.1", "both, in any case", post + "transfer-encoding: Chunked\r\ncontent-length: 0\r\n\r\n" + end + next, "400 there is a Content-Length beside Transfer-Encoding; " + closed},
	{"9112, 6.1", "HTTP/1.0 with chunks", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + end, "400 HTTP/1.0 has no Transfer-Encoding; " + closed},
	{"9112, 6.1", "HTTP/1.0 with both", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + end, "400 HTTP/1.0 has no Transfer-Encoding; " + closed},
	{"9112, 6.1", "a coding before chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + end, "501 this Transfer-Encoding is not known; " + closed},
	{"9112, 6.1", "a coding in a line of its own", post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + end, "501 this Transfer-Encoding is not known; " + closed},
	{"9112, 6.3", "a coding without chunked", post + "Transfer-Encoding: gzip\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.3", "chunked is not last", post + "Transfer-Encoding: chunked, gzip\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.3", "identity", post + "Transfer-Encoding: identity\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "the Kelvin sign is no k", post + "Transfer-Encoding: chun\u212aed\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 7.1", "chunked twice", post + "Transfer-Encoding: chunked, chunked\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 7.1", "chunked in two lines", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 7.1", "a parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "an empty one", post + "Transfer-Encoding:\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "an empty element", post + "Transfer-Encoding: , chunked\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "an empty element at the end", post + "Transfer-Encoding: chunked,\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "a list by a space", post + "Transfer-Encoding: gzip chunked\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "a word that begins so", post + "Transfer-Encoding: chunkedx\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "a word that ends so", post + "Transfer-Encoding: xchunked\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"9112, 6.1", "a form feed before it", post + "Transfer-Encoding: \x0cchunked\r\n\r\n" + end, "400 a value has a control character; " + closed},
	{"9112, 6.1", "NUL behind it", post + "Transfer-Encoding: chunked\x00\r\n\r\n" + end, "400 a value has a control character; " + closed},
	{"9112, 6.1", "an underscore makes another name", post + "Transfer_Encoding: chunked\r\n\r\n" + next, "200 POST a /; " + ok + open},
	{"9112, 6.1", "any case", post + "TRANSFER-encoding: ChUnKeD\r\n\r\n" + end + next, `200 POST a / ""; ` + ok + open},

	// Chunks.
	{"9112, 7.1", "one", in + "5\r\nhello\r\n" + end + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 7.1", "several", in + "2\r\nhe\r\n3\r\nllo\r\n" + end + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 7.1", "none", in + end + next, `200 POST a / ""; ` + ok + open},
	{"9112, 7.1", "sizes in any case", in + "a\r\n0123456789\r\nA\r\n0123456789\r\n" + end + next, `200 POST a / "01234567890123456789"; ` + ok + open},
	{"9112, 7.1", "zeros before", in + "0005\r\nhello\r\n0000\r\n\r\n" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 7.1", "data that looks like an end", in + "7\r\n\r\n0\r\n\r\n\r\n" + end + next, `200 POST a / "\r\n0\r\n\r\n"; ` + ok + open},
	{"9112, 7.1", "no size", in + "\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "no number", in + "x\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "a sign", in + "+5\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "negative", in + "-5\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "0x", in + "0x5\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "an underscore", in + "1_0\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "a space before", in + " 5\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "a space behind", in + "5 \r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "more than a number holds", in + "8000000000000000\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "more than 64 bits", in + "10000000000000005\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "data too long", in + "5\r\nhello!\r\n" + end, `200 POST a / "hello", and an error; ` + closed},
	{"9112, 7.1", "data too short", in + "5\r\nhell\r\n" + end, `200 POST a / "hell\r", and an error; ` + closed},
	{"9112, 7.1", "LF alone behind a size", in + "5\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "CR alone behind a size", in + "5\rhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "LF alone behind data", in + "5\r\nhello\n" + end, `200 POST a / "hello", and an error; ` + closed},
	{"9112, 7.1", "CR alone behind data", in + "5\r\nhello\rX" + end, `200 POST a / "hello", and an error; ` + closed},
	{"9112, 7.1", "no line end behind data", in + "5\r\nhello" + end, `200 POST a / "hello", and an error; ` + closed},
	{"9112, 7.1", "LF alone behind the last size", in + "0\n\r\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "LF alone at the end", in + "0\r\n\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "CR alone at the end", in + "0\r\n\rX" + next, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1", "not whole", in + "5\r\nhel", open},
	{"9112, 7.1.1", "an extension", in + "5;a\r\nhello\r\n0;b=c\r\n\r\n" + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 7.1.1", "several, with spaces", in + "5 ; a = b\t;c=\"d;\\\"e\"\r\nhello\r\n" + end + next, `200 POST a / "hello"; ` + ok + open},
	{"9112, 7.1.1", "a name is missing", in + "5;\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "a value is missing", in + "5;a=\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "no semicolon", in + "5 a\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "a quote without end", in + "5;a=\"b\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "LF alone in it", in + "5;a\nb\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "LF in quotes", in + "5;a=\"\nb\"\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "CR in it", in + "5;a\rb\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "NUL in it", in + "5;a\x00\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "too long", in + "5;" + strings.Repeat("a", 1100) + "\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.1", "too many in all", in + strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 17) + end, `200 POST a / "xxxxxxxxxxxxxxxx", and an error; ` + closed},
	{"9112, 7.1.2", "trailers", in + "0\r\nX-T: u\r\nx-t: v\r\n\r\n" + next, `200 POST a / "" +X-T=["u" "v"]; ` + ok + open},
	{"9112, 7.1.2", "trailers that are announced", post + "Trailer: X-T, X-U\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: u\r\n\r\n", `200 POST a / "" +X-T=["u"] +X-U=[]; ` + open},
	{"9110, 6.5.1", "trailers that must not be", in + "0\r\nHost: b\r\nTrailer: X\r\n\r\n" + next, `200 POST a / ""; ` + ok + open},
	{"9110, 6.5.1", "a length among them", in + "0\r\nContent-Length: 5\r\n\r\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9110, 6.5.1", "the connection's end among them", in + "0\r\nConnection: close\r\n\r\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9110, 6.5.1", "a coding among them", in + "0\r\nTransfer-Encoding: chunked\r\n\r\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "a trailer without a colon", in + "0\r\nX-T\r\n\r\n", `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "a folded trailer", in + "0\r\nX-T: a\r\n b\r\n\r\n", `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "LF alone ends a trailer", in + "0\r\nX-T: a\n\r\n" + next, `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "a request in their place", in + "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "too many", in + "0\r\n" + strings.Repeat("X-T: a\r\n", 1001) + "\r\n", `200 POST a / "", and an error; ` + closed},
	{"9112, 7.1.2", "too large", in + "0\r\nX-T: " + strings.Repeat("a", 65<<10) + "\r\n\r\n", `200 POST a / "", and an error; ` + closed},

	// The connection.
	{"9112, 9.3", "close", get + "Connection: close\r\n\r\n" + next, ok + closed},
	{"9112, 9.3", "close in a list, in any case", get + "Connection: x, CLOSE\r\n\r\n" + next, ok + closed},
	{"9112, 9.3", "close in another line", get + "Connection: x\r\nConnection: close\r\n\r\n" + next, ok + closed},
	{"9112, 9.3", "close is above keep-alive", get + "Connection: keep-alive, close\r\n\r\n" + next, ok + closed},
	{"9112, 9.3", "keep-alive is nothing new", get + "Connection: keep-alive\r\n\r\n" + next, ok + ok + open},
	{"9112, 9.3", "HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n" + next, ok + closed},
	{"9112, 9.3", "HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n" + next, ok + ok + open},
	{"9112, 9.3.2", "three in a row", next + post + "Content-Length: 2\r\n\r\nhi" + "FIND /z HTTP/1.1\r\nHost: b\r\n\r\n", ok + `200 POST a / "hi"; 200 FIND b /z; ` + open},
	{"9112, 9.6", "nothing is read behind what is refused", "GET / HTTP/1.1\r\n\r\n" + next, "400 there is no Host; " + closed},
	{"9110, 10.1.1", "another expectation", post + "Expect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", "417 what is expected is not known; " + closed},
	{"9110, 10.1.1", "two", post + "Expect: 100-continue, x\r\nContent-Length: 2\r\n\r\nhi", "417 what is expected is not known; " + closed},
	{"9110, 10.1.1", "HTTP/1.0 expects nothing", "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", `200 POST a / "hi"; ` + closed},
	{"9110, 10.1.1", "no body to wait for", get + "Expect: 100-continue\r\n\r\n" + next, ok + ok + open},

	// What has been made of such differences.
	{"smuggling", "CL.TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", "400 there is a Content-Length beside Transfer-Encoding; " + closed},
	{"smuggling", "TE.TE by a space", post + "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n" + end, "400 a name is not valid; " + closed},
	{"smuggling", "TE.TE by a word", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + end, "400 the Transfer-Encoding is not valid; " + closed},
	{"smuggling", "TE.TE by a vertical tab", post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + end, "400 a value has a control character; " + closed},
	{"smuggling", "TE.TE by a fold", post + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + end, "400 a line begins with a space; " + closed},
	{"smuggling", "TE behind LF", post + "X: y\nTransfer-Encoding: chunked\r\n\r\n" + end, "400 a line does not end in CRLF; " + closed},
	{"smuggling", "TE behind CR", post + "X: y\rTransfer-Encoding: chunked\r\n\r\n" + end, "400 a value has a control character; " + closed},
	{"smuggling", "CL.0", post + "Content-Length: 31\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\nabc" + next, `200 POST a / "GET /x HTTP/1.1\r\nHost: a\r\n\r\nabc"; ` + ok + open},
	{"smuggling", "0.CL", get + "Content-Length: 5\r\n\r\nhello" + next, `200 GET a / "hello"; ` + ok + open},
	{"smuggling", "CL by a comma", post + "Content-Length: 0, 5\r\n\r\nhello", "400 Content-Length has different values; " + closed},
	{"smuggling", "TERM.EXT", in + "2;\nxx\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"smuggling", "EXT.TERM", in + "2;x\rx\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"smuggling", "TERM.SPILL", in + "5\r\nhelloX0\r\n\r\n", `200 POST a / "hello", and an error; ` + closed},
	{"smuggling", "two bytes of anything behind data", in + "5\r\nhelloXX" + end, `200 POST a / "hello", and an error; ` + closed},
	{"smuggling", "a chunk's size that wraps", in + "fffffffffffffffe\r\nhello\r\n" + end, `200 POST a / "", and an error; ` + closed},
	{"smuggling", "the request line in a URL's host", "GET http://b\\c/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not valid; " + closed},
	{"smuggling", "a method override is a field as any", get + "X-HTTP-Method-Override: PUT\r\n\r\n", `200 GET a / X-Http-Method-Override=["PUT"]; ` + open},
	{"smuggling", "upgrade to h2c is none", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", ok + open},
}

// Each case comes as a whole, and byte by byte.
func TestCases(t *testing.T) {
	for _, max := range []int{0, 1, 7} {
		t.Run(fmt.Sprintf("%d bytes a read", max), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBed(t, echo, nil)
				defer b.close()
				for _, c := range cases {
					ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
					theirs.SetReadMax(max)
					b.ln.conns <- theirs
					cl := &client{Conn: ours, b: b}
					go cl.read() // ends with the connection
					cl.send(c.sent)
					cl.want(c.section+": "+c.about, c.want)
					ours.Close()
				}
			})
		})
	}
	if len(cases) < 200 {
		t.Errorf("%d cases", len(cases))
	}
}
