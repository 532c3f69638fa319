package admin

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

const (
	perPage    = 50  // origins, and requests, that are shown at once
	maxPerPage = 500 // that can be asked for
	maxOpen    = 10  // requests under way, on the page

	maxPage = 1 << 20 // that can be asked for
	maxSlow = 1 << 30 // of slow_ms
)

// view is which origins somebody wants to see, and in which order.
type view struct {
	Q     string // in the name, in either way of writing it, an address, or the version; in any case
	State string // one of inspect.States, "" for all
	Sort  string // a key of orders, after a "-" for the other way round
	Page  int    // from 1
	Per   int
}

// orders are by what origins can be sorted; what is equal is by name.
var orders = map[string]func(a, b *inspect.Origin) int{
	"name":       func(a, b *inspect.Origin) int { return strings.Compare(a.Name, b.Name) },
	"state":      func(a, b *inspect.Origin) int { return cmp.Compare(stateRank(a), stateRank(b)) },
	"since":      func(a, b *inspect.Origin) int { return a.Since.Compare(b.Since) },
	"sessions":   func(a, b *inspect.Origin) int { return cmp.Compare(len(a.Sessions), len(b.Sessions)) },
	"in_flight":  func(a, b *inspect.Origin) int { return cmp.Compare(a.InFlight, b.InFlight) },
	"requests":   func(a, b *inspect.Origin) int { return cmp.Compare(a.RequestRate, b.RequestRate) },
	"errors":     func(a, b *inspect.Origin) int { return cmp.Compare(a.Errors, b.Errors) },
	"bytes":      func(a, b *inspect.Origin) int { return cmp.Compare(a.InRate+a.OutRate, b.InRate+b.OutRate) },
	"p50":        func(a, b *inspect.Origin) int { return cmp.Compare(a.P50, b.P50) },
	"p99":        func(a, b *inspect.Origin) int { return cmp.Compare(a.P99, b.P99) },
	"round_trip": func(a, b *inspect.Origin) int { return cmp.Compare(a.RoundTrip, b.RoundTrip) },
}

// stateRank is how soon an origin's state is to be looked at.
func stateRank(o *inspect.Origin) int { return slices.Index(inspect.States[:], o.State) }

// number returns a number of a query, def if it is none or out of bounds.
func number(q url.Values, name string, def, least, most int) int {
	if n, err := strconv.Atoi(q.Get(name)); err == nil && n >= least && n <= most {
		return n
	}
	return def
}

// parameters are those below /api/v1 that do not take any text, with what they do take.
var parameters = []struct {
	name, takes string
	ok          func(value string) bool
}{
	{"state", "one of " + strings.Join(inspect.States[:], ", "), func(v string) bool { return slices.Contains(inspect.States[:], v) }},
	{"sort", "one of " + strings.Join(slices.Sorted(maps.Keys(orders)), ", ") + ", and - before it for the other way round",
		func(v string) bool { return orders[strings.TrimPrefix(v, "-")] != nil }},
	{"page", "a number from 1", between(1, maxPage)},
	{"per_page", fmt.Sprintf("a number from 1 to %d", maxPerPage), between(1, maxPerPage)},
	{"limit", fmt.Sprintf("a number from 1 to %d", maxPerPage), between(1, maxPerPage)},
	{"slow_ms", "a number of milliseconds", between(0, maxSlow)},
	{"status", "a status, as 404, or one of " + strings.Join(inspect.Classes[:], ", ") + ", failed", isStatus},
	{"before", "the seq of a request", func(v string) bool { _, err := strconv.ParseUint(v, 10, 64); return err == nil }},
	{"open", "1", func(v string) bool { return v == "1" || v == "0" }},
	{"series", "5m or 24h", func(v string) bool { return v == "5m" || v == "24h" }},
	{"topics", "some of " + strings.Join(topics, ","), func(v string) bool {
		return !slices.ContainsFunc(strings.Split(v, ","), func(t string) bool { return !slices.Contains(topics, t) })
	}},
}

// topics are what a stream of events may be asked for.
var topics = []string{"status", "origins", "changes", "requests"}

func between(least, most int) func(string) bool {
	return func(v string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n >= least && n <= most
	}
}

func isStatus(v string) bool {
	code, err := strconv.Atoi(v)
	return v == "failed" || slices.Contains(inspect.Classes[:], v) || err == nil && len(v) == 3 && code >= 100
}

// wrongIn says which value of a query is none of its parameter's, "" if all are: a program
// with a slip in what it asks for is not to count all there is in the place of it. A
// person sees what a page shows.
func wrongIn(q url.Values) string {
	for _, p := range parameters {
		if v := q.Get(p.name); v != "" && !p.ok(v) {
			return fmt.Sprintf("%s is %s, not %.100q", p.name, p.takes, v)
		}
	}
	return ""
}

func viewOf(r *http.Request) view {
	q := r.URL.Query()
	v := view{
		Q: clip(q.Get("q"), 100), State: q.Get("state"), Sort: q.Get("sort"),
		Page: number(q, "page", 1, 1, maxPage), Per: number(q, "per_page", perPage, 1, maxPerPage),
	}
	if orders[strings.TrimPrefix(v.Sort, "-")] == nil {
		v.Sort = "name"
	}
	if !slices.Contains(inspect.States[:], v.State) {
		v.State = ""
	}
	return v
}

// choose returns those of the page that v asks for, and how many there are in all. v's
// Page becomes the last one if there are not so many.
func (v *view) choose(b *inspect.Board, l *inspect.Listing) (page []inspect.Origin, matched int) {
	by, down := strings.CutPrefix(v.Sort, "-")
	order := orders[by]
	found := l.Sorted(v.Sort, func(a, b *inspect.Origin) int {
		if down {
			return order(b, a)
		}
		return order(a, b)
	})
	if text := strings.ToLower(v.Q); text != "" || v.State != "" {
		all := found
		found = make([]*inspect.Origin, 0, len(all))
		for _, o := range all {
			if (v.State == "" || o.State == v.State) && (text == "" || holds(b, o, text)) {
				found = append(found, o)
			}
		}
	}
	v.Page = max(1, min(v.Page, (len(found)+v.Per-1)/v.Per))
	for _, o := range found[(v.Page-1)*v.Per : min(len(found), v.Page*v.Per)] {
		page = append(page, *o)
		b.Complete(&page[len(page)-1])
	}
	return page, len(found)
}

// holds reports whether a text in lower case is in what is known of o.
func holds(b *inspect.Board, o *inspect.Origin, text string) bool {
	if strings.Contains(o.Name, text) {
		return true
	}
	// Only a name with this in it is written in another way.
	if strings.Contains(o.Name, "xn--") && strings.Contains(b.Written(o.Name), text) {
		return true
	}
	for _, c := range o.Sessions {
		if strings.Contains(c.Remote, text) || strings.Contains(strings.ToLower(c.Agent), text) || strings.Contains(strings.ToLower(c.Instance), text) {
			return true
		}
	}
	return false
}

// filterOf reads which requests are asked for.
func (p *Port) filterOf(r *http.Request) inspect.Filter {
	q := r.URL.Query()
	f := inspect.Filter{
		Origin: p.Source.Name(clip(q.Get("origin"), 255)), Method: strings.ToUpper(clip(q.Get("method"), 24)), Text: clip(q.Get("q"), 100),
		Slow: time.Duration(number(q, "slow_ms", 0, 0, maxSlow)) * time.Millisecond,
	}
	if status := q.Get("status"); isStatus(status) {
		f.Status = status
	}
	return f
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
