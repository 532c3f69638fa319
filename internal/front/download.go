package front

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/amahi/spdy"
)

var (
	errShort   = errors.New("the response's body is shorter than announced")
	errLong    = errors.New("the response's body is longer than announced")
	errChanged = errors.New("the connection to the origin ended, and the rest cannot be had: it has changed, or the origin gives no part of it")
)

// download is the body of a response on its way to A. It is never shorter or
// longer than announced without an error, and when the session that brings it
// ends, the rest may come over another. It belongs to the handler's goroutine.
type download struct {
	x    *exchange
	req  *http.Request  // as it was sent, without the body
	resp *http.Response // as A got it; its Trailer is filled at the end of src
	src  io.ReadCloser
	want int64 // -1: not announced
	got  int64

	// rest is what resp brings, if resumes says that the rest of it can be had.
	rest    span
	resumes bool
	repeats int   // for send: since a byte came last
	mark    int64 // got when it was last taken up
}

// begin is for resp.Body.
func (d *download) begin(x *exchange, req *http.Request, resp *http.Response) {
	*d = download{x: x, req: req, resp: resp, src: resp.Body, want: resp.ContentLength}
	if x.in.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		d.want = -1
	}
	if x.in.Method == http.MethodGet && x.body == nil {
		d.rest, d.resumes = resumable(resp)
	}
}

// deliver sends the body to A, all that has come at once and without a wait for
// more. Its error means that A has not all of it.
func (d *download) deliver() error {
	buf := d.x.h.buffers.get(false)
	failed := false
	defer func() {
		// The h2 server may still read what a Write that failed was given: a
		// buffer used again could carry another visitor's bytes to this one.
		if !failed {
			d.x.h.buffers.put(buf)
		}
	}()
	for {
		if !d.ready() {
			// Nothing of what was written, the headers at first, is held back
			// while there is nothing to read.
			d.x.w.flush()
		}
		if d.got >= largeAfter && len(buf) != largeBuffer {
			d.x.h.buffers.put(buf)
			buf = d.x.h.buffers.get(true)
		}
		n, err := d.src.Read(buf)
		if d.want >= 0 && int64(n) > d.want-d.got {
			n, err = int(d.want-d.got), errLong
		}
		if n > 0 {
			if _, err := d.x.w.Write(buf[:n]); err != nil {
				failed = true
				return err
			}
			d.got += int64(n)
		}
		if err == io.EOF && d.got >= d.want {
			return nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = errShort
		}
		if _, ended := errors.AsType[*spdy.SessionError](err); ended && d.want >= 0 {
			if d.got == d.want && len(d.resp.Trailer) == 0 {
				return nil // all of it had come
			}
			if d.resumes {
				d.x.w.flush() // it may take a while
				if err = d.resume(err); err == nil {
					continue
				}
			}
		}
		f := d.x.judge(err)
		d.x.rec.Reason, d.x.rec.Detail = f.reason, f.detail
		return err
	}
}

// ready reports whether the next Read of src returns at once. Then what was
// written can wait for what it brings, or for the end.
func (d *download) ready() bool {
	r, ok := d.src.(interface{ Ready() bool })
	return ok && r.Ready()
}

// Close gives up what has not come.
func (d *download) Close() error { return d.src.Close() }

// resume asks the origin's next session for the rest, after cause ended the one
// that brought it. Its error tells why there is none.
func (d *download) resume(cause error) error {
	if d.got > d.mark {
		d.repeats = 0
	}
	d.mark = d.got
	if d.repeats == maxRepeats {
		return cause
	}
	d.repeats++
	req := d.req.Clone(d.req.Context())
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		delete(req.Header, name)
	}
	first, last := d.rest.first+d.got, d.rest.last
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	req.Header.Set("If-Range", d.rest.etag)
	resp, err := d.x.send(req, &d.repeats)
	if err != nil {
		return err
	}
	next, ok := resumable(resp)
	if !ok || resp.StatusCode != http.StatusPartialContent || next.etag != d.rest.etag ||
		next.first != first || next.last != last || next.total != d.rest.total ||
		resp.Header.Get("Content-Encoding") != d.resp.Header.Get("Content-Encoding") {
		resp.Body.Close()
		return fmt.Errorf("%w: asked for bytes %d-%d of %s, got %s", errChanged, first, last, d.rest.etag, resp.Status)
	}
	d.src.Close()
	d.src = resp.Body
	d.x.rec.Resumed++
	return nil
}

// span is the part of a representation that a response brings: bytes first to
// last, both included, of total.
type span struct {
	first, last, total int64
	etag               string
}

// resumable returns what resp brings, and whether the rest of it could be asked
// for and told from something else: the answer to a GET with a strong validator
// (RFC 9110, 8.8.1), a length, and one range at most.
func resumable(resp *http.Response) (s span, ok bool) {
	if resp.ContentLength <= 0 || len(resp.Trailer) > 0 {
		return s, false
	}
	etags := resp.Header["Etag"]
	if len(etags) != 1 || len(etags[0]) < 2 || etags[0][0] != '"' || !strings.HasSuffix(etags[0], `"`) ||
		strings.Contains(etags[0][1:len(etags[0])-1], `"`) {
		return s, false
	}
	s.etag = etags[0]
	switch resp.StatusCode {
	case http.StatusOK:
		if strings.EqualFold(strings.TrimSpace(resp.Header.Get("Accept-Ranges")), "none") || len(resp.Header["Content-Range"]) > 0 {
			return s, false
		}
		s.last, s.total = resp.ContentLength-1, resp.ContentLength
		return s, true
	case http.StatusPartialContent:
		// Several ranges come as multipart/byteranges, without a Content-Range.
		ranges := resp.Header["Content-Range"]
		if len(ranges) != 1 || !s.parse(ranges[0]) || s.last-s.first+1 != resp.ContentLength {
			return s, false
		}
		return s, true
	}
	return s, false
}

// parse reads "bytes FIRST-LAST/TOTAL" (RFC 9110, 14.4).
func (s *span) parse(v string) bool {
	unit, rest, _ := strings.Cut(v, " ")
	pair, total, ok1 := strings.Cut(rest, "/")
	first, last, ok2 := strings.Cut(pair, "-")
	if !strings.EqualFold(unit, "bytes") || !ok1 || !ok2 {
		return false
	}
	for _, f := range []struct {
		text string
		into *int64
	}{{first, &s.first}, {last, &s.last}, {total, &s.total}} {
		n, err := strconv.ParseUint(f.text, 10, 63)
		if err != nil {
			return false
		}
		*f.into = int64(n)
	}
	return s.first <= s.last && s.last < s.total
}

// duplex is the connection to C after a 101.
type duplex struct {
	io.ReadWriteCloser
	in, out atomic.Int64 // bytes from A and to A
}

func (d *duplex) Read(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Read(p)
	d.out.Add(int64(n))
	return n, err
}

func (d *duplex) Write(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Write(p)
	d.in.Add(int64(n))
	return n, err
}

// CloseWrite ends the direction to C.
func (d *duplex) CloseWrite() error {
	if c, ok := d.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return d.Close()
}
