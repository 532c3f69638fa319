package serve

import (
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

const digits = "0123456789"

// parts returns what a whole answer or one of parts holds, each with its Content-Range.
func parts(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	kind, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if kind != "multipart/byteranges" {
		return strings.TrimSpace(w.Header().Get("Content-Range") + " " + w.Body.String())
	}
	var got []string
	reader := multipart.NewReader(w.Body, params["boundary"])
	for {
		p, err := reader.NextPart()
		if err == io.EOF {
			return strings.Join(got, "|")
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		got = append(got, p.Header.Get("Content-Range")+" "+string(b))
	}
}

// The grammar of RFC 9110, 14.1 and 14.2, and what breaks it.
func TestRangeGrammar(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", digits, "empty", "")
	h := newHandler(t, Config{Root: root})
	setClock(h, 1e15)
	const whole = "200 " + digits
	for _, tc := range []struct{ value, want string }{
		{"bytes=0-3", "206 bytes 0-3/10 0123"},
		{"bytes=7-", "206 bytes 7-9/10 789"},
		{"bytes=-2", "206 bytes 8-9/10 89"},
		{"bytes=-99", "206 bytes 0-9/10 " + digits},
		{"bytes=5-99", "206 bytes 5-9/10 56789"},
		{"bytes=0-0,-1", "206 bytes 0-0/10 0|bytes 9-9/10 9"},
		{"bytes=4-5, 1-1", "206 bytes 4-5/10 45|bytes 1-1/10 1"},
		{"bytes=0-1,20-30", "206 bytes 0-1/10 01"},
		{"bytes=000000000000000000000000000003-4", "206 bytes 3-4/10 34"},

		// 14.1: units in any case. 14.2: one that is not known is ignored.
		{"Bytes=0-3", "206 bytes 0-3/10 0123"},
		{"BYTES=-1", "206 bytes 9-9/10 9"},
		{"items=0-3", whole}, {"seconds=1-", whole}, {"byte=0-1", whole}, {"none=0-1", whole}, {"=0-1", whole}, {"0-1", whole},

		// 5.6.1.2: empty elements of a list, and white space around its elements.
		{"bytes=,0-1,", "206 bytes 0-1/10 01"},
		{"bytes= 0-1 ,\t3-4", "206 bytes 0-1/10 01|bytes 3-4/10 34"},
		{"bytes=, ,,", whole}, {"bytes=", whole},

		// 14.1.1: beyond each number that a machine has.
		{"bytes=5-9223372036854775807", "206 bytes 5-9/10 56789"},
		{"bytes=5-9223372036854775808", "206 bytes 5-9/10 56789"},
		{"bytes=5-99999999999999999999999999", "206 bytes 5-9/10 56789"},
		{"bytes=-99999999999999999999999999", "206 bytes 0-9/10 " + digits},

		// 14.1.2: none of these is satisfiable.
		{"bytes=10-", "416 bytes */10"}, {"bytes=10-20", "416 bytes */10"}, {"bytes=-0", "416 bytes */10"}, {"bytes=-000", "416 bytes */10"},
		{"bytes=99999999999999999999999999-", "416 bytes */10"}, {"bytes=-0,20-", "416 bytes */10"},
		{"bytes=-0,0-0", "206 bytes 0-0/10 0"},

		// Not valid: ignored.
		{"bytes=3-1", whole}, {"bytes=0-1,3-1", whole}, {"bytes=a-b", whole}, {"bytes=1", whole}, {"bytes=-", whole}, {"bytes=--1", whole}, {"bytes=-+1", whole},
		{"bytes=+0-1", whole}, {"bytes=0-+1", whole}, {"bytes=0 -1", whole}, {"bytes=0- 1", whole}, {"bytes =0-1", whole}, {" bytes=0-1", whole}, {"bytes=0-1-2", whole},
		{"bytes=0x1-2", whole}, {"bytes=1.0-2", whole}, {"bytes=0-1;2-3", whole}, {"bytes=\u0661-", whole}, {"bytes==0-1", whole}, {"", whole},

		// 14.2: more than there is, or than anybody needs.
		{"bytes=0-8,1-9", whole}, {"bytes=0-0" + strings.Repeat(",1-1", maxRanges), whole},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := httptest.NewRequest(method, "/a.txt", nil)
			r.Header.Set("Range", tc.value)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if want, _, _ := strings.Cut(tc.want, " "); fmt.Sprint(w.Code) != want {
				t.Errorf("%s, %q: %d, want %s", method, tc.value, w.Code, want)
			} else if method == "GET" && !strings.HasPrefix(fmt.Sprint(w.Code, " ", parts(t, w)), tc.want) {
				t.Errorf("%q: not %q", tc.value, tc.want)
			}
			if got := r.Header.Get("Range"); got != tc.value {
				t.Errorf("the request's own header became %q", got)
			}
		}
		// Nothing of an empty file can be named in Content-Range.
		r := httptest.NewRequest("GET", "/empty", nil)
		r.Header.Set("Range", tc.value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Range") != "" {
			t.Errorf("an empty file, %q: %d, Content-Range %q, want 200 and none", tc.value, w.Code, w.Header().Get("Content-Range"))
		}
	}
	r := httptest.NewRequest("GET", "/a.txt", nil)
	r.Header["Range"] = []string{"bytes=0-1", "bytes=3-4"}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 || w.Body.String() != digits {
		t.Errorf("two Range headers: %d, want both ignored", w.Code)
	}
}

var rangePattern = regexp.MustCompile(`^(?i:bytes)=[ \t]*(?:(?:[0-9]+-[0-9]*|-[0-9]+)?[ \t]*(?:,[ \t]*|$))*$`)

// simpleRanges is the rule in another way: by a pattern, and with numbers without end.
func simpleRanges(value string, size int64) (want []byteRange, ok bool) {
	if !rangePattern.MatchString(value) {
		return nil, false
	}
	specs := strings.FieldsFunc(value[len("bytes="):], func(c rune) bool { return strings.ContainsRune(", \t", c) })
	if len(specs) == 0 || len(specs) > maxRanges {
		return nil, false
	}
	end := big.NewInt(size - 1)
	for _, spec := range specs {
		from, to, _ := strings.Cut(spec, "-")
		first, _ := new(big.Int).SetString(from, 10)
		last, _ := new(big.Int).SetString(to, 10)
		switch {
		case first != nil && last != nil && first.Cmp(last) > 0:
			return nil, false
		case first == nil: // the last bytes
			first = new(big.Int).Sub(big.NewInt(size), last)
			if first.Sign() < 0 {
				first.SetInt64(0)
			}
			last = end
		case last == nil || last.Cmp(end) > 0:
			last = end
		}
		if first.Cmp(last) <= 0 {
			want = append(want, byteRange{first.Int64(), last.Int64()})
		}
	}
	return want, true
}

// FuzzRange compares parseRange with a second implementation, and what a
// visitor gets with what the header names.
func FuzzRange(f *testing.F) {
	root := f.TempDir()
	write(f, root, "a.txt", digits)
	h, err := New(Config{Root: root})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	for _, value := range []string{
		"bytes=0-3", "bytes=-0", "Bytes=1-", "items=0-1", "bytes=,1-2 ,\t-3", "bytes=5-9223372036854775808", "bytes=-99999999999999999999", "bytes=3-1", "bytes=+1-2",
	} {
		for _, size := range []int64{0, 1, 10, 1 << 62} {
			f.Add(value, size)
		}
	}
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return
		}
		got, ok := parseRange(value, size)
		want, wantOK := simpleRanges(value, size)
		if ok != wantOK || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q of %d: %v %t, want %v %t", value, size, got, ok, want, wantOK)
		}
		r := httptest.NewRequest("GET", "/a.txt", nil)
		r.Header.Set("Range", value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want, wantOK = simpleRanges(value, int64(len(digits)))
		var sum int64
		for _, p := range want {
			sum += p.last - p.first + 1
		}
		answer := ""
		switch {
		case !wantOK || sum > int64(len(digits)):
			if w.Code != http.StatusOK || w.Body.String() != digits {
				t.Fatalf("%q: %d %q, want all", value, w.Code, w.Body)
			}
			return
		case len(want) == 0:
			if w.Code != http.StatusRequestedRangeNotSatisfiable {
				t.Fatalf("%q: %d, want 416", value, w.Code)
			}
			return
		}
		for i, p := range want {
			if i > 0 {
				answer += "|"
			}
			answer += fmt.Sprintf("bytes %d-%d/%d %s", p.first, p.last, len(digits), digits[p.first:p.last+1])
		}
		if got := parts(t, w); w.Code != http.StatusPartialContent || got != answer {
			t.Fatalf("%q: %d %q, want %q", value, w.Code, got, answer)
		}
	})
}
