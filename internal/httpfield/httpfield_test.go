package httpfield

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestEndToEnd(t *testing.T) {
	h := http.Header{
		"Connection": {"close, x-one ,\tX-TWO,,Te", "via"},
		"Keep-Alive": {"1"}, "Proxy-Connection": {"1"}, "Te": {"1"}, "Trailer": {"1"}, "Transfer-Encoding": {"1"}, "Upgrade": {"1"},
		"Proxy-Authenticate": {"1"}, "Proxy-Authorization": {"1"},
		"X-One": {"1"}, "X-Two": {"1"}, "Via": {"1"}, "Close": {"1"},
		"X-Three": {"1"}, "Cookie": {"1"}, "Proxy-Authentication-Info": {"1"},
	}
	got := maps.Collect(EndToEnd(h))
	want := []string{"Cookie", "Proxy-Authentication-Info", "X-Three"}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
	for range EndToEnd(h) {
		break // an early end is taken
	}
}

func TestTrailers(t *testing.T) {
	h := http.Header{"Connection": {"close, x-one", "X-Other"}}
	trailer := http.Header{"X-One": {"1"}, "X-Two": {"2"}, "X-Three": nil, "Content-Length": {"3"}}
	got := maps.Collect(Trailers(h, trailer))
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, []string{"X-Three", "X-Two"}) || !slices.Equal(got["X-Two"], []string{"2"}) {
		t.Errorf("got %q, want X-Two and X-Three", got)
	}
	for range Trailers(h, trailer) {
		break
	}
}

func TestNamed(t *testing.T) {
	fields := http.Header{"Cookie": nil, "X-A": nil, "Keep-Alive": nil, "Te": nil}
	for _, test := range []struct {
		connection []string
		want       string
	}{
		{nil, ""},
		{[]string{"close"}, ""},
		{[]string{"keep-alive, Close, Upgrade, TE, x-b"}, ""},
		{[]string{"cookie", " x-a\t, x-a"}, "Cookie X-A"},
		{[]string{",,"}, ""},
		{[]string{"\u00a0x-a"}, ""}, // no white space of HTTP's
	} {
		keys := named(http.Header{"Connection": test.connection}, fields)
		if got := strings.Join(slices.Sorted(maps.Keys(keys)), " "); got != test.want || (keys == nil) != (test.want == "") {
			t.Errorf("Connection %q names %q, want %q", test.connection, got, test.want)
		}
	}
}

func TestTrailer(t *testing.T) {
	for _, name := range []string{"X-A", "x-a", "Etag", "Server-Timing", "Content-Digest", "Digest", "Grpc-Status", "Authentication-Info"} {
		if !Trailer(name) {
			t.Errorf("%q may not be a trailer", name)
		}
	}
	for _, name := range []string{
		// Of one connection.
		"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		// Where the message ends, and where it goes.
		"Content-Length", "content-length", "Host", "Via", "Max-Forwards",
		// Who may.
		"Authorization", "Proxy-Authenticate", "Proxy-Authorization", "Www-Authenticate", "Cookie", "Set-Cookie",
		// What was asked for, and how.
		"Expect", "Range", "If-Match", "If-Range", "Priority", "Cache-Control", "Pragma",
		// What the body is.
		"Content-Type", "Content-Encoding", "Content-Range",
		// No name at all.
		"", ":path", "X A", "X-A\r\nB", "ü",
	} {
		if Trailer(name) {
			t.Errorf("%q may be a trailer", name)
		}
	}
}

func TestIsTarget(t *testing.T) {
	for s, want := range map[string]bool{
		"/": true, "*": true, "/a/../%7e?x=%zz&&+": true, "/é\xff\"<>^`{|}\\": true, "http://a/": true,
		"/a b": false, "/a ": false, " /": false, "/\t": false, "/\x00": false, "/\x7f": false, "/a#b": false, "/a?b#": false, "/\r\n": false,
	} {
		if got := IsTarget(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestHasToken(t *testing.T) {
	for _, test := range []struct {
		lists []string
		want  bool
	}{
		{nil, false},
		{[]string{"upgrade"}, true},
		{[]string{"close", "a, \tUpGrade\t ,b"}, true},
		{[]string{"upgrades", "up grade", ""}, false},
		{[]string{"upgrade;q=1"}, false},
		// Neither Unicode's white space nor its cases are HTTP's.
		{[]string{"\u00a0upgrade"}, false},
		{[]string{"\vupgrade"}, false},
	} {
		if got := HasToken(test.lists, "upgrade"); got != test.want {
			t.Errorf("%q holds upgrade: %v, want %v", test.lists, got, test.want)
		}
	}
	if HasToken([]string{"websoc\u212aet"}, "websocket") {
		t.Error("the kelvin sign is a k")
	}
}

func TestEqual(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"chunked", "CHUNKED", true}, {"close", "Close", true}, {"a", "", false}, {"[", "{", false}, {"@", "`", false},
		{"chunked", "chun\u212aed", false}, {"close", "clo\u017fe", false}, {"\xff", "\xff", true},
	} {
		if got := Equal(test.a, test.b); got != test.want {
			t.Errorf("Equal(%q, %q): got %t", test.a, test.b, got)
		}
	}
}
