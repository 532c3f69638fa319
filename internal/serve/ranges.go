package serve

import (
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// maxRanges is the number of parts above which a Range header is ignored, as
// RFC 9110, 14.2 permits: no player asks for more, and each costs a seek and a
// part header many times the size of its request.
const maxRanges = 64

// A byteRange is a part of a file: both ends are in it.
type byteRange struct{ first, last int64 }

// parseRange reads the value of a Range header (RFC 9110, 14.1) for a file of
// that size. It returns the parts that the file has, in the order asked for.
// With ok false the header is to be ignored: of another unit, of no valid form,
// or of too many parts. A valid one of which the file has no part returns none.
func parseRange(value string, size int64) (parts []byteRange, ok bool) {
	unit, set, found := strings.Cut(value, "=")
	if !found || !httpfield.Equal(unit, "bytes") {
		return nil, false
	}
	specs := 0
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // an empty element of a list: 5.6.1.2
		}
		if specs++; specs > maxRanges {
			return nil, false
		}
		from, to, found := strings.Cut(spec, "-")
		first, firstOK := position(from)
		last, lastOK := position(to)
		switch {
		case !found, !firstOK && from != "", !lastOK && to != "", from == "" && to == "":
			return nil, false
		case from == "":
			// The last bytes, or all if there are fewer; the last none are no part.
			first, last = size-min(last, size), size-1
		case to == "":
			last = size - 1
		case last < first:
			return nil, false
		}
		if last = min(last, size-1); first <= last {
			parts = append(parts, byteRange{first, last})
		}
	}
	return parts, specs > 0
}

// position reads 1*DIGIT. What is beyond an int64 is beyond each file.
func position(s string) (n int64, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, s != ""
}

// plainRange returns r as [http.ServeContent] understands it for a file of that
// size: with a Range header of valid parts that the file has, with one that it
// has not, or without one. ServeContent itself takes signs for digits, overflows,
// answers 416 to what is to be ignored, and 206 with a negative range to a
// suffix of 0. r is not changed.
func plainRange(r *http.Request, size int64) *http.Request {
	values := r.Header["Range"]
	if values == nil {
		return r
	}
	var plain []byte
	if len(values) == 1 {
		parts, ok := parseRange(values[0], size)
		switch {
		case ok && len(parts) > 0:
			plain = append(plain, "bytes="...)
			for i, p := range parts {
				if i > 0 {
					plain = append(plain, ',')
				}
				plain = strconv.AppendInt(plain, p.first, 10)
				plain = append(plain, '-')
				plain = strconv.AppendInt(plain, p.last, 10)
			}
		case ok && size > 0:
			plain = append(strconv.AppendInt([]byte("bytes="), size, 10), '-')
		}
	}
	if len(values) == 1 && string(plain) == values[0] {
		return r
	}
	return withRange(r, string(plain))
}

// withRange returns a copy of r with that Range header, or without one.
func withRange(r *http.Request, value string) *http.Request {
	to := new(http.Request)
	*to = *r
	to.Header = maps.Clone(r.Header)
	if value == "" {
		delete(to.Header, "Range")
	} else {
		to.Header["Range"] = []string{value}
	}
	return to
}
