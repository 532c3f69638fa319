package policy

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// The keys are those of the configuration file.
func TestTableInTOML(t *testing.T) {
	var got Tables
	const text = `
[[origin]]
name = "films"
htpasswd = "users"
allow = ["10.0.0.0/8"]
deny = ["10.0.0.1"]
requests-per-second = 0.5
burst = 20
visitor-requests-per-second = 5
visitor-burst = 10
bytes-per-second = "10MB"
max-requests = 100
headers = { X-Frame-Options = "DENY", Server = "" }
error-page = "away.html"

[[origin]]
name = "*"
`
	if err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := Tables{[]Table{{
		Name: "films", Htpasswd: "users", Allow: []string{"10.0.0.0/8"}, Deny: []string{"10.0.0.1"}, RequestsPerSecond: .5, Burst: 20,
		VisitorRequestsPerSecond: 5, VisitorBurst: 10, BytesPerSecond: "10MB", MaxRequests: 100,
		Headers: map[string]string{"X-Frame-Options": "DENY", "Server": ""}, ErrorPage: "away.html",
	}, {Name: "*"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// What is wrong with a table is one line that names it, and the one before holds.
func TestBadTables(t *testing.T) {
	dir := t.TempDir()
	large, empty, users := filepath.Join(dir, "large"), filepath.Join(dir, "empty"), filepath.Join(dir, "users")
	for file, n := range map[string]int{large: maxPage + 1, empty: 0, users: 5} {
		if err := os.WriteFile(file, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := New(front.NewChecks(), nil)
	if err := p.Set([]Table{{Name: "films", Headers: map[string]string{"X-Good": "yes"}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		table Table
		want  string
	}{
		{Table{}, `[[origin]] 1: there is no name`},
		{Table{Name: "-x"}, `[[origin]] 1: "-x"`},
		{Table{Name: "f", Allow: []string{"10.0.0.0/99"}}, `[[origin]] "f": allow: "10.0.0.0/99" is not a network`},
		{Table{Name: "f", Deny: []string{"somewhere"}}, `deny: "somewhere"`},
		{Table{Name: "f", RequestsPerSecond: -1}, "requests-per-second: -1"},
		{Table{Name: "f", Burst: 5}, "burst: it says nothing without requests-per-second"},
		{Table{Name: "f", RequestsPerSecond: 5, Burst: -5}, "burst: -5"},
		{Table{Name: "f", VisitorRequestsPerSecond: 1e10}, "visitor-requests-per-second: 1e+10"},
		{Table{Name: "f", BytesPerSecond: "fast"}, `bytes-per-second: "fast"`},
		{Table{Name: "f", BytesPerSecond: "0"}, `bytes-per-second: "0"`},
		{Table{Name: "f", BytesPerSecond: "-1MB"}, `bytes-per-second: "-1MB"`},
		{Table{Name: "f", BytesPerSecond: "NaN"}, `bytes-per-second: "NaN"`},
		{Table{Name: "f", BytesPerSecond: "InfB"}, `bytes-per-second: "InfB"`},
		{Table{Name: "f", MaxRequests: -1}, "max-requests: -1"},
		{Table{Name: "f", Headers: map[string]string{"a b": "c"}}, `headers: "a b"`},
		{Table{Name: "f", Headers: map[string]string{"A": "b\r\nC: d"}}, `headers: "A"`},
		{Table{Name: "f", Headers: map[string]string{"connection": "close"}}, "headers: Connection"},
		{Table{Name: "f", Headers: map[string]string{"Content-Length": "1"}}, "headers: Content-Length"},
		{Table{Name: "f", Headers: map[string]string{"a": "1", "A": "2"}}, "headers: A is there twice"},
		{Table{Name: "f", ErrorPage: filepath.Join(dir, "none")}, "error-page: "},
		{Table{Name: "f", ErrorPage: large}, "is larger than"},
		{Table{Name: "f", ErrorPage: empty}, "is empty"},
		{Table{Name: "f", Htpasswd: filepath.Join(dir, "none")}, "none"},
		{Table{Name: "f", Htpasswd: users}, "line 1"},
	} {
		if err := p.Set([]Table{c.table}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got %v, want %q", c.table, err, c.want)
		}
	}
	if err := p.Set([]Table{{Name: "F"}, {Name: "f"}}); err == nil || !strings.Contains(err.Error(), "two tables") {
		t.Errorf("two tables of one name: got %v", err)
	}
	if v := p.For("films", client, true); v == nil || v.Header().Get("X-Good") != "yes" {
		t.Error("the tables before do not hold any more")
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[Size]float64{
		"": 0, "1": 1, "1000": 1000, "10MB": 1e7, "10 MB": 1e7, "1.5kB": 1500, "2KB": 2000, "1KiB": 1024, "2MiB": 2 << 20, "1GiB": 1 << 30, "3GB": 3e9, "7B": 7,
	} {
		if got, err := text.bytes(); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

// Denied is who is named as such, and who is not among those allowed.
func TestAllows(t *testing.T) {
	table := Table{Name: "f", Allow: []string{"10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32"}, Deny: []string{"10.0.0.1", "10.9.0.0/16"}}
	r, err := table.rules()
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]bool{
		"10.1.2.3": true, "10.0.0.1": false, "::ffff:10.0.0.1": false, "10.9.8.7": false, "192.0.2.7": true, "::ffff:192.0.2.7": true,
		"192.0.3.7": false, "2001:db8:1::1": true, "2001:db9::1": false, "127.0.0.1": false,
	} {
		if got := r.allows(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %t, want %t", ip, got, want)
		}
	}
	var unknown netip.Addr
	if r.allows(unknown) {
		t.Error("who is not known is among those allowed")
	}
	if all := (&rules{deny: r.deny}); !all.allows(unknown) || all.allows(netip.MustParseAddr("10.0.0.1")) {
		t.Error("without a list of those allowed, all are but those denied")
	}
}

// An origin has the table of its name, or that for all.
func TestWhichTable(t *testing.T) {
	p := New(front.NewChecks(), nil)
	if p.For("films", client, true) != nil {
		t.Error("there is a policy without a table")
	}
	table := func(name, says string) Table { return Table{Name: name, Headers: map[string]string{"Says": says}} }
	if err := p.Set([]Table{table("Films", "films"), table("@", "default"), table("*", "all")}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"films": "films", "": "default", "other": "all"} {
		if got := p.For("films", client, false); got == nil {
			t.Fatal("no policy")
		}
		if got := p.For(originName(name), client, true).Header(); !reflect.DeepEqual(got, http.Header{"Says": {want}}) {
			t.Errorf("%q has %v, want %s", name, got, want)
		}
	}
	if err := p.Set(nil); err != nil || p.For("films", client, true) != nil {
		t.Errorf("after the tables have gone there is a policy, %v", err)
	}
}

// A table holds for its origin by whichever name it is written, below each domain, and
// there is one for each.
func TestTableByHost(t *testing.T) {
	domains, err := originname.ParseDomains([]string{"example.org", "sub.example.org", "münchen.de"})
	if err != nil {
		t.Fatal(err)
	}
	p := New(front.NewChecks(), domains)
	names := []string{"photos", "Photos.example.org", "photos.EXAMPLE.org", "photos.sub.example.org", "photos.münchen.de"}
	for _, name := range names {
		if err := p.Set([]Table{{Name: name, Deny: []string{"192.0.2.1"}}, {Name: "*"}}); err != nil {
			t.Fatal(err)
		}
		if p.For("photos", client, true).Allows() {
			t.Errorf("a table named %q is not that of photos", name)
		}
		for _, other := range names {
			err := p.Set([]Table{{Name: name}, {Name: other}})
			if err == nil || !strings.Contains(err.Error(), "two tables of this origin, the other one is named "+strconv.Quote(name)) {
				t.Errorf("tables named %q and %q: got %v", name, other, err)
			}
		}
	}
	if err := p.Set([]Table{{Name: "photos"}, {Name: "a.photos.example.org"}, {Name: "photos.example.net"}, {Name: "example.org"}, {Name: "@"}}); err != nil {
		t.Errorf("tables of different origins: %v", err)
	}
}
