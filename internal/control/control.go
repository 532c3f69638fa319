// Package control is the handshake on P's control port, both ends of it: C's
// TLS connection, one HTTPS PUT with a bearer token, P's answer, and then the
// same connection for whatever the two speak next. [Server] is P's end,
// [Dialer] is C's. What they speak next is not known here.
//
// The order is what makes it safe: C sends its token only after it has verified
// P's certificate, P says nothing about names before it has verified the token,
// and neither sends a byte of the next protocol before the answer is complete.
package control

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// Protocol is what a C asks for by ALPN (RFC 7301), before http/1.1: on a port that
// others come to as well it tells Cs from them.
const Protocol = "spdy-proxy-control/1"

// Limits of the handshake that both ends keep.
const (
	maxHead     = 16 << 10 // bytes of a request's or an answer's head
	maxBody     = 4 << 10  // bytes of a request's or an answer's body
	maxInstance = 64       // bytes of a Spdy-Proxy-Instance
	maxAgent    = 64       // bytes of a User-Agent that are kept
)

// helloC and helloP are the bodies of the request and of the answer.
const (
	helloC = "Hello from C"
	helloP = "Hello from P"
)

// The header fields that are ours.
const (
	headerInstance = "Spdy-Proxy-Instance"
	headerServer   = "Spdy-Proxy-Server"
	headerServing  = "Spdy-Proxy-Serving" // how many connections serve a name, for a C that only asks
	headerURL      = "Spdy-Proxy-Url"
	headerWarning  = "Spdy-Proxy-Warning"
)

// checkInstance reports what is wrong with the value of a Spdy-Proxy-Instance.
func checkInstance(s string) error {
	if len(s) > maxInstance {
		return fmt.Errorf("an instance has at most %d characters", maxInstance)
	}
	for i := range len(s) {
		if c := s[i]; !httpfield.IsAlnum(c) && c != '.' && c != '_' && c != '-' {
			return errors.New("an instance has only letters, digits and . _ -")
		}
	}
	return nil
}

// Conn is a connection after the handshake. Bytes that arrived in the same read
// as the end of the HTTP message come first. One goroutine may read while
// another writes, as with any net.Conn. CloseWrite and ConnectionState are
// those of the TLS connection.
type Conn struct {
	*tls.Conn

	// Server is P's id, at C's end; "" if P gave none, and at P's end.
	Server string
	// URLs are the addresses under which visitors reach the origin, and Warning is
	// why they do not, or not by each of them, at C's end, as P tells. An earlier P tells neither.
	URLs    []string
	Warning string
	// Via is the proxy on the way to P, at C's end; "" if there is none.
	Via string

	// Peers is what P has told of others, at C's end.
	Peers []Peer

	// early is what was read too far, nil once it was handed on. Owned by the
	// goroutine that reads.
	early []byte
}

// Read reads what came early, then from the TLS connection.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// earlyIn returns what br has read too far, nil if that is nothing.
func earlyIn(br *bufio.Reader) []byte {
	b, _ := br.Peek(br.Buffered())
	return append([]byte(nil), b...)
}

// headReader reads at most left bytes from r, and remembers how r ended: the
// parsers of net/http report half a line as malformed, whatever cut it off.
type headReader struct {
	r    io.Reader
	left int
	err  error // r's, nil before it; not the end of left
}

func (h *headReader) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, errHeadTooLong
	}
	n, err := h.r.Read(p[:min(len(p), h.left)])
	h.left -= n
	h.err = err
	return n, err
}

var errHeadTooLong = errors.New("more bytes than a handshake has")

// Registration is a C that may come in. Whoever gets it owns Conn, but for the
// answer 200, which [Server] sends: see [Server.Handle].
type Registration struct {
	Conn       *Conn
	Name       string     // of the origin, lower case; "" is the default origin
	Instance   string     // as C gave it; "" if it gave none
	Credential Credential // whose token it was; zero when none is asked for
	RemoteAddr net.Addr
	Agent      string // its User-Agent, printable and short; "" if it has none
	DialsAgain bool   // C understands AskAgain
	Host       string // that C has dialled, lower case, without port; "" if that is not clear

	// For the answer 200, as Server.Reach tells; Handle may say something else. Both
	// are printable ASCII.
	URLs    []string // under which visitors reach the origin
	Warning string   // why they do not, or not by each; "" if they do
}
