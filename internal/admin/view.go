package admin

import (
	"cmp"
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
)

// view is which origins somebody wants to see, and in which order.
type view struct {
	Q     string // in the name, an address, or the version; in any case
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

func viewOf(r *http.Request) view {
	q := r.URL.Query()
	v := view{
		Q: clip(q.Get("q"), 100), State: q.Get("state"), Sort: q.Get("sort"),
		Page: number(q, "page", 1, 1, 1<<20), Per: number(q, "per_page", perPage, 1, maxPerPage),
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
			if (v.State == "" || o.State == v.State) && (text == "" || holds(o, text)) {
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
func holds(o *inspect.Origin, text string) bool {
	if strings.Contains(o.Name, text) {
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
		Slow: time.Duration(number(q, "slow_ms", 0, 0, 1<<30)) * time.Millisecond,
	}
	status := q.Get("status")
	code, err := strconv.Atoi(status)
	if status == "failed" || slices.Contains(inspect.Classes[:], status) || err == nil && len(status) == 3 && code >= 100 {
		f.Status = status
	}
	return f
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
