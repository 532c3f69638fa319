package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// bodyIdle is how long a body may stand still before its request is given up:
// what it holds here (a file, its room on the disk) is wanted by others.
const bodyIdle = 2 * time.Minute

// errTooLong ends a body that is over the maximum.
var errTooLong = errors.New("the body is too long")

// A received reads the body of a request, counts and digests it.
type received struct {
	body     io.Reader
	announce int64 // -1: unknown
	deadline func(time.Time) error
	extended time.Time // when the deadline was last moved

	length int64
	sum    hash.Hash
	broken bool // the body ended before its end
}

func newReceived(w http.ResponseWriter, r *http.Request) *received {
	return &received{
		body:     r.Body,
		announce: r.ContentLength,
		deadline: http.NewResponseController(w).SetReadDeadline,
		sum:      sha256.New(),
	}
}

// extend gives what comes next of the body its time.
func (b *received) extend() {
	if now := time.Now(); now.Sub(b.extended) > time.Second {
		b.extended = now
		// A writer without deadlines leaves the limit to whoever owns the connection.
		b.deadline(now.Add(bodyIdle))
	}
}

// discard reads the body to its end.
func (b *received) discard() error { return b.copyTo(io.Discard) }

// copyTo writes the body to w. It returns nil only if the body is as long as
// was announced; b.broken tells whether it was the body or w that failed.
//
// A body that lends what came, as the SPDY engine's does, costs no buffer
// here while it stands still.
func (b *received) copyTo(w io.Writer) error {
	to := taker{received: b, w: w}
	b.extend()
	_, err := io.Copy(&to, b.body)
	b.deadline(time.Time{})
	if to.err != nil {
		return to.err
	}
	if err == nil && b.announce >= 0 && b.length != b.announce {
		err = io.ErrUnexpectedEOF
	}
	b.broken = err != nil
	return err
}

// A taker counts and digests a body, and passes it on.
type taker struct {
	*received
	w   io.Writer
	err error // of w
}

func (t *taker) Write(p []byte) (int, error) {
	t.length += int64(len(p))
	t.sum.Write(p)
	n, err := t.w.Write(p)
	t.err = err
	t.extend()
	return n, err
}

// describe tells in h what arrived.
func (b *received) describe(h http.Header) {
	h.Set("X-Received-Length", strconv.FormatInt(b.length, 10))
	h.Set("X-Received-Digest", digestText(b.sum.Sum(nil)))
}

// digestText writes a SHA-256 as a structured field (RFC 9530).
func digestText(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// refuse answers a request whose body could not be read to its end. Mostly
// nobody is left to read the answer.
func (b *received) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		http.Error(w, fmt.Sprintf("408: nothing of the body came for %v", bodyIdle), http.StatusRequestTimeout)
		return
	}
	http.Error(w, fmt.Sprintf("400: the body ended after %d bytes, before its end", b.length), http.StatusBadRequest)
}
