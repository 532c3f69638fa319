package accesslog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/oneline"
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

// slow formats a record by what the standard library has for it, which is what a line is
// written by hand for: it must be the same to the byte.
func slow(r *Record, format Format) string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	if format == JSON {
		client, peer := "", ""
		if r.Peer.IsValid() {
			client, peer = r.Client.String(), r.Peer.String()
		}
		line, err := json.Marshal(struct {
			Time      time.Time `json:"time"`
			ID        string    `json:"id"`
			Client    string    `json:"client"`
			Peer      string    `json:"peer"`
			User      string    `json:"user,omitempty"`
			Method    string    `json:"method"`
			Scheme    string    `json:"scheme"`
			Host      string    `json:"host"`
			URI       string    `json:"uri"`
			Proto     string    `json:"proto"`
			Referer   string    `json:"referer,omitempty"`
			UserAgent string    `json:"user_agent,omitempty"`
			Origin    string    `json:"origin,omitempty"`
			Session   uint64    `json:"session,omitempty"`
			Stream    uint32    `json:"stream,omitempty"`
			Priority  uint8     `json:"priority"`
			Status    int       `json:"status"`
			Reason    string    `json:"reason,omitempty"`
			Detail    string    `json:"detail,omitempty"`
			Aborted   bool      `json:"aborted,omitempty"`
			Upgraded  bool      `json:"upgraded,omitempty"`
			BytesIn   int64     `json:"bytes_in"`
			BytesOut  int64     `json:"bytes_out"`
			Headers   float64   `json:"headers_ms,omitempty"`
			Duration  float64   `json:"duration_ms"`
			Held      float64   `json:"held_ms,omitempty"`
			Replayed  int       `json:"replayed,omitempty"`
			Resumed   int       `json:"resumed,omitempty"`
		}{
			r.Time, r.RequestID, client, peer, r.User, r.Method, r.Scheme, r.Host, r.URI, r.Proto, r.Referer, r.UserAgent,
			r.Origin, r.Session, r.Stream, r.Priority, r.Status, r.Reason, r.Detail, r.Aborted, r.Upgraded, r.BytesIn, r.BytesOut,
			ms(r.Headers), ms(r.Duration), ms(r.Held), r.Replayed, r.Resumed,
		})
		if err != nil {
			panic(err)
		}
		return string(oneline.Append(nil, line)) + "\n"
	}
	escaped := func(s string, spaces bool) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			switch {
			case c == '"' || c == '\\':
				b.WriteString(`\` + string(rune(c)))
			case c < ' ' || c > '~' || c == ' ' && spaces:
				fmt.Fprintf(&b, `\x%02x`, c)
			default:
				b.WriteByte(c)
			}
		}
		return b.String()
	}
	word := func(s string) string { return escaped(cmp.Or(s, "-"), true) }
	client, size := "-", "-"
	if r.Client.IsValid() {
		client = r.Client.String()
	}
	if r.BytesOut != 0 {
		size = fmt.Sprint(r.BytesOut)
	}
	return fmt.Sprintf("%s - %s [%s] \"%s %s %s\" %d %s \"%s\" \"%s\" %s %s %s %s\n", client, word(r.User), r.Time.Format("02/Jan/2006:15:04:05 -0700"),
		escaped(r.Method, false), escaped(r.URI, true), escaped(r.Proto, false), r.Status, size, escaped(cmp.Or(r.Referer, "-"), false),
		escaped(cmp.Or(r.UserAgent, "-"), false), word(r.Host), word(r.Origin), strconv.FormatFloat(ms(r.Duration), 'f', -1, 64), word(r.RequestID))
}

func TestLinesAreThoseOfTheStandardLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	zones := []*time.Location{time.UTC, time.Local, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -3*3600)}
	texts := []string{
		"", "-", "/a?b=c&d=<e>", "plain", "a b", `"\`, "\x00\x01\b\f\n\r\t\x1b[31m\x7f", "\u0085\u009b31m\u2028\u2029\u202e\u2066\u061c", "\xff\xc3", "a\xe2\x80", "é€😀",
		"'`~", "0123456789abcdef0123456789abcdef", "\ufeff\ufffd",
	}
	addrs := []netip.Addr{
		{}, netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::1%eth0"),
	}
	durations := []time.Duration{
		0, 1, 999, 1000, 1001, 9999, 10 * time.Microsecond, 100 * time.Microsecond, 999999, time.Millisecond, 1010 * time.Microsecond, 1100 * time.Microsecond,
		time.Second, time.Minute + 7*time.Microsecond, 1000 * time.Hour, -time.Millisecond, -1500 * time.Microsecond, -1, 123456789 * time.Microsecond,
	}
	pick := func(n int) int { return random.IntN(n) }
	text := func() string { return texts[pick(len(texts))] + texts[pick(len(texts))] }
	now := time.Date(2026, 11, 22, 13, 14, 15, 0, time.UTC)
	for _, format := range []Format{Combined, JSON} {
		var out bytes.Buffer
		l := New(&out, format)
		for i := range 20000 {
			r := &Record{
				// Mostly the same second, and now and then one before, and fractions of all lengths.
				Time:      now.Add(time.Duration(i/50-pick(2)) * time.Second).Add(time.Duration(pick(1000) * []int{1, 1000, 1000000, 0, 100}[pick(5)])).In(zones[pick(len(zones))]),
				RequestID: text(), Peer: addrs[pick(len(addrs))], Client: addrs[pick(len(addrs))], User: text(), Method: text(), Scheme: "https", Host: text(),
				URI: text(), Proto: text(), Referer: text(), UserAgent: text(), Origin: text(), Session: uint64(pick(2)) * random.Uint64(), Stream: uint32(pick(2)) * random.Uint32(),
				Priority: uint8(pick(8)), Status: pick(600), Reason: text(), Detail: text(), Aborted: pick(2) == 0, Upgraded: pick(2) == 0,
				BytesIn: int64(pick(2)) * random.Int64(), BytesOut: int64(pick(2)) * random.Int64(), Headers: durations[pick(len(durations))],
				Duration: durations[pick(len(durations))], Held: durations[pick(len(durations))], Replayed: pick(3), Resumed: pick(3),
			}
			out.Reset()
			l.Write(r)
			if got, want := out.String(), slow(r, format); got != want {
				t.Fatalf("format %v:\n got %swant %s", format, got, want)
			}
		}
	}
}

// Each byte is written as the standard library has it, wherever it stands.
func TestEachByteEverywhere(t *testing.T) {
	for _, length := range []int{1, 7, 8, 9, 16, 19} {
		for at := range length {
			for c := range 256 {
				text := []byte(strings.Repeat("~", length))
				text[at] = byte(c)
				r := &Record{URI: string(text), UserAgent: string(text)}
				for _, format := range []Format{Combined, JSON} {
					if got, want := string(New(nil, format).append(nil, r)), slow(r, format); got != want {
						t.Fatalf("byte %#02x at %d of %d:\n got %swant %s", c, at, length, got, want)
					}
				}
			}
		}
	}
}

// A zone of an address is any text, and a proxy before P names addresses.
func TestZone(t *testing.T) {
	r := sample()
	r.Client = netip.MustParseAddr("fe80::1%a\" \n\u009bz")
	for format, want := range map[Format]string{
		Combined: `fe80::1%a\"\x20\x0a\xc2\x9bz - anna [`, JSON: `"client":"fe80::1%a\" \n\u009bz","peer":"127.0.0.1"`,
	} {
		var out bytes.Buffer
		New(&out, format).Write(r)
		if got := out.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%v: got %s, want %s in it", format, got, want)
		}
	}
}

// Requests of several seconds at once get each its own time.
func TestSecondsAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	l := New(io.Discard, JSON)
	for i := range 4 {
		wg.Go(func() {
			r := sample()
			for j := range 2000 {
				r.Time = time.Unix(int64(1000+j/100+i%2), 5)
				if got, want := string(l.append(nil, r)), slow(r, JSON); got != want {
					t.Errorf("got %swant %s", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){"line": BenchmarkCombined, "line of JSON": BenchmarkJSON})
}

// The line of a browser's request.
func BenchmarkCombined(b *testing.B) { benchmark(b, Combined) }

func BenchmarkJSON(b *testing.B) { benchmark(b, JSON) }

func benchmark(b *testing.B, format Format) {
	r := sample()
	r.UserAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	r.Referer = "https://films.example.org/a/page/that/has/a/path/of/its/own?and=a&query=too"
	l := New(io.Discard, format)
	b.ReportAllocs()
	for b.Loop() {
		l.Write(r)
	}
}
