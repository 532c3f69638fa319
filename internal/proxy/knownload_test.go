package proxy_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/html"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/policy"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The steady part of the load: so many requests a second, for so long that what is of the
// last minute, or smoothed, knows of nothing else.
const (
	steadySeconds = 130
	steadyEach    = 5
)

// startKnownLoad runs a pair whose visitors do what is known beforehand, to the millisecond: the
// clock is a bubble's. It returns a little after a whole second, with one request that is
// being answered, and one that is held.
func startKnownLoad(t *testing.T, f *files) *p {
	f.write("token", "good-token @ film music books limited\nother-token elsewhere\n")
	f.write("users", "anna:"+hash(t, "sesame")+"\n")
	held := new(tables)
	held.set(nil, policy.Table{Name: "limited", RequestsPerSecond: .001, Burst: 1, Htpasswd: f.path("users")})
	x := startP(t, f, func(c *proxy.Config) {
		c.Domains, c.ResponseTimeout, c.Policies, c.TrustedProxies = []string{"example.org"}, 2*time.Second, held.read, []string{"127.0.0.1/32"}
	})
	names := map[string]*c{}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	t.Cleanup(func() { close(release) })
	cut := false
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			time.Sleep(40 * time.Millisecond) // of the bubble's time, as all here
			w.Write(make([]byte, 1000))
		case "/up":
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		case "/moved":
			w.Header().Set("Location", "/ok")
			w.WriteHeader(http.StatusFound)
		case "/missing":
			http.Error(w, "gone", http.StatusNotFound)
		case "/late":
			<-r.Context().Done()
		case "/broken":
			w.Header().Set("Content-Length", "1000")
			w.Write(make([]byte, 400))
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
			panic(http.ErrAbortHandler)
		case "/socket":
			echo(w, r)
		case "/replayed", "/resumed":
			if r.URL.Path == "/resumed" {
				w.Header().Set("ETag", `"1"`)
			}
			if cut = !cut; cut {
				if r.URL.Path == "/resumed" {
					w.Header().Set("Content-Length", "3000")
					w.Write(make([]byte, 1000))
					http.NewResponseController(w).Flush()
				}
				time.Sleep(time.Second)
				names["music"].wire.cut()
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 3000)))
		case "/open":
			w.Write(make([]byte, 100))
			http.NewResponseController(w).Flush()
			arrived <- struct{}{}
			<-release
		}
	})
	start := func(name string) {
		names[name] = startC(t, x, h, func(c *agent.Config) { c.Name, c.Agent, c.Session.KeepAlive = name, "c/v9 test", time.Hour })
	}
	for _, name := range []string{"film", "music", "books", "limited"} {
		start(name)
	}
	refused := launchC(t, x, h, func(c *agent.Config) { c.Name = "elsewhere" }) // its token is another's
	x.log.wait("may not register", 1)
	refused.crash()
	rt := x.transport(nil, false)
	// ask sends a request, and returns its answer. Its id is its path.
	ask := func(host, method, path string, body []byte, edit func(*http.Request)) answer {
		return fetch(deadline(t), rt, method, x.url(path), bytes.NewReader(body), func(r *http.Request) {
			r.Host = host
			path, _, _ := strings.Cut(path, "?")
			for name, value := range map[string]string{"X-Request-Id": "id" + strings.ReplaceAll(path, "/", "-"), "X-Forwarded-For": "192.0.2.7", "User-Agent": "tester/1"} {
				r.Header.Set(name, value)
			}
			if edit != nil {
				edit(r)
			}
		})
	}
	forever := func(r *http.Request) { *r = *r.WithContext(context.Background()) }
	anna := func(r *http.Request) { r.SetBasicAuth("anna", "sesame") }

	// quiet is a time without requests: PINGs go after 15 s, and their answers come late.
	quiet := func(d time.Duration) {
		for _, late := range []time.Duration{5 * time.Millisecond, 0} {
			for _, c := range names {
				c.wire.delay(late)
			}
			if late > 0 {
				time.Sleep(d)
			}
		}
	}
	quiet(20 * time.Second)
	for _, c := range []struct {
		host, method, path string
		body               int
		edit               func(*http.Request)
		status             int
	}{
		{"film", "POST", "/up?key=word", 3000, nil, 201},
		{"film", "GET", "/moved", 0, nil, 302},
		{"film", "GET", "/missing", 0, nil, 404},
		{"film", "GET", "/missing", 0, nil, 404},
		{"film", "GET", "/late", 0, nil, 504},
		{"film", "GET", "/broken", 0, nil, 200},
		{"music", "GET", "/replayed", 0, nil, 200},
		{"music", "GET", "/resumed", 0, nil, 200},
		{"limited", "GET", "/ok", 0, nil, 401},
		{"limited", "GET", "/up", 0, anna, 201},
		{"limited", "GET", "/ok", 0, anna, 429},
		{"nobody", "GET", "/ok", 0, nil, 503},
	} {
		if c.host == "music" {
			quiet(11 * time.Second) // a C whose session has lasted dials at once when it has lost it
		}
		if a := ask(c.host+".example.org", c.method, c.path, make([]byte, c.body), c.edit); a.status != c.status {
			t.Errorf("%s %s %s: got %v, want %d", c.method, c.host, c.path, a, c.status)
		}
	}

	// A WebSocket: three seconds, and a message each way.
	ws, _, err := websocket.Dial(deadline(t), x.url("/socket"), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: rt}, Host: "film.example.org", HTTPHeader: http.Header{"X-Request-Id": {"id-socket"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := say(deadline(t), ws, websocket.MessageText, []byte("hello")); err != nil {
		t.Error(err)
	}
	time.Sleep(3 * time.Second)
	ws.Close(websocket.StatusNormalClosure, "")

	// music is away for three seconds, and one request waits for it.
	names["music"].crash()
	synctest.Wait() // P knows
	waits := make(chan answer)
	go func() { waits <- ask("music.example.org", "GET", "/ok", nil, nil) }() // ends with its answer, which is waited for
	time.Sleep(3 * time.Second)
	start("music")
	want(t, "held", <-waits, 200, "")

	go ask("film.example.org", "GET", "/open", nil, forever) // ends with release
	<-arrived
	// Half a second before a whole one each.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1500 * time.Millisecond)))
	for second := range steadySeconds {
		if second == steadySeconds-3 {
			names["books"].crash()
			// P knows, by reading: a request that came before would find it by writing.
			synctest.Wait()
			go ask("books.example.org", "GET", "/held", nil, forever) // ends with P
		}
		began := time.Now()
		for range steadyEach {
			ask("film.example.org", "GET", "/ok", nil, nil)
		}
		time.Sleep(time.Until(began.Add(time.Second)))
	}
	return x
}

// echo is a WebSocket that sends each message back.
func echo(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	for {
		kind, msg, err := ws.Read(r.Context())
		if err != nil || ws.Write(r.Context(), kind, msg) != nil {
			return
		}
	}
}

// TestKnownLoad compares each value that the admin port shows, on its pages, in its API, in its
// events and in its metrics, with what the load must have made of it.
func TestKnownLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startKnownLoad(t, f)
		for _, c := range knownValues {
			_, text := x.adminGet(c.path)
			wantValues(t, c.path, values(t, c.path, text), c.of, c.want)
		}
	})
}

// wantValues compares what a path shows with lines of "KEY = VALUE". One that ends in "*" has
// any end, and "~5" is nearly 5, for what is smoothed. What has no line must be nothing: a new value
// needs a line of its own.
func wantValues(t *testing.T, path string, got map[string]string, of, lines string) {
	t.Helper()
	looked, wanted := regexp.MustCompile("^(?:"+of+")"), map[string]bool{}
	for line := range strings.Lines(lines) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		wanted[key] = true
		g, shown := got[key]
		about, smooth := strings.CutPrefix(value, "~")
		if a, err := strconv.ParseFloat(about, 64); smooth && err == nil {
			if b, err := strconv.ParseFloat(g, 64); err == nil && math.Abs(a-b) < a/1000 {
				continue
			}
		}
		begin, open := strings.CutSuffix(value, "*")
		if !shown || g != value && !(open && strings.HasPrefix(g, begin)) {
			t.Errorf("%s: %s = %q, want %q", path, key, g, value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if looked.MatchString(key) && !wanted[key] && !slices.Contains([]string{"0", "0/s", "0 B/s", "-", ""}, got[key]) && strings.Trim(got[key], "0 ") != "" {
			t.Errorf("%s: %s = %s, which nothing is known of", path, key, got[key])
		}
	}
}

// values are what an answer of the admin port says: each of JSON's by its path, each series'
// of the metrics by its name and labels, and each text of a page by where it stands.
func values(t *testing.T, path, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	switch {
	case path == "/metrics":
		for line := range strings.Lines(text) {
			i, bucket := strings.LastIndexByte(line, ' '), strings.Contains(line, "_bucket{")
			if strings.HasPrefix(line, "spdy_proxy_") && !strings.HasPrefix(line, "spdy_proxy_build_info") && (!bucket || strings.Contains(line, `"film"`)) { // one's buckets will do
				found[strings.TrimPrefix(line[:i], "spdy_proxy_")] = strings.TrimSpace(line[i:])
			}
		}
	case strings.HasPrefix(path, "/api/"):
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		jsonValues(found, "", v)
	default:
		doc, err := html.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		pageValues(found, doc)
	}
	return found
}

func jsonValues(found map[string]string, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, of := range v {
			jsonValues(found, strings.TrimPrefix(key+"."+name, "."), of)
		}
	case []any:
		var numbers []string // together
		for i, of := range v {
			if n, ok := of.(json.Number); ok {
				numbers = append(numbers, n.String())
			} else {
				jsonValues(found, fmt.Sprintf("%s[%d]", key, i), of)
			}
		}
		if numbers != nil {
			found[key] = strings.Join(numbers, " ")
		}
	default:
		found[key] = fmt.Sprint(v)
	}
}

// pageValues notes a page's titles, facts, cells of rows, items of lists, and what is said of
// requests.
func pageValues(found map[string]string, doc *html.Node) {
	section, row, item := "", "", 0
	for n := range doc.Descendants() {
		class := attribute(n, "class")
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "section":
			section, item = attribute(n, "aria-label"), 0
		case n.Data == "title", n.Data == "h1", class == "chips", class == "why" && n.Data == "p":
			found[cmp.Or(class, n.Data)] = textOf(n)
		case class == "fact":
			for c := range n.ChildNodes() {
				if c.Data == "span" {
					found["fact "+textOf(c)] = strings.TrimSpace(strings.TrimPrefix(textOf(n), textOf(c)))
				}
			}
		case n.Data == "tr":
			row, item = attribute(n, "data-key"), item+1
		case n.Data == "th" && row != "":
			found[section+" "+row] = textOf(n)
		case n.Data == "td":
			found[section+" "+cmp.Or(row, fmt.Sprint(item))+" "+attribute(n, "data-name")] = textOf(n)
		case n.Data == "summary":
			found["request "+attribute(n.Parent.Parent, "data-key")] = textOf(n)
		case n.Data == "dt":
			found["request "+attribute(n.Parent.Parent.Parent.Parent, "data-key")+" "+textOf(n)] = strings.TrimSpace(strings.TrimPrefix(textOf(n.Parent), textOf(n)))
		case n.Data == "li" && attribute(n.Parent, "class") != "requests":
			found[fmt.Sprintf("%s[%d]", section, item)] = textOf(n)
			item++
		}
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf is what somebody reads of n, with single spaces.
func textOf(n *html.Node) string {
	var words []string
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			words = append(words, strings.Fields(c.Data)...)
		}
	}
	return strings.Join(words, " ")
}

// knownValues are what startKnownLoad makes of each value: of the answer of a path, or those of
// its keys that "of" matches, all but what is nothing. What an address in a folder of the
// test's is, how often PINGs went, and what came first of two things at one time, is left open.
var knownValues = []struct{ path, of, want string }{
	{"/api/v1/status", "[^c]|cert|conn|control|changes.[0-2]\\D", `
		certificates[0].days_left = *
		certificates[0].ends_soon = *
		certificates[0].from = *
		certificates[0].name = localhost
		certificates[0].not_after = *
		changes[0].origin = books
		changes[0].state = absent
		changes[0].time = 2000-01-01T00:03:01.5Z
		changes[0].why = spdy: connection lost: read pipe pipe-b->pipe-a: connection reset by peer
		changes[1].origin = music
		changes[1].state = connected
		changes[1].time = 2000-01-01T00:00:53Z
		changes[2].origin = music
		changes[2].state = absent
		changes[2].time = 2000-01-01T00:00:50Z
		changes[2].why = spdy: connection lost: *
		connections.open = 3
		control = 127.0.0.1:1
		front = 127.0.0.1:2
		now = 2000-01-01T00:03:04.5Z
		origins.absent = 2
		origins.connected = 3
		origins.refused = 1
		ready = true
		refusals[0].kind = not_allowed
		refusals[0].origin = elsewhere
		refusals[0].remote = 127.0.0.1:9
		refusals[0].status = 403
		refusals[0].time = 2000-01-01T00:00:00Z
		refusals[0].why = this token may not register "elsewhere"
		refused.not_allowed = 1
		requests.bytes_out_per_second = 5000
		requests.held = 1
		requests.open = 2
		requests.p50_ms = 35
		requests.p99_ms = 39.9
		requests.requests_per_second = 5
		requests.serving = 1
		sessions = 3
		started = 2000-01-01T00:00:00Z
		version = test
	`},
	{"/api/v1/status?series=24h", "series", `
		series.end = 2000-01-01T00:03:00Z
		series.errors = 0.05 0 0
		series.held = 1 0 0
		series.in = 50.316666 0 0
		series.open = 1 1 1
		series.out = 625.35 5000 5000
		series.p50_ms = 35.333332 35 35
		series.p99_ms = 3680 39.9 39.9
		series.requests = 0.73333335 5 5
		series.step_s = 60
	`},
	{"/api/v1/origins?q=film", "", `
		matched = 1
		origins[0].bytes_in = 3019
		origins[0].bytes_out = 650521
		origins[0].bytes_out_per_second = ~5000
		origins[0].classes.1xx = 1
		origins[0].classes.2xx = 651
		origins[0].classes.3xx = 1
		origins[0].classes.4xx = 2
		origins[0].classes.5xx = 1
		origins[0].classes.aborted = 1
		origins[0].errors = 2
		origins[0].in_flight = 1
		origins[0].name = film
		origins[0].p50_ms = 35
		origins[0].p99_ms = 39.9
		origins[0].requests = 657
		origins[0].requests_per_second = ~5
		origins[0].round_trip_age_ms = 146495
		origins[0].round_trip_ms = 5
		origins[0].sessions[0].agent = c/v9 test
		origins[0].sessions[0].bytes_in = 3019
		origins[0].sessions[0].bytes_out = 650521
		origins[0].sessions[0].frames_in = *
		origins[0].sessions[0].frames_out = *
		origins[0].sessions[0].id = 1
		origins[0].sessions[0].in_flight = 1
		origins[0].sessions[0].instance = *
		origins[0].sessions[0].max_streams = 10000
		origins[0].sessions[0].measured = 2000-01-01T00:00:38.005Z
		origins[0].sessions[0].remote = 127.0.0.1:5
		origins[0].sessions[0].resets = 2
		origins[0].sessions[0].round_trip_ms = 5
		origins[0].sessions[0].since = 2000-01-01T00:00:00Z
		origins[0].sessions[0].streams = 658
		origins[0].sessions[0].window = 1048576
		origins[0].sessions_started = 1
		origins[0].since = 2000-01-01T00:00:00Z
		origins[0].state = connected
		origins[0].urls[0] = http://film.example.org:2/
		page = 1
		per_page = 50
		states.absent = 2
		states.connected = 3
		states.refused = 1
		total = 6
	`},
	{"/api/v1/origins/film", "recent|changes|frames.0..(session|frames.255.)", `
		changes[0].origin = film
		changes[0].state = connected
		changes[0].time = 2000-01-01T00:00:00Z
		frames[0].frames[255].flags = 1
		frames[0].frames[255].length = 1000
		frames[0].frames[255].sent = false
		frames[0].frames[255].stream = 1315
		frames[0].frames[255].time = 2000-01-01T00:03:03.7Z
		frames[0].frames[255].type = DATA
		frames[0].session = 1
		recent = 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 6 0 0 0 0 0 1 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25
	`},
	{"/api/v1/origins/elsewhere", "", `
		last_refusal.kind = not_allowed
		last_refusal.origin = elsewhere
		last_refusal.remote = 127.0.0.1:9
		last_refusal.status = 403
		last_refusal.time = 2000-01-01T00:00:00Z
		last_refusal.why = this token may not register "elsewhere"
		name = elsewhere
		since = 2000-01-01T00:00:00Z
		state = refused
		urls[0] = http://elsewhere.example.org:2/
		why = this token may not register "elsewhere"
	`},
	{"/api/v1/origins/books", "[^c]|classes|changes.0.", `
		changes[0].origin = books
		changes[0].state = absent
		changes[0].time = 2000-01-01T00:03:01.5Z
		changes[0].why = spdy: connection lost: read pipe pipe-b->pipe-a: connection reset by peer
		name = books
		sessions_ended = 1
		sessions_started = 1
		since = 2000-01-01T00:03:01.5Z
		state = absent
		urls[0] = http://books.example.org:2/
		why = spdy: connection lost: read pipe pipe-b->pipe-a: connection reset by peer
	`},
	{"/api/v1/origins/music", "[^cf]|classes", `
		bytes_out = 7000
		classes.2xx = 3
		name = music
		recent = 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
		replayed = 1
		requests = 3
		resumed = 1
		round_trip_age_ms = 11460
		sessions[0].agent = c/v9 test
		sessions[0].bytes_out = 1000
		sessions[0].frames_in = *
		sessions[0].frames_out = *
		sessions[0].id = 7
		sessions[0].instance = *
		sessions[0].max_streams = 10000
		sessions[0].measured = 2000-01-01T00:02:53.04Z
		sessions[0].remote = 127.0.0.1:15
		sessions[0].since = 2000-01-01T00:00:53Z
		sessions[0].streams = 1
		sessions[0].window = 1048576
		sessions_ended = 3
		sessions_started = 4
		since = 2000-01-01T00:00:53Z
		state = connected
		urls[0] = http://music.example.org:2/
	`},
	{"/api/v1/origins/limited", "[^cf]|classes", `
		classes.2xx = 1
		classes.4xx = 2
		name = limited
		recent = 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
		requests = 3
		round_trip_age_ms = 2500
		sessions[0].agent = c/v9 test
		sessions[0].frames_in = *
		sessions[0].frames_out = *
		sessions[0].id = 4
		sessions[0].instance = *
		sessions[0].max_streams = 10000
		sessions[0].measured = 2000-01-01T00:03:02Z
		sessions[0].remote = 127.0.0.1:8
		sessions[0].since = 2000-01-01T00:00:00Z
		sessions[0].streams = 1
		sessions[0].window = 1048576
		sessions_started = 1
		since = 2000-01-01T00:00:00Z
		state = connected
		urls[0] = http://limited.example.org:2/
	`},
	{"/api/v1/requests?q=id-up", "", `
		requests[0].class = 2xx
		requests[0].client = 192.0.2.7
		requests[0].host = limited.example.org
		requests[0].id = id-up
		requests[0].method = GET
		requests[0].origin = limited
		requests[0].proto = HTTP/1.1
		requests[0].scheme = http
		requests[0].seq = 10
		requests[0].session = 4
		requests[0].status = 201
		requests[0].stream = 1
		requests[0].target = /up
		requests[0].time = 2000-01-01T00:00:47Z
		requests[0].user = anna
		requests[0].user_agent = tester/1
		requests[1].bytes_in = 3000
		requests[1].class = 2xx
		requests[1].client = 192.0.2.7
		requests[1].host = film.example.org
		requests[1].id = id-up
		requests[1].method = POST
		requests[1].origin = film
		requests[1].proto = HTTP/1.1
		requests[1].scheme = http
		requests[1].seq = 1
		requests[1].session = 1
		requests[1].status = 201
		requests[1].stream = 1
		requests[1].target = /up?key=*
		requests[1].time = 2000-01-01T00:00:20Z
		requests[1].user_agent = tester/1
	`},
	{"/api/v1/requests?status=5xx", "", `
		requests[0].bytes_out = 56
		requests[0].class = 5xx
		requests[0].client = 192.0.2.7
		requests[0].detail = origin nobody is not connected
		requests[0].failed = true
		requests[0].host = nobody.example.org
		requests[0].id = id-ok
		requests[0].method = GET
		requests[0].origin = nobody
		requests[0].proto = HTTP/1.1
		requests[0].reason = destination_unavailable
		requests[0].scheme = http
		requests[0].seq = 12
		requests[0].status = 503
		requests[0].target = /ok
		requests[0].time = 2000-01-01T00:00:47Z
		requests[0].user_agent = tester/1
		requests[1].bytes_out = 43
		requests[1].class = 5xx
		requests[1].client = 192.0.2.7
		requests[1].detail = no response within 2s
		requests[1].duration_ms = 2000
		requests[1].failed = true
		requests[1].host = film.example.org
		requests[1].id = id-late
		requests[1].method = GET
		requests[1].origin = film
		requests[1].proto = HTTP/1.1
		requests[1].reason = http_response_timeout
		requests[1].scheme = http
		requests[1].seq = 5
		requests[1].session = 1
		requests[1].status = 504
		requests[1].stream = 9
		requests[1].target = /late
		requests[1].time = 2000-01-01T00:00:20Z
		requests[1].user_agent = tester/1
	`},
	{"/api/v1/requests?q=id-broken", "", `
		requests[0].bytes_out = 400
		requests[0].class = aborted
		requests[0].client = 192.0.2.7
		requests[0].detail = the origin reset the stream with INTERNAL_ERROR
		requests[0].duration_ms = 1000
		requests[0].failed = true
		requests[0].host = film.example.org
		requests[0].id = id-broken
		requests[0].method = GET
		requests[0].origin = film
		requests[0].proto = HTTP/1.1
		requests[0].reason = http_response_incomplete
		requests[0].scheme = http
		requests[0].seq = 6
		requests[0].session = 1
		requests[0].status = 200
		requests[0].stream = 11
		requests[0].target = /broken
		requests[0].time = 2000-01-01T00:00:22Z
		requests[0].user_agent = tester/1
	`},
	{"/api/v1/requests?origin=music", "", `
		requests[0].bytes_out = 1000
		requests[0].class = 2xx
		requests[0].client = 192.0.2.7
		requests[0].duration_ms = 3040
		requests[0].headers_ms = 3040
		requests[0].held_ms = 3000
		requests[0].host = music.example.org
		requests[0].id = id-ok
		requests[0].method = GET
		requests[0].opened_ms = 3000
		requests[0].origin = music
		requests[0].proto = HTTP/1.1
		requests[0].scheme = http
		requests[0].seq = 14
		requests[0].session = 7
		requests[0].status = 200
		requests[0].stream = 1
		requests[0].target = /ok
		requests[0].time = 2000-01-01T00:00:50Z
		requests[0].user_agent = tester/1
		requests[1].attempts[0].after_ms = 1000
		requests[1].attempts[0].session = 5
		requests[1].attempts[0].stream = 3
		requests[1].attempts[0].why = spdy: connection lost: *
		requests[1].bytes_out = 3000
		requests[1].class = 2xx
		requests[1].client = 192.0.2.7
		requests[1].duration_ms = 1000
		requests[1].host = music.example.org
		requests[1].id = id-resumed
		requests[1].method = GET
		requests[1].origin = music
		requests[1].proto = HTTP/1.1
		requests[1].resumed = 1
		requests[1].scheme = http
		requests[1].seq = 8
		requests[1].session = 6
		requests[1].status = 200
		requests[1].stream = 1
		requests[1].target = /resumed
		requests[1].time = 2000-01-01T00:00:46Z
		requests[1].user_agent = tester/1
		requests[2].attempts[0].after_ms = 1000
		requests[2].attempts[0].session = 2
		requests[2].attempts[0].stream = 1
		requests[2].attempts[0].why = spdy: connection lost: *
		requests[2].bytes_out = 3000
		requests[2].class = 2xx
		requests[2].client = 192.0.2.7
		requests[2].duration_ms = 1000
		requests[2].headers_ms = 1000
		requests[2].host = music.example.org
		requests[2].id = id-replayed
		requests[2].method = GET
		requests[2].opened_ms = 1000
		requests[2].origin = music
		requests[2].proto = HTTP/1.1
		requests[2].replayed = 1
		requests[2].scheme = http
		requests[2].seq = 7
		requests[2].session = 5
		requests[2].status = 200
		requests[2].stream = 1
		requests[2].target = /replayed
		requests[2].time = 2000-01-01T00:00:34Z
		requests[2].user_agent = tester/1
	`},
	{"/api/v1/requests?q=id-socket", "", `
		requests[0].bytes_in = 19
		requests[0].bytes_out = 11
		requests[0].class = 1xx
		requests[0].client = 127.0.0.1
		requests[0].duration_ms = 3000
		requests[0].host = film.example.org
		requests[0].id = id-socket
		requests[0].method = GET
		requests[0].origin = film
		requests[0].proto = HTTP/1.1
		requests[0].scheme = http
		requests[0].seq = 13
		requests[0].session = 1
		requests[0].status = 101
		requests[0].stream = 13
		requests[0].target = /socket
		requests[0].time = 2000-01-01T00:00:47Z
		requests[0].upgraded = true
		requests[0].user_agent = Go-http-client/1.1
	`},
	{"/api/v1/requests?status=429", "", `
		requests[0].bytes_out = 56
		requests[0].class = 4xx
		requests[0].client = 192.0.2.7
		requests[0].detail = too many requests to this origin
		requests[0].host = limited.example.org
		requests[0].id = id-ok
		requests[0].method = GET
		requests[0].origin = limited
		requests[0].proto = HTTP/1.1
		requests[0].reason = http_request_denied
		requests[0].refused = rate
		requests[0].scheme = http
		requests[0].seq = 11
		requests[0].status = 429
		requests[0].target = /ok
		requests[0].time = 2000-01-01T00:00:47Z
		requests[0].user = anna
		requests[0].user_agent = tester/1
	`},
	{"/api/v1/requests?q=id-open&open=1", "", `
		open[0].client = 192.0.2.7
		open[0].duration_ms = 131460
		open[0].host = film.example.org
		open[0].id = id-open
		open[0].method = GET
		open[0].origin = film
		open[0].phase = is answered
		open[0].proto = HTTP/1.1
		open[0].scheme = http
		open[0].target = /open
		open[0].time = 2000-01-01T00:00:53.04Z
		open[0].user_agent = tester/1
	`},
	{"/api/v1/requests?q=id-held&open=1", "", `
		open[0].client = 192.0.2.7
		open[0].duration_ms = 3000
		open[0].host = books.example.org
		open[0].id = id-held
		open[0].method = GET
		open[0].origin = books
		open[0].phase = waits for the origin
		open[0].proto = HTTP/1.1
		open[0].scheme = http
		open[0].target = /held
		open[0].time = 2000-01-01T00:03:01.5Z
		open[0].user_agent = tester/1
	`},
	{"/metrics", "", `
		body_bytes_total{direction="from_origin",origin="film"} = 650521
		body_bytes_total{direction="from_origin",origin="music"} = 7000
		body_bytes_total{direction="to_origin",origin="film"} = 3019
		certificate_expiry_timestamp_seconds{name="localhost"} = *
		config_last_reload_success_timestamp_seconds = *
		config_last_reload_successful = 1
		control_refusals_total{reason="not_allowed"} = 1
		front_connections = 3
		hold_duration_seconds_count = *
		hold_duration_seconds_sum = ~3
		origin_state{origin="@",state="absent"} = 1
		origin_state{origin="books",state="absent"} = 1
		origin_state{origin="elsewhere",state="refused"} = 1
		origin_state{origin="film",state="connected"} = 1
		origin_state{origin="limited",state="connected"} = 1
		origin_state{origin="music",state="connected"} = 1
		origins = 3
		origins_by_state{state="absent"} = 2
		origins_by_state{state="connected"} = 3
		origins_by_state{state="refused"} = 1
		ping_round_trip_seconds{origin="film"} = 0.005
		ping_round_trip_seconds{origin="limited"} = 1e-09
		ping_round_trip_seconds{origin="music"} = 1e-09
		ready = 1
		replayed_total{origin="music"} = 1
		request_duration_seconds_bucket{origin="film",le="+Inf"} = 657
		request_duration_seconds_bucket{origin="film",le="0.025"} = 4
		request_duration_seconds_bucket{origin="film",le="0.1"} = 654
		request_duration_seconds_bucket{origin="film",le="0.5"} = 654
		request_duration_seconds_bucket{origin="film",le="1"} = 655
		request_duration_seconds_bucket{origin="film",le="10"} = 657
		request_duration_seconds_bucket{origin="film",le="2.5"} = 656
		request_duration_seconds_bucket{origin="film",le="60"} = 657
		request_duration_seconds_bucket{origin="film",le="600"} = 657
		request_duration_seconds_count{origin="_other"} = 1
		request_duration_seconds_count{origin="film"} = 657
		request_duration_seconds_count{origin="limited"} = 3
		request_duration_seconds_count{origin="music"} = 3
		request_duration_seconds_sum{origin="film"} = 32
		request_duration_seconds_sum{origin="music"} = 5.04
		request_errors_total{origin="_other"} = 1
		request_errors_total{origin="film"} = 2
		request_refusals_total{reason="password"} = 1
		request_refusals_total{reason="rate"} = 1
		requests_held = 1
		requests_in_flight = 2
		requests_total{class="1xx",origin="film"} = 1
		requests_total{class="2xx",origin="film"} = 651
		requests_total{class="2xx",origin="limited"} = 1
		requests_total{class="2xx",origin="music"} = 3
		requests_total{class="3xx",origin="film"} = 1
		requests_total{class="4xx",origin="film"} = 2
		requests_total{class="4xx",origin="limited"} = 2
		requests_total{class="5xx",origin="_other"} = 1
		requests_total{class="5xx",origin="film"} = 1
		requests_total{class="aborted",origin="film"} = 1
		response_header_seconds_bucket{origin="film",le="+Inf"} = 650
		response_header_seconds_bucket{origin="film",le="0.1"} = 650
		response_header_seconds_bucket{origin="film",le="0.25"} = 650
		response_header_seconds_bucket{origin="film",le="0.5"} = 650
		response_header_seconds_bucket{origin="film",le="1"} = 650
		response_header_seconds_bucket{origin="film",le="10"} = 650
		response_header_seconds_bucket{origin="film",le="2.5"} = 650
		response_header_seconds_bucket{origin="film",le="5"} = 650
		response_header_seconds_bucket{origin="film",le="60"} = 650
		response_header_seconds_count{origin="film"} = 650
		response_header_seconds_count{origin="music"} = 2
		response_header_seconds_sum{origin="film"} = 26
		response_header_seconds_sum{origin="music"} = 4.04
		responses_total{code="101"} = 1
		responses_total{code="200"} = 654
		responses_total{code="201"} = 2
		responses_total{code="302"} = 1
		responses_total{code="401"} = 1
		responses_total{code="404"} = 2
		responses_total{code="429"} = 1
		responses_total{code="503"} = 1
		responses_total{code="504"} = 1
		resumed_total{origin="music"} = 1
		session_age_seconds_max{origin="film"} = 184.5
		session_age_seconds_max{origin="limited"} = 184.5
		session_age_seconds_max{origin="music"} = 131.5
		session_age_seconds_min{origin="film"} = 184.5
		session_age_seconds_min{origin="limited"} = 184.5
		session_age_seconds_min{origin="music"} = 131.5
		session_duration_seconds_count = 4
		session_duration_seconds_sum = 231.5
		sessions_ended_total{origin="books"} = 1
		sessions_ended_total{origin="music"} = 3
		sessions_started_total{origin="books"} = 1
		sessions_started_total{origin="film"} = 1
		sessions_started_total{origin="limited"} = 1
		sessions_started_total{origin="music"} = 4
		sessions{origin="film"} = 1
		sessions{origin="limited"} = 1
		sessions{origin="music"} = 1
		stream_resets_total{by="origin",status="INTERNAL_ERROR"} = 1
		stream_resets_total{by="proxy",status="CANCEL"} = 1
		streams_in_flight{origin="film"} = 1
	`},
	{"/", "[^W]|What happened.[0-2]", `
		Certificates[0] = *
		Origins @ = @ default origin visit
		Origins @ State = absent never here
		Origins books = books visit
		Origins books State = absent 3s spdy: connection lost: read pipe pipe-b->pipe-a: connection reset by peer
		Origins elsewhere = elsewhere visit
		Origins elsewhere State = refused 3m 4s this token may not register "elsewhere"
		Origins film = film visit
		Origins film Bytes = 4.9 KiB/s
		Origins film Failed = 2
		Origins film From = 127.0.0.1 c/v9
		Origins film In flight = 1
		Origins film Requests = 5.0/s
		Origins film Response = 35 ms p99 40 ms
		Origins film Round trip = 5.0 ms 2m 26s ago
		Origins film Sessions = 1
		Origins film State = connected 3m 4s
		Origins limited = limited visit
		Origins limited From = 127.0.0.1 c/v9
		Origins limited Round trip = <0.1 ms 2s ago
		Origins limited Sessions = 1
		Origins limited State = connected 3m 4s
		Origins music = music visit
		Origins music From = 127.0.0.1 c/v9
		Origins music Round trip = <0.1 ms 11s ago
		Origins music Sessions = 1
		Origins music State = connected 2m 11s
		Ports[0] = front 127.0.0.1:2
		Ports[1] = control 127.0.0.1:1
		Refused at the control port[0] = 00:00:00 elsewhere 127.0.0.1:9 403, this token may not register "elsewhere"
		What happened[0] = 00:03:01 books absent spdy: connection lost: read pipe pipe-b->pipe-a: connection reset by peer
		What happened[1] = 00:00:53 music connected
		What happened[2] = 00:00:50 music absent spdy: connection lost: *
		chips = connected 3 absent 2 refused 1
		fact Requests = 5.0/s none failed
		fact Response = 35 ms 99 of 100 within 40 ms
		fact State = Ready version test, up 3m 4s
		fact To visitors = 4.9 KiB/s 0 B/s from them
		fact Under way = 2 1 held, 3 connections
		h1 = Origins
		title = 3 of 6 origins - spdy-proxy
	`},
	{"/origins/film", "title|h1|fact|Sess|What|Last frames of a session 2 ", `
		Last frames of a session 2 By = c
		Last frames of a session 2 Bytes = 1000
		Last frames of a session 2 Frame = DATA
		Last frames of a session 2 Says = flags 1
		Last frames of a session 2 Stream = 1315
		Last frames of a session 2 Time = 00:03:03.700
		Sessions 1 = *
		Sessions 1 Age = 3m 4s
		Sessions 1 Bodies = 635.3 KiB 2.9 KiB to it
		Sessions 1 From = 127.0.0.1:5
		Sessions 1 In flight = 1 of 10000
		Sessions 1 Resets = 2
		Sessions 1 Round trip = 5.0 ms 2m 26s ago
		Sessions 1 Streams = 658
		Sessions 1 Version = c/v9 test
		Sessions 1 Window = 1.0 MiB 0 B unread
		What happened[0] = 00:00:00 connected
		fact Answers = 651 2xx, 1 1xx, 1 3xx, 2 4xx, 1 5xx, 1 aborted
		fact Failed = 0/s 2 in all
		fact From visitors = 0 B/s 2.9 KiB in all
		fact In flight = 1 1 session came, 0 ended
		fact Requests = 5.0/s 657 in all
		fact Response = 35 ms 99 of 100 within 40 ms
		fact To visitors = 4.9 KiB/s 635.3 KiB in all
		h1 = film
		title = film connected - spdy-proxy
	`},
	{"/origins/elsewhere", "", `
		fact Answers = 0 2xx
		fact Failed = 0/s 0 in all
		fact From visitors = 0 B/s 0 B in all
		fact In flight = 0 0 sessions came, 0 ended
		fact Requests = 0/s 0 in all
		fact Response = - none of late
		fact To visitors = 0 B/s 0 B in all
		h1 = elsewhere
		title = elsewhere refused - spdy-proxy
		why = Refused 3m 4s ago: 127.0.0.1:9, 403, this token may not register "elsewhere"
	`},
	{"/requests?q=id-&origin=music", "", `
		h1 = Requests
		request 14 = 00:00:50 200 GET music.example.org /ok 3.0 s
		request 14 Bodies = 0 B sent, 1000 B received
		request 14 Client = 192.0.2.7, HTTP/1.1
		request 14 Id = id-ok
		request 14 Origin = music , session 7, stream 1
		request 14 Steps = held 3.0 s, stream after 3.0 s, headers after 3.0 s, end after 3.0 s
		request 14 User-Agent = tester/1
		request 7 = 00:00:34 200 GET music.example.org /replayed 1.0 s
		request 7 Bodies = 0 B sent, 2.9 KiB received
		request 7 Client = 192.0.2.7, HTTP/1.1
		request 7 Failed attempt = session 2, stream 1, after 1.0 s: spdy: connection lost: *
		request 7 Id = id-replayed
		request 7 Origin = music , session 5, stream 1
		request 7 Steps = *
		request 7 User-Agent = tester/1
		request 8 = 00:00:46 200 GET music.example.org /resumed 1.0 s
		request 8 Bodies = 0 B sent, 2.9 KiB received
		request 8 Client = 192.0.2.7, HTTP/1.1
		request 8 Failed attempt = session 5, stream 3, after 1.0 s: spdy: connection lost: *
		request 8 Id = id-resumed
		request 8 Origin = music , session 6, stream 1
		request 8 Steps = *
		request 8 User-Agent = tester/1
		title = Requests - spdy-proxy
	`},
	{"/requests?status=failed&q=id-", "", `
		h1 = Requests
		request 12 = 00:00:47 503 GET nobody.example.org /ok -
		request 12 Bodies = 0 B sent, 56 B received
		request 12 Client = 192.0.2.7, HTTP/1.1
		request 12 Id = id-ok
		request 12 Origin = nobody
		request 12 Steps = end after -
		request 12 User-Agent = tester/1
		request 12 Why = origin nobody is not connected (destination_unavailable)
		request 5 = 00:00:20 504 GET film.example.org /late 2.0 s
		request 5 Bodies = 0 B sent, 43 B received
		request 5 Client = 192.0.2.7, HTTP/1.1
		request 5 Id = id-late
		request 5 Origin = film , session 1, stream 9
		request 5 Steps = stream after <0.1 ms, end after 2.0 s
		request 5 User-Agent = tester/1
		request 5 Why = no response within 2s (http_response_timeout)
		request 6 = 00:00:22 200 cut GET film.example.org /broken 1.0 s
		request 6 Bodies = 0 B sent, 400 B received
		request 6 Client = 192.0.2.7, HTTP/1.1
		request 6 Id = id-broken
		request 6 Origin = film , session 1, stream 11
		request 6 Steps = stream after <0.1 ms, end after 1.0 s
		request 6 User-Agent = tester/1
		request 6 Why = the origin reset the stream with INTERNAL_ERROR (http_response_incomplete)
		title = Requests - spdy-proxy
	`},
	{"/requests?origin=books", "", `
		Requests[0] = 3.0 s GET books.example.org/held waits for the origin, 192.0.2.7
		h1 = Requests
		title = Requests - spdy-proxy
	`},
}
