package front

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

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
	opened := d.e.rec.Opened
	d.e.rec.failedAttempt(cause)
	resp, err := d.e.send(req, &d.repeats)
	d.e.rec.Opened = opened // Headers came of that one
	if err != nil {
		return err
	}
	next, ok := resumable(resp)
	if !ok || resp.StatusCode != http.StatusPartialContent || next.etag != d.rest.etag ||
		next.first != first || next.last != last || next.total != d.rest.total ||
		resp.Header.Get("Content-Encoding") != d.coding {
		resp.Body.Close()
		return fmt.Errorf("%w: asked for bytes %d-%d of %s, got %s", errChanged, first, last, d.rest.etag, resp.Status)
	}
	d.src.Close()
	d.src = resp.Body
	d.e.rec.Resumed++
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
		if httpfield.Equal(strings.TrimSpace(resp.Header.Get("Accept-Ranges")), "none") || len(resp.Header["Content-Range"]) > 0 {
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
	if !httpfield.Equal(unit, "bytes") || !ok1 || !ok2 {
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
