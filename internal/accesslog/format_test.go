package accesslog

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy/spdytest"
)

func sample() *Record {
	return &Record{
		Time: time.Date(2026, 11, 22, 13, 14, 15, 0, time.UTC), RequestID: "id1", Peer: netip.MustParseAddr("127.0.0.1"),
		Client: netip.MustParseAddr("192.0.2.7"), User: "anna", Method: "GET", Scheme: "https", Host: "films.example.org",
		URI: "/a?b=c", Proto: "HTTP/2.0", Referer: "https://x/", UserAgent: "curl/8", Origin: "films", Session: 3, Stream: 5,
		Priority: 2, Status: 200, BytesIn: 1, BytesOut: 1234, Headers: 1500 * time.Microsecond, Duration: 2 * time.Second, Resumed: 1,
	}
}

func TestCombined(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Record)
		want string
	}{
		{"plain", func(*Record) {}, `192.0.2.7 - anna [22/Nov/2026:13:14:15 +0000] "GET /a?b=c HTTP/2.0" 200 1234 "https://x/" "curl/8" films.example.org films 2000 id1`},
		{"nothing known", func(r *Record) {
			*r = Record{Time: r.Time, Method: "GET", URI: "/", Proto: "HTTP/1.0", Status: 503, Duration: 250 * time.Microsecond}
		},
			`- - - [22/Nov/2026:13:14:15 +0000] "GET / HTTP/1.0" 503 - "-" "-" - - 0.25 -`},
		{"what A may not write", func(r *Record) {
			r.User, r.URI, r.Referer, r.UserAgent, r.Host, r.Origin = "a b\n", "/\" 200 \\", "x\r\ny", "\x1b[31m\x00é\"", "x y\n", ""
		}, `192.0.2.7 - a\x20b\x0a [22/Nov/2026:13:14:15 +0000] "GET /\"\x20200\x20\\ HTTP/2.0" 200 1234 "x\x0d\x0ay" "\x1b[31m\x00\xc3\xa9\"" x\x20y\x0a - 2000 id1`},
	} {
		var out bytes.Buffer
		r := sample()
		test.edit(r)
		New(&out, Combined).Write(r)
		if got := out.String(); got != test.want+"\n" {
			t.Errorf("%s:\n got %swant %s", test.name, got, test.want)
		}
	}
}

func TestJSONLine(t *testing.T) {
	var out bytes.Buffer
	r := sample()
	r.UserAgent = "a\"\nb\xff"
	New(&out, JSON).Write(r)
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("not one line: %q", out.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"time": "2026-11-22T13:14:15Z", "id": "id1", "client": "192.0.2.7", "peer": "127.0.0.1", "user": "anna", "origin": "films", "session": 3.0, "stream": 5.0,
		"status": 200.0, "bytes_out": 1234.0, "headers_ms": 1.5, "duration_ms": 2000.0, "resumed": 1.0, "user_agent": "a\"\nb\ufffd",
	} {
		if got[key] != want {
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
	}
}

// A line is no longer than a few KiB, whatever the visitor's head holds.
func TestAccessLogLineIsBounded(t *testing.T) {
	long := strings.Repeat("\xff", 60<<10)
	r := &Record{Method: long, Host: long, URI: long, Referer: long, UserAgent: long, User: long}
	for _, format := range []Format{Combined, JSON} {
		var b bytes.Buffer
		New(&b, format).Write(r)
		if line := b.String(); len(line) > 64<<10 || strings.Count(line, "...") < 5 {
			t.Errorf("format %v: a line of %d bytes, which tells of %d texts that they were cut; want 64 KiB at most, and 5", format, len(line), strings.Count(line, "..."))
		}
	}
	if r.URI != long {
		t.Error("the record has changed")
	}
}

func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){"line": BenchmarkCombined})
}

// The line of a browser's request.
func BenchmarkCombined(b *testing.B) {
	r := sample()
	r.UserAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	r.Referer = "https://films.example.org/a/page/that/has/a/path/of/its/own?and=a&query=too"
	l := New(io.Discard, Combined)
	b.ReportAllocs()
	for b.Loop() {
		l.Write(r)
	}
}
