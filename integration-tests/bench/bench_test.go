package main

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPattern(t *testing.T) {
	p := newPattern()
	const size = 3*period + 100
	var body bytes.Buffer
	if err := p.writeTo(&body, size); err != nil {
		t.Fatal(err)
	}
	b := body.Bytes()
	if len(b) != size {
		t.Fatalf("%d bytes, want %d", len(b), size)
	}
	// Pieces of odd lengths, some longer than a period.
	for at, n := 0, 1; at < size; at, n = at+n, n*3+1 {
		n = min(n, size-at)
		if err := p.check(b[at:at+n], int64(at)); err != nil {
			t.Errorf("%d bytes at %d: %v", n, at, err)
		}
	}
	for _, tt := range []struct {
		name string
		got  []byte
		at   int64
	}{
		{"a byte changed", func() []byte { c := bytes.Clone(b); c[2*period+7] ^= 1; return c }(), 0},
		{"16 KiB lost", append(bytes.Clone(b[:20000]), b[20000+16<<10:]...), 0},
		{"16 KiB twice", append(bytes.Clone(b[:40000]), b[40000-16<<10:]...), 0},
		{"two records changed places", append(append(bytes.Clone(b[:16<<10]), b[32<<10:48<<10]...), b[16<<10:32<<10]...), 0},
		{"zeros", make([]byte, 100), 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := p.check(tt.got, tt.at)
			if _, ok := errors.AsType[*wrongBodyError](err); !ok {
				t.Errorf("got %v, want a wrong body", err)
			}
		})
	}
}

func TestQuantiles(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, tt := range []struct {
		list []int
		q    float64
		want int
	}{
		{hundred, 0.99, 99}, {hundred, 0.5, 50}, {hundred, 1, 100}, {hundred, 0, 1},
		{[]int{7}, 0.99, 7}, {[]int{1, 2, 3}, 0.5, 2}, {nil, 0.5, 0},
	} {
		if got := quantile(tt.list, tt.q); got != tt.want {
			t.Errorf("quantile(%d elements, %v) is %d, want %d", len(tt.list), tt.q, got, tt.want)
		}
	}
	for _, tt := range []struct {
		list []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1}, 2.5}, {[]float64{5}, 5}} {
		if got := median(tt.list); got != tt.want {
			t.Errorf("median(%v) is %v, want %v", tt.list, got, tt.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v, want NaN", got)
	}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {0.123, "0.12"}, {9.876, "9.88"}, {45.67, "45.7"}, {456.7, "457"}, {999.7, "1000"},
		{12345.6, "12 346"}, {1234567, "1 234 567"}, {math.NaN(), "-"}, {math.Inf(1), "-"},
	} {
		if got := number(tt.v); got != tt.want {
			t.Errorf("number(%v) is %q, want %q", tt.v, got, tt.want)
		}
	}
}

// fixture is an outcome in which the pair needs half of h2's CPU and is twice as fast in
// the first round and far from it in the last, nginx is not there, and hop failed.
func fixture() *outcome {
	o := &outcome{cells: map[string]map[string]*cell{}, missing: map[string]string{ngx: "nginx"}}
	for _, w := range workloads() {
		if w.name == "small" {
			o.workloads = append(o.workloads, w)
		}
	}
	for _, n := range []string{pair, h2, hop, ngx} {
		o.yardsticks = append(o.yardsticks, yardstick{name: n})
	}
	o.cells["small"] = map[string]*cell{
		pair: {samples: []sample{{20000, 50, 30, 20, 4}, {22000, 40, 30, 10, 5}, {1000, 4000, 30, 20, 6}}},
		h2:   {samples: []sample{{10000, 100, 60, 40, 8}, nil, {10000, 100, 60, 40, 8}}, failed: []string{"stuck"}},
		hop:  {samples: []sample{nil}, failed: []string{"stuck"}},
		ngx:  {},
	}
	return o
}

func TestTables(t *testing.T) {
	o := fixture()
	text := o.figures(false)
	for _, want := range []string{
		"|  | pair | h2 | hop | nginx |\n| --- | --- | --- | --- | --- |\n",
		"| 1 KiB GET, 64 connections, req/s | 20 000 | 10 000 (1.05) ! | failed | not here |\n",
		"| its CPU, both sides, us/req | 50 | 100 (20.25) ! | failed | not here |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table is\n%s\nwant in it\n%s", text, want)
		}
	}
	if strings.Contains(text, "p99") {
		t.Errorf("the table is\n%s\nwant the p99 in the other one", text)
	}
	text = o.reached()
	for _, want := range []string{
		"| small | 1 KiB GET, 64 connections | h2 | at least 2.2 | 1.05 | 0.10 to 2.00 | no |\n",
		"| small | its CPU, both sides | h2 | at most 0.45 | 20.25 | 0.50 to 40.00 | no |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the targets are\n%s\nwant in them\n%s", text, want)
		}
	}
	o.cells["small"][pair].samples = []sample{{22000, 45, 0, 0, 0}}
	if text = o.reached(); strings.Count(text, "| yes |") != 2 {
		t.Errorf("the targets are\n%s\nwant both reached", text)
	}
}

func TestAxis(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		ticks  []float64
	}{
		{"several powers", []float64{1, 40, 10_000}, []float64{1, 10, 100, 1000, 10_000}},
		{"within one", []float64{3100, 4900}, []float64{1000, 2000, 5000, 10_000}},
		{"one value, a power", []float64{100}, []float64{100, 200, 500, 1000}},
		{"below one", []float64{0.5, 3}, []float64{0.1, 1, 10}},
		{"none that has a place", []float64{0}, []float64{1, 2, 5, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAxis(tt.values, 200, 100)
			if !slices.EqualFunc(a.ticks, tt.ticks, func(a, b float64) bool { return math.Abs(a-b) < 1e-9*b }) {
				t.Errorf("ticks %v, want %v", a.ticks, tt.ticks)
			}
			if low, high := a.at(a.low), a.at(a.high); low != 200 || high != 100 {
				t.Errorf("the ends are at %v and %v, want 200 and 100", low, high)
			}
		})
	}
}

func TestGrowthChart(t *testing.T) {
	all := curves()
	for i := range all {
		for j := range all[i].points[1:] { // of the last point there is nothing
			all[i].points[j].samples = []sample{{100 * float64(j+1), 0, 30, 20}}
		}
	}
	picture := growthChart(all)
	circles := 0
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	// 4 and 3 points, of which rate and the two memories have a value to draw.
	if want := 4*3 + 3*3; circles != want {
		t.Errorf("%d points are drawn, want %d", circles, want)
	}
	if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
		t.Errorf("there is a place that is none in\n%s", picture)
	}
}

func TestGrowthTables(t *testing.T) {
	c := curves()[:1]
	c[0].points[0].samples = []sample{{1000, 2, 30, 20}}
	c[0].points[1].failed = []string{"stuck"}
	b := &bench{opts: &options{out: "x/y.md", rounds: 3}}
	text := b.growthTables(t.Context(), c, time.Now(), time.Minute)
	for _, want := range []string{"(y.svg)", "| 1 | 1 000 | 2 | 30 | 20 |\n", "| 10 | failed | failed | failed | failed |\n", "\n10 failed in a round: stuck\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables are\n%s\nwant in them %q", text, want)
		}
	}
}

// Each target names a figure that there is, and is about what its row says.
func TestTargets(t *testing.T) {
	found := map[string]workload{}
	for _, w := range workloads() {
		found[w.name] = w
	}
	for _, target := range targets() {
		w, ok := found[target.workload]
		if !ok || target.figure >= len(w.figures) {
			t.Errorf("%+v: there is no such figure", target)
			continue
		}
		if f := w.figures[target.figure]; f.more || f.less != (target.ratio < 0.9) {
			t.Errorf("%+v is about %q", target, f.title)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--growth", "--only", "small"}, {"--only", "nothing"}, {"--against", "nobody"}, {"--rounds", "0"}, {"extra"}, {"--no-such-flag"},
	} {
		var stderr strings.Builder
		if status := run(t.Context(), args, nil, io.Discard, &stderr); status != 2 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v: status %d, standard error %q; want 2 and one line", args, status, stderr.String())
		}
	}
	var help strings.Builder
	if status := run(t.Context(), []string{"--help"}, nil, &help, io.Discard); status != 0 || !strings.Contains(help.String(), "--quick") {
		t.Errorf("--help: status %d, %q", status, help.String())
	}
}

// answered is a client whose connection brings what the peer writes.
func answered(t *testing.T, text string) *client {
	t.Helper()
	near, away := net.Pipe()
	done := make(chan struct{})
	// Ends when text is written or the client closes; the test waits for it.
	go func() {
		defer close(done)
		defer away.Close()
		if _, err := http.ReadRequest(bufio.NewReader(away)); err == nil {
			io.WriteString(away, text)
		}
	}()
	t.Cleanup(func() { near.Close(); <-done })
	return &client{conn: near, pattern: newPattern(), buf: make([]byte, 1000)}
}

func TestClient(t *testing.T) {
	var body strings.Builder
	newPattern().writeTo(&body, 5000)
	const head = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-Length: 5000\r\n\r\n"
	for _, tt := range []struct {
		name, answer string
		wrong, fails bool
	}{
		{"right", head + body.String(), false, false},
		{"short", head + body.String()[:4999], true, true},
		{"other bytes", head + strings.Replace(body.String(), body.String()[2000:2010], "0123456789", 1), true, true},
		{"other length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body.String()[:5], true, true},
		{"an error", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false, true},
		{"nothing", "", false, true},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n" + body.String(), false, true},
		{"a long head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := 0
			err := answered(t, tt.answer).get(getRequest("x", "/"), 5000, func(n int) { got += n })
			if _, wrong := errors.AsType[*wrongBodyError](err); wrong != tt.wrong || (err != nil) != tt.fails {
				t.Errorf("got %v; want an error: %v, about the body: %v", err, tt.fails, tt.wrong)
			}
			if err == nil && got != 5000 {
				t.Errorf("was told of %d bytes, want 5000", got)
			}
		})
	}
}

// The load's digest of an upload is what the origin finds.
func TestUploadDigest(t *testing.T) {
	p := newPattern()
	const size = 100_000
	var body bytes.Buffer
	p.writeTo(&body, size)
	w := httptest.NewRecorder()
	origin(t.TempDir()).ServeHTTP(w, httptest.NewRequest("POST", "/upload", &body))
	if got, want := w.Header().Get("X-Received-Digest"), digestOf(p, size); w.Code != 200 || got != want {
		t.Errorf("got %d and %q, want 200 and %q", w.Code, got, want)
	}
	if got := w.Header().Get("X-Received-Length"); got != "100000" {
		t.Errorf("got a length of %q, want 100000", got)
	}
}
