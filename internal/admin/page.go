package admin

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/oneline"
)

//go:embed pages assets
var files embed.FS

var functions = template.FuncMap{
	"age": age, "bytes": bytesOf, "bytes32": func(f float32) string { return bytesOf(uint64(f)) }, "bytesInt": func(n int64) string { return bytesOf(uint64(max(n, 0))) },
	"rate": rate, "dur": dur, "secs": func(f float32) string { return dur(time.Duration(f * float32(time.Second))) },
	"clock": func(t time.Time) string { return t.Format("15:04:05") }, "stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
	"millis": func(t time.Time) string { return t.Format("15:04:05.000") }, "spark": spark, "steps": steps, "from": from,
	"first": func(s string) string { word, _, _ := strings.Cut(s, " "); return word }, // of the version: the rest is Go's
	"count": oneline.Count, "class": func(i int) string { return inspect.Classes[i] },
}

// parsed returns one page's template, with what the pages share.
func parsed(name string) *template.Template {
	return template.Must(template.New("base.html").Funcs(functions).ParseFS(files, "pages/base.html", "pages/list.html", "pages/"+name))
}

var (
	overviewPage = parsed("overview.html")
	originPage   = parsed("origin.html")
	requestsPage = parsed("requests.html")
	helpPage     = parsed("help.html")
)

// asset answers with a file that the pages use.
func asset(w http.ResponseWriter, r *http.Request) {
	sub, err := fs.Sub(files, "assets")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeFileFS(w, r, sub, r.PathValue("name"))
}

// frame is what every page has.
type frame struct {
	Where          string // origins or requests, in the navigation
	Metrics, PProf bool
	Ready          bool
	Version        string
	Now            time.Time
	Uptime         time.Duration
	Changeable     bool
	Requests       []inspect.Request
}

func (p *Port) frame(where string) frame {
	now := time.Now()
	return frame{
		Where: where, Metrics: p.Metrics != nil, PProf: p.PProf, Ready: p.Source.Ready(), Version: p.Version, Now: now, Uptime: now.Sub(p.Started),
		Changeable: p.Token != nil,
	}
}

// forgotten is the main part of an origin's page once nothing is known of it any more.
const forgotten = `<section><p class="empty">No origin has this name here any more. <a href="/">Those that have one</a></p></section>`

// show answers with a page, or, to its script, with its main part again and again and
// with the last second for its charts. fill returns what the template needs, and false
// if there is no such page.
func (p *Port) show(w http.ResponseWriter, r *http.Request, page *template.Template, fill func() (any, bool)) {
	data, ok := fill()
	if !ok {
		http.Error(w, "No origin has this name here, or has had it of late: / lists those that have one.", http.StatusNotFound)
		return
	}
	if !wantsEvents(r) {
		var buf bytes.Buffer
		if err := page.Execute(&buf, data); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(buf.Bytes()) // It fails when the asker left.
		return
	}
	p.serveEvents(w, r, func(s *stream, n int) {
		if last, ok := p.Board.LastPoint(); ok {
			s.json("point", struct {
				pointJSON
				Held uint32    `json:"held"`
				Open uint32    `json:"open"`
				Time time.Time `json:"time"`
			}{pointOf(last), last.Held, last.Open, time.Now()})
		}
		if n%2 != 0 {
			return
		}
		s.buf.Write(p.renders.get(r.URL.RequestURI(), n == 0, func() []byte {
			var events stream
			data, ok := fill()
			if !ok {
				events.event("main", []byte(forgotten))
			} else {
				for _, part := range []string{"title", "main"} {
					var buf bytes.Buffer
					if page.ExecuteTemplate(&buf, part, data) == nil {
						events.event(part, buf.Bytes())
					}
				}
			}
			return events.buf.Bytes()
		}))
	})
}

// overviewData is what overview.html needs.
type overviewData struct {
	frame
	Figures        Figures
	Point          inspect.Point
	Total, Matched int
	Connected      int
	States         []chip
	View           view
	Filtered       bool
	Columns        []column
	Origins        []inspect.Origin
	Pages          int
	Prev, Next     string
	Changes        []inspect.Change
	Refusals       []inspect.Refusal
	Certificates   []certificateJSON
	Nodes          []shownNode
}

// chip is one state, to be chosen.
type chip struct {
	State  string
	Count  int
	Chosen bool
	Link   string
}

// column is one of the table's.
type column struct {
	Title, Class string
	Link         string // sorts by it
	Sorted       string // aria-sort's value, "" if it is not
}

// columns are the titles, and the keys of orders; those in which the most is of interest
// first begin with a minus.
var columns = [...][2]string{
	{"Origin", "name"}, {"State", "state"}, {"From", ""}, {"Sessions", "-sessions"}, {"In flight", "-in_flight"}, {"Requests", "-requests"},
	{"Failed", "-errors"}, {"Bytes", "-bytes"}, {"Response", "-p50"}, {"Round trip", "-round_trip"},
}

// link returns the address of a view.
func (v view) link() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": v.Q, "state": v.State, "sort": v.Sort} {
		if value != "" && (name != "sort" || value != "name") {
			q.Set(name, value)
		}
	}
	if v.Page > 1 {
		q.Set("page", fmt.Sprint(v.Page))
	}
	if v.Per != perPage {
		q.Set("per_page", fmt.Sprint(v.Per))
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

// turned returns v with another page.
func (v view) turned(page int) view { v.Page = page; return v }

func (v view) columns() []column {
	var list []column
	for i, c := range columns {
		col := column{Title: c[0]}
		if i > 2 {
			col.Class = "n"
		}
		if key := c[1]; key != "" {
			to := v.turned(1)
			to.Sort = key
			if v.Sort == key {
				to.Sort = opposite(key)
			}
			if strings.TrimPrefix(v.Sort, "-") == strings.TrimPrefix(key, "-") {
				col.Sorted = "ascending"
				if strings.HasPrefix(v.Sort, "-") {
					col.Sorted = "descending"
				}
			}
			col.Link = to.link()
		}
		list = append(list, col)
	}
	return list
}

func opposite(sort string) string {
	if rest, ok := strings.CutPrefix(sort, "-"); ok {
		return rest
	}
	return "-" + sort
}

func (p *Port) overview(w http.ResponseWriter, r *http.Request) {
	asked := viewOf(r)
	p.show(w, r, overviewPage, func() (any, bool) {
		v, l := asked, p.Board.Listing()
		d := overviewData{frame: p.frame("origins"), Figures: p.Source.Figures(), Total: len(l.Origins), Nodes: p.nodes()}
		d.Point, _ = p.Board.LastPoint()
		d.Origins, d.Matched = v.choose(p.Board, l)
		d.View, d.Columns, d.Filtered = v, v.columns(), v.Q != "" || v.State != ""
		d.Connected = l.States[inspect.Connected] + l.States[inspect.Unreachable]
		d.Pages = (d.Matched + v.Per - 1) / v.Per
		if v.Page > 1 {
			d.Prev = v.turned(v.Page - 1).link()
		}
		if v.Page < d.Pages {
			d.Next = v.turned(v.Page + 1).link()
		}
		all := v.turned(1)
		for _, state := range slices.Backward(inspect.States[:]) {
			to := all
			if to.State = state; v.State == state {
				to.State = "" // once more shows all
			}
			if n := l.States[state]; n > 0 || v.State == state {
				d.States = append(d.States, chip{state, n, v.State == state, to.link()})
			}
		}
		d.Changes = p.Board.Changes("", 0, 8)
		d.Refusals = p.Board.Refusals()
		d.Refusals = d.Refusals[:min(len(d.Refusals), 8)]
		for _, c := range p.Source.Certificates() {
			d.Certificates = append(d.Certificates, certificateOf(c, d.Now))
		}
		slices.SortFunc(d.Certificates, func(a, b certificateJSON) int { return cmp.Compare(a.DaysLeft, b.DaysLeft) })
		d.Certificates = d.Certificates[:min(len(d.Certificates), 20)]
		return d, true
	})
}

func (p *Port) origin(w http.ResponseWriter, r *http.Request) {
	name := p.Source.Name(r.PathValue("name"))
	p.show(w, r, originPage, func() (any, bool) {
		o, ok := p.Board.Origin(name)
		if !ok {
			return nil, false
		}
		f := p.frame("origins")
		f.Requests = p.Board.Requests(inspect.Filter{Origin: name}, 0, 20)
		return struct {
			frame
			Origin  inspect.Origin
			Changes []inspect.Change
			Frames  []SessionFrames
		}{f, o, p.Board.Changes(name, 0, 20), lastFrames(p.Source.Frames(name))}, true
	})
}

// lastFrames returns the last frames of the first sessions, the latest first: as many as
// somebody reads.
func lastFrames(list []SessionFrames) []SessionFrames {
	list = list[:min(len(list), 4)]
	for i, s := range list {
		slices.Reverse(s.Frames)
		list[i].Frames = s.Frames[:min(len(s.Frames), 40)]
	}
	return list
}

// option is one of a select.
type option struct {
	Value, Title string
	Chosen       bool
}

func options(chosen string, pairs ...string) (list []option) {
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, option{pairs[i], pairs[i+1], pairs[i] == chosen})
	}
	return list
}

func (p *Port) requests(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, before := p.filterOf(r), uint64(number(q, "before", 0, 0, math.MaxInt))
	p.show(w, r, requestsPage, func() (any, bool) {
		f := p.frame("requests")
		f.Requests = p.Board.Requests(filter, before, perPage)
		d := struct {
			frame
			Filter          inspect.Filter
			Filtered        bool
			Front           string
			Statuses, Slows []option
			Open            []inspect.Request
			Older           string
		}{frame: f, Filter: filter, Filtered: before > 0 || filter != (inspect.Filter{}), Front: p.Source.Figures().Front}
		d.Statuses = options(filter.Status, "", "Any status", "failed", "Failed", "2xx", "2xx", "3xx", "3xx", "4xx", "4xx", "5xx", "5xx", "aborted", "Cut or left")
		d.Slows = options(q.Get("slow_ms"), "", "Any time", "100", "over 100 ms", "1000", "over 1 s", "10000", "over 10 s")
		if before == 0 {
			d.Open = p.Source.Open(filter, maxOpen)
		}
		if n := len(f.Requests); n == perPage {
			q.Set("before", fmt.Sprint(f.Requests[n-1].Seq))
			d.Older = "/requests?" + q.Encode()
		}
		return d, true
	})
}

// from returns the addresses that an origin's sessions come from, without ports, and what
// they run, each once and a few of them.
func from(o inspect.Origin) (list []string) {
	for _, c := range o.Sessions {
		host, _, err := net.SplitHostPort(c.Remote)
		if err != nil {
			host = c.Remote
		}
		agent, _, _ := strings.Cut(c.Agent, " ")
		text := strings.TrimSpace(host + " " + agent)
		if slices.Contains(list, text) {
			continue
		}
		if len(list) == 3 {
			return append(list, "and others")
		}
		list = append(list, text)
	}
	return list
}

// spark draws numbers as a line, none for none.
func spark(values []uint32) template.HTML {
	if len(values) == 0 || slices.Max(values) == 0 {
		return ""
	}
	const width, height = 60, 16
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="spark" viewBox="0 0 %d %d" aria-hidden="true"><path d="M`, width, height)
	most := slices.Max(values)
	for i := 0; i < len(values); i += 2 { // two slots a step
		v := values[i]
		if i+1 < len(values) {
			v = max(v, values[i+1])
		}
		fmt.Fprintf(&b, " %d,%d", i*width/max(len(values)-1, 1), height-1-int(uint64(v)*(height-2)/uint64(most)))
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()) // of numbers alone
}

// steps draws what a request's time went by with.
func steps(r inspect.Request) template.HTML {
	if r.Duration <= 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<svg class="steps" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">`)
	part := func(class string, from, to time.Duration) {
		if to > from {
			x, w := 1000*float64(from)/float64(r.Duration), 1000*float64(to-from)/float64(r.Duration)
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" width="%.1f" height="8"/>`, class, x, w)
		}
	}
	first := r.Opened
	if first == 0 {
		first = r.Duration
	}
	part("held", 0, first)
	if r.Opened > 0 {
		answered := r.Headers
		if answered < r.Opened {
			answered = r.Duration
		}
		part("wait", r.Opened, answered)
		part("body", answered, r.Duration)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // of numbers alone
}

// age writes d with its two largest units: 3d 4h, 5m 6s, 7s.
func age(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s >= 86400:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

// bytesOf writes n with a binary unit, and no more than three digits before the point.
func bytesOf(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 999.95 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}

// rate writes how often something happens.
func rate(f float32) string {
	switch {
	case f == 0:
		return "0/s"
	case f < 9.95:
		return fmt.Sprintf("%.1f/s", f)
	}
	return fmt.Sprintf("%.0f/s", f)
}

// dur writes a time that was measured, with two or three digits.
func dur(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 50*time.Microsecond: // 0.0 would say that nothing was measured
		return "<0.1 ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return age(d)
}
