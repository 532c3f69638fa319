// Package policy is what the visitors of an origin may, and what they get, as the
// operator's configuration says: addresses, passwords, rates, bandwidth, headers, and a
// page for errors.
//
// A table is for one origin, by its name, or for all that have none, by "*". It holds
// for requests that come: one that is under way has been let in. What it says of
// numbers (rates, bandwidth, requests in flight) reaches those that began with a
// table, too.
package policy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// Tables is what a configuration file holds of policies.
type Tables struct {
	Origin []Table `toml:"origin"`
}

// Table is one [[origin]]. Zero values say nothing.
type Table struct {
	Name string `toml:"name"` // of an origin, a label or a host name, either where it has both, "@" for the default one, "*" for all without a table

	Htpasswd string   `toml:"htpasswd,omitempty"` // file with visitors' names and passwords, in the place of --htpasswd
	Allow    []string `toml:"allow,omitempty"`    // networks, or addresses; none: all
	Deny     []string `toml:"deny,omitempty"`     // the same; who is in both is denied

	RequestsPerSecond        float64 `toml:"requests-per-second,omitempty"` // in all
	Burst                    int     `toml:"burst,omitempty"`               // 0: those of a second
	VisitorRequestsPerSecond float64 `toml:"visitor-requests-per-second,omitempty"`
	VisitorBurst             int     `toml:"visitor-burst,omitempty"`

	BytesPerSecond Size `toml:"bytes-per-second,omitempty"` // of bodies, each way, in all
	MaxRequests    int  `toml:"max-requests,omitempty"`     // in flight

	Headers   map[string]string `toml:"headers,omitempty"`    // of answers; an empty value takes the field out
	ErrorPage string            `toml:"error-page,omitempty"` // file of HTML for P's 502, 503 and 504
}

// Size is a number of bytes, such as "10MB" or "512KiB".
type Size string

// units are what a Size may end in.
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// bytes returns the number, 0 for "".
func (s Size) bytes() (float64, error) {
	if s == "" {
		return 0, nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(string(s), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n > 0) || n*u.bytes < 1 || n*u.bytes > 1e15 {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%.40q is not a number of bytes: give one such as \"10MB\" or \"512KiB\"", string(s))
}

// rules is a table that was checked.
type rules struct {
	// Fixed by Table.rules.
	htpasswd     string
	allow, deny  []netip.Prefix
	all, visitor rate
	bytes        rate // of each way
	most         int  // requests in flight; 0: no limit
	header       http.Header
	page         []byte
}

// rate is so much a second, and so much at once. The zero value is no limit.
type rate struct {
	perSecond float64
	burst     int
}

const (
	// maxPage bounds an error page in bytes.
	maxPage = 1 << 20
	// maxRate bounds rates against a slip of the finger.
	maxRate = 1e9
)

// rules checks a table, and reads the files that it names but for passwords.
func (t *Table) rules() (*rules, error) {
	r := &rules{htpasswd: t.Htpasswd, most: t.MaxRequests}
	var err error
	if r.allow, err = networks("allow", t.Allow); err != nil {
		return nil, err
	}
	if r.deny, err = networks("deny", t.Deny); err != nil {
		return nil, err
	}
	if r.all, err = newRate("requests-per-second", t.RequestsPerSecond, "burst", t.Burst); err != nil {
		return nil, err
	}
	if r.visitor, err = newRate("visitor-requests-per-second", t.VisitorRequestsPerSecond, "visitor-burst", t.VisitorBurst); err != nil {
		return nil, err
	}
	perSecond, err := t.BytesPerSecond.bytes()
	if err != nil {
		return nil, fmt.Errorf("bytes-per-second: %w", err)
	}
	if perSecond > 0 {
		// What passes at once: an eighth of a second's, and no piece is tiny.
		r.bytes = rate{perSecond, int(min(max(perSecond/8, 1<<10), 1<<20))}
	}
	if t.MaxRequests < 0 {
		return nil, fmt.Errorf("max-requests: %d: give a number above 0, or leave it out", t.MaxRequests)
	}
	if r.header, err = header(t.Headers); err != nil {
		return nil, err
	}
	if t.ErrorPage != "" {
		if r.page, err = readPage(t.ErrorPage); err != nil {
			return nil, fmt.Errorf("error-page: %w", err)
		}
	}
	return r, nil
}

// key returns the name under which a table's rules stand, as String gives that of the
// origin below these domains.
func (t *Table) key(domains originname.Domains) (string, error) {
	switch {
	case t.Name == "":
		return "", errors.New(`there is no name: give one of an origin, "@" for the default origin, or "*"`)
	case t.Name == anyName:
		return anyName, nil
	}
	name, err := domains.Parse(t.Name)
	if err != nil {
		return "", err
	}
	return name.String(), nil
}

// anyName stands for all origins without a table.
const anyName = "*"

func networks(key string, list []string) (ps []netip.Prefix, err error) {
	for _, s := range list {
		p, err := addrkey.ParseNetwork(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

func newRate(key string, perSecond float64, burstKey string, burst int) (rate, error) {
	switch {
	case math.IsNaN(perSecond) || perSecond < 0 || perSecond > maxRate:
		return rate{}, fmt.Errorf("%s: %v: give a number above 0, such as 20 or 0.5", key, perSecond)
	case burst < 0:
		return rate{}, fmt.Errorf("%s: %d: give a number above 0, or leave it out", burstKey, burst)
	case perSecond == 0 && burst > 0:
		return rate{}, fmt.Errorf("%s: it says nothing without %s", burstKey, key)
	case perSecond == 0:
		return rate{}, nil
	case burst == 0:
		burst = int(math.Ceil(perSecond))
	}
	return rate{perSecond, burst}, nil
}

// header checks the fields of answers.
func header(fields map[string]string) (http.Header, error) {
	h := make(http.Header)
	for name, value := range fields {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !httpfield.IsToken(name) || !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("headers: %.60q: %.60q is not a header", name, value)
		case httpfield.HopByHop(key), key == "Content-Length", key == "Content-Encoding", key == "Content-Range":
			return nil, fmt.Errorf("headers: %s is about how an answer is sent, and not to be set", key)
		case h[key] != nil:
			return nil, fmt.Errorf("headers: %s is there twice", key)
		}
		h[key] = []string{value}
	}
	return h, nil
}

func readPage(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page, err := io.ReadAll(io.LimitReader(f, maxPage+1))
	switch {
	case err != nil:
		return nil, err
	case len(page) > maxPage:
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxPage)
	case len(page) == 0:
		return nil, fmt.Errorf("%s is empty", file)
	}
	return page, nil
}

// allows reports whether ip, the zero Addr for one that is not known, is let in.
func (r *rules) allows(ip netip.Addr) bool {
	return !addrkey.In(ip, r.deny) && (len(r.allow) == 0 || addrkey.In(ip, r.allow))
}
