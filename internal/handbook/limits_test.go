package handbook_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// in is how a limit is written.
type in func(n int64) string

func count(n int64) string    { return strconv.FormatInt(n, 10) }
func duration(n int64) string { return short(time.Duration(n)) }

// short is a duration as pages have it.
func short(d time.Duration) string {
	if d < 2*time.Minute && d%time.Minute != 0 {
		return fmt.Sprintf("%gs", d.Seconds())
	}
	return d.String()
}

func days(n int64) string { return strconv.FormatInt(n/int64(24*time.Hour), 10) }

func part(n int64) string {
	if n != 8 {
		return "another part"
	}
	return "an eighth"
}

func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Each fixed limit on the page is what the source has. A row without an entry is one whose
// number is no constant.
func TestLimits(t *testing.T) {
	limits := []struct {
		dir, name string
		row       string // its first cell
		as        in
	}{
		{"proxy", "maxVisitors", "connections to the front port", count},
		{"proxy", "maxVisitorsPerAddr", "connections of one address", count},
		{"proxy", "visitorStreams", "streams at once on one connection of h2 or SPDY", count},
		{"front", "defaultMaxRequests", "requests in flight of one origin", count},
		{"front", "sharePart", "of these, one address", part},
		{"proxy", "readHeaderTimeout", "time for a request's head", duration},
		{"proxy", "idleTimeout", "idle time of a connection", duration},
		{"front", "MaxHeaderLines", "lines of a head", count},
		{"front", "maxHeaderName", "a header's name", size},
		{"front", "maxHops", "passes through proxies like this one", count},
		{"front", "maxGuesses", "passwords that one address has checked, or waiting", count},
		{"front", "upgradeGrace", "a WebSocket whose one side has ended", duration},
		{"front", "upgradeIdle", "a WebSocket at a stop, if nothing was said for", duration},
		{"policy", "maxVisitors", "addresses whose rates by the tables are told apart, of all origins", count},
		{"proxy", "maxBalancerWaits", "load balancers' connections without a PROXY header yet", count},
		{"proxy", "balancerTime", "time for a PROXY header", duration},
		{"proxy", "maxHTTPVisitors", "connections to the port of `--http`", count},
		{"control", "defaultMaxPending", "unfinished handshakes at the control port", count},
		{"control", "defaultTimeout", "time for each step of a handshake", duration},
		{"control", "refusedBurst", "wrong tokens of one address", count},
		{"control", "refusedInterval", "wrong tokens of one address", duration},
		{"control", "maxHead", "head of a handshake's request", size},
		{"control", "maxBody", "its body", size},
		{"origin", "defaultMaxOrigins", "origins at once", count},
		{"origin", "defaultPerCredential", "origins of one token", count},
		{"origin", "defaultMaxSessions", "connections of one origin", count},
		{"origin", "defaultMaxWaiting", "requests that wait for an origin that is away", count},
		{"origin", "defaultPerOrigin", "requests that wait for an origin that is away", count},
		{"origin", "defaultMemory", "how long an origin that left is waited for", duration},
		{"origin", "defaultPingTimeout", "time to answer a PING when another `c` comes", duration},
		{"agent", "maxConnections", "connections of one origin", count},
		{"agent", "defaultMaxStreams", "streams that `c` takes at once", count},
		{"spdy", "defaultMaxStreamWindow", "what one download may have on its way", size},
		{"spdy", "defaultMaxBuffer", "what all of one connection may hold in `p`", size},
		{"spdy", "defaultWriteTimeout", "one write to the connection", duration},
		{"spdy", "defaultMaxFrame", "a frame", size},
		{"front", "maxRepeats", "how often a GET that `c` may have acted on is sent again", count},
		{"agent", "maxPause", "pause of a `c` between attempts", duration},
		{"agent", "maxRefusedPause", "pause of a `c` between attempts", duration},
		{"serve", "maxServiceIdle", "connections to the service of `--to`", count},
		{"serve", "dialTimeout", "time to connect to it", duration},
		{"serve", "maxServiceHeader", "head of its answer", size},
		{"serve", "maxServiceLines", "lines of that head", count},
		{"serve", "maxCalls", "calls about files that the disk has not answered, of all origins together", count},
		{"serve", "maxUploadCalls", "calls about files that the disk has not answered, of all origins together", count},
		{"serve", "bodyIdle", "an upload that sends nothing", duration},
		{"serve", "diskKeep", "room that uploads leave on the disk", size},
		{"serve", "filesKeep", "files that uploads leave to the disk", count},
		{"serve", "maxUploadDepth", "folders in an upload's path", count},
		{"serve", "maxHeld", "entries of folders in memory, all lists together", count},
		{"serve", "listingBatch", "entries of folders in memory, all lists together", count},
		{"serve", "maxNested", "folders that archives hold open", count},
		{"serve", "usualDepth", "folders that archives hold open", count},
		{"serve", "maxRanges", "ranges of one request", count},
		{"serve", "maxDAVLocks", "WebDAV's locks", count},
		{"serve", "maxIfLists", "lists in WebDAV's `If` header", count},
		{"inspector", "maxExchanges", "requests that the inspector keeps", count},
		{"inspector", "maxBody", "requests that the inspector keeps", size},
		{"inspector", "maxReplays", "replays at once", count},
		{"inspect", "maxRequests", "requests on the status page", count},
		{"inspect", "maxRefusals", "refusals at the control port", count},
		{"inspect", "keptSeconds", "figures by the second", count},
		{"inspect", "keptMinutes", "figures by the minute", count},
		{"admin", "maxStreams", "readers of `/api/v1/events`", count},
		{"admin", "maxPerPage", "requests, or origins, of one answer of the API", count},
		{"admin", "maxScrapes", "answers of `/metrics` at once", count},
		{"admin", "minToken", "a token of the admin port, at least", count},
		{"cluster/registry", "maxNodes", "other nodes", count},
		{"cluster/registry", "maxEntries", "sessions of one node", count},
		{"cluster/peer", "maxStreams", "requests at once on a link between two nodes", count},
		{"cluster/peer", "maxPerNode", "links of one node", count},
		{"cluster/peer", "maxHandshakes", "unfinished handshakes at the peer port", count},
		{"cluster/bus", "lookupEvery", "how often names of `dns:` are looked up", duration},
		{"upgrade", "readyTimeout", "until a new process is ready", duration},
		{"proxy", "lingerTime", "visitors' idle connections after a hand-over", duration},
		{"certs", "warnBefore", "days before a certificate's end that are warned of", days},
		{"certs", "newNames", "new names of one token", count},
		{"certs", "newNamesTime", "new names of one token", duration},
		{"certs", "answerTime", "time for a CA to decide about a name, and to make its certificate", duration},
		{"certs", "programTime", "time for `--acme-dns-exec` to set a record", duration},
		{"certs", "cleanupTime", "to remove it", duration},
	}
	sources := map[string]source{}
	for _, s := range load(t, "..", func(string) bool { return false }) {
		sources[strings.TrimPrefix(s.dir, "../")] = s
	}
	table := rows(page(t, "limits"), "what")
	if len(table) < 60 {
		t.Fatalf("the page has %d limits", len(table))
	}
	for _, l := range limits {
		i := slices.IndexFunc(table, func(row []string) bool { return row[0] == l.row })
		if i < 0 {
			t.Errorf("the page has no row %q", l.row)
			continue
		}
		want := l.as(sources[l.dir].number(t, l.name))
		words := strings.FieldsFunc(" "+table[i][1]+" ", func(r rune) bool { return strings.ContainsRune(",;:()", r) })
		if !strings.Contains(" "+strings.Join(words, " ")+" ", " "+want+" ") {
			t.Errorf("%q: the page says %q, %s.%s is %s", l.row, table[i][1], l.dir, l.name, want)
		}
	}
}

// Each flag that is a time or a number is on the page, with its default.
func TestLimitsOfFlags(t *testing.T) {
	want := map[string]constant.Value{}
	for _, s := range load(t, "../../cmd", func(dir string) bool { return strings.HasSuffix(dir, "cmd/a") }) {
		s.each(func(n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 || !slices.Contains([]string{"DurationVar", "IntVar", "Int64Var"}, callee(call)) {
				return
			}
			name := code("`" + strings.Trim(call.Args[1].(*ast.BasicLit).Value, `"`) + "`")
			if sel, ok := call.Args[2].(*ast.SelectorExpr); ok && sel.Sel.Name == "DefaultUploadMax" {
				want[name] = constant.MakeInt64(1 << 30)
				return
			}
			want[name] = constant.ToInt(s.eval(t, call.Args[2]))
		})
	}
	for _, row := range rows(page(t, "limits"), "flag") {
		name := strings.TrimPrefix(code(row[0]), "--")
		def, ok := want[name]
		if !ok {
			t.Errorf("%s is no flag of p or c with a number", name)
			continue
		}
		delete(want, name)
		n, _ := constant.Int64Val(def)
		got, err := time.ParseDuration(code(row[1]))
		if err != nil {
			number, _ := strconv.ParseInt(code(row[1]), 10, 64)
			got = time.Duration(number)
		}
		if int64(got) != n {
			t.Errorf("--%s: the page says %s, the program has %d", name, row[1], n)
		}
	}
	for name := range want {
		t.Errorf("--%s is not on the page", name)
	}
}
