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

// bodyStep is how much of an upload is read at a time.
const bodyStep = 64 << 10

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

// Read implements io.Reader. It returns io.EOF only if the body is as long as
// was announced.
func (b *received) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.body.Read(p)
	b.take(p[:n])
	return n, b.judge(err)
}

// extend gives what comes next of the body its time.
func (b *received) extend() {
	if now := time.Now(); now.Sub(b.extended) > time.Second {
		b.extended = now
		// A writer without deadlines leaves the limit to whoever owns the connection.
		b.deadline(now.Add(bodyIdle))
	}
}

// take counts and digests a piece of the body.
func (b *received) take(p []byte) {
	b.length += int64(len(p))
	b.sum.Write(p)
}

// judge returns err, unless it is the end and comes too early.
func (b *received) judge(err error) error {
	if err == io.EOF {
		b.deadline(time.Time{})
		if b.announce >= 0 && b.length != b.announce {
			err = io.ErrUnexpectedEOF
		}
	}
	b.broken = err != nil && err != io.EOF
	return err
}

// discard reads the body to its end.
func (b *received) discard() error {
	b.extend()
	_, err := io.Copy(digester{b}, b.body)
	if err == nil {
		err = io.EOF
	}
	if err = b.judge(err); err == io.EOF {
		err = nil
	}
	return err
}

// A digester takes what a body's WriteTo lends it, without a copy.
type digester struct{ *received }

func (d digester) Write(p []byte) (int, error) {
	d.take(p)
	d.extend()
	return len(p), nil
}

// describe tells in h what arrived.
func (b *received) describe(h http.Header) {
	h.Set("X-Received-Length", strconv.FormatInt(b.length, 10))
	h.Set("X-Received-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(b.sum.Sum(nil))+":")
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
