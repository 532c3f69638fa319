package admin

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

func pageOf(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile("../handbook/" + page + ".md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// firstCells returns the code in the first cells of a page's table rows.
func firstCells(text string) (cells []string) {
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(text, -1) {
		cells = append(cells, m[1])
	}
	return cells
}

// The handbook's table of metrics has those that there are, each with its type, its labels
// and the words of its help.
func TestHandbookMetrics(t *testing.T) {
	f := busy()
	f.sessions[0].RoundTrip = 1
	m := NewMetrics(f, f.board, "v1")
	m.Cluster(func() Cluster { return Cluster{Nodes: []Node{{ID: "p2", State: "ready", RoundTrip: 1}}} })
	m.Request(&inspect.Request{Status: 200, Held: 1})
	m.SessionEnded(1)
	families, err := gatherer{m.registry, &m.state}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "spdy_proxy_") {
			continue
		}
		labels := map[string]bool{}
		for _, metric := range family.GetMetric() {
			for _, l := range metric.GetLabel() {
				labels["`"+l.GetName()+"`"] = true
			}
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", family.GetName(), strings.ToLower(family.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(labels)), ", "), family.GetHelp())
		want[family.GetName()] = strings.ReplaceAll(row, "|  |", "| |")
	}
	for _, file := range []string{"metrics.go", "cluster.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\b(?:counter|gauge|histogram|one|desc)\("([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			if want["spdy_proxy_"+strings.TrimPrefix(m[1], "spdy_proxy_")] == "" {
				t.Errorf("%s: %s is not gathered: the test does not see its row", file, m[1])
			}
		}
	}
	text := pageOf(t, "monitoring")
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !strings.Contains(text, "\n"+want[name]+"\n") {
			t.Errorf("the page lacks\n%s", want[name])
		}
	}
	for _, cell := range firstCells(text) {
		if strings.HasPrefix(cell, "spdy_proxy_") && want[cell] == "" {
			t.Errorf("there is no %s", cell)
		}
	}
	for _, name := range regexp.MustCompile(`\bspdy_proxy_[a-z_]+`).FindAllString(text, -1) {
		bare := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if want[name] == "" && want[bare] == "" && !strings.HasSuffix(name, "_") {
			t.Errorf("the page speaks of %s, which there is not", name)
		}
	}
}

// The alerts that the page explains are those in the file.
func TestHandbookAlerts(t *testing.T) {
	rules, err := os.ReadFile("monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1) {
		want = append(want, m[1])
	}
	got := slices.DeleteFunc(firstCells(pageOf(t, "monitoring")), func(s string) bool { return !strings.HasPrefix(s, "SpdyProxy") })
	if !slices.Equal(got, want) {
		t.Errorf("the page explains %q, the file has %q", got, want)
	}
}

// Each path that the page names answers, and its table of states is that of the board.
func TestHandbookAPI(t *testing.T) {
	f := busy()
	source := func() Cluster { return Cluster{ID: "p1"} }
	h := Handler(Config{Source: f, Board: f.board, Metrics: NewMetrics(f, f.board, "v1"), Cluster: source, Addr: "localhost:1445", Token: &Token{}})
	var states, paths []string
	page, _, _ := strings.Cut(pageOf(t, "api"), "\n## Fields\n")
	for _, cell := range firstCells(page) {
		method, path, isPath := strings.Cut(cell, " ")
		if !isPath {
			states = append(states, cell)
			continue
		}
		paths = append(paths, path)
		r, err := http.NewRequest(method, "http://localhost"+strings.ReplaceAll(path, "NAME", "film"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, pattern := h.mux.Handler(r); pattern == "" || pattern == "GET /{$}" || pattern == "/api/v1/" {
			t.Errorf("nothing answers %s", cell)
		}
	}
	if len(paths) < 8 {
		t.Errorf("the page has the paths %q", paths)
	}
	slices.Sort(states)
	if want := slices.Sorted(slices.Values(inspect.States[:])); !slices.Equal(states, want) {
		t.Errorf("the page has the states %q, want %q", states, want)
	}
}

// fieldsOf returns the names of all that JSON has of a type, in its order; what is in
// apart has a table of its own.
func fieldsOf(of reflect.Type, apart map[reflect.Type]string) (names []string) {
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		// What is in a struct is hidden by the same around it.
		if shown, _ := of.FieldByName(f.Name); f.Anonymous || name == "-" || !slices.Equal(shown.Index, f.Index) {
			continue
		}
		in, list := f.Type, ""
		for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
			if in.Kind() == reflect.Slice {
				list = "[]"
			}
			in = in.Elem()
		}
		if in.Kind() != reflect.Struct || in == reflect.TypeFor[time.Time]() || apart[in] != "" {
			names = append(names, name)
			continue
		}
		for _, inner := range fieldsOf(in, apart) {
			names = append(names, name+list+"."+inner)
		}
	}
	return names
}

// Each field of the API is in the page's tables, and no other.
func TestHandbookFields(t *testing.T) {
	tables := map[reflect.Type]string{
		reflect.TypeFor[statusJSON](): "The proxy", reflect.TypeFor[originsJSON](): "Origins", reflect.TypeFor[originJSON](): "An origin",
		reflect.TypeFor[sessionJSON](): "A session", reflect.TypeFor[refusalJSON](): "A refusal", reflect.TypeFor[changeJSON](): "A change",
		reflect.TypeFor[certificateJSON](): "A certificate", reflect.TypeFor[nodeJSON](): "A node", reflect.TypeFor[requestsJSON](): "Requests",
		reflect.TypeFor[requestJSON](): "A request", reflect.TypeFor[clusterJSON](): "Nodes",
	}
	_, page, _ := strings.Cut(pageOf(t, "api"), "\n## Fields\n")
	for of, heading := range tables {
		_, table, _ := strings.Cut(page, "\n### "+heading+"\n")
		table, _, _ = strings.Cut(table, "\n#")
		got, want := slices.Sorted(slices.Values(firstCells(table))), slices.Sorted(slices.Values(fieldsOf(of, tables)))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the page has\n%q\nwant\n%q", heading, got, want)
		}
	}
	if n := strings.Count(page, "\n### "); n != len(tables) {
		t.Errorf("the page has %d tables, want %d", n, len(tables))
	}
	for _, kind := range inspect.RefusalKinds {
		if !strings.Contains(page, "`"+kind+"`") {
			t.Errorf("the page has no refusal of the kind %s", kind)
		}
	}
}
