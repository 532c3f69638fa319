package admin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed page.css
var pageStyle string

//go:embed page.html
var pageText string

// contentPolicy lets a page of ours use its own style and nothing else.
var contentPolicy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", styleHash())

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"age":   age,
	"bytes": bytes,
	"rtt":   roundTrip,
}).Parse(pageText))

func styleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

type pageData struct {
	Snapshot
	Style   template.CSS
	Version string
	Now     time.Time
	Uptime  time.Duration
	Ready   bool
	Refresh int // seconds, 0 for never
	Metrics bool
	PProf   bool
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	d := pageData{
		Snapshot: h.Source.Snapshot(),
		Style:    template.CSS(pageStyle),
		Version:  h.Version,
		Now:      now,
		Uptime:   now.Sub(h.Started),
		Ready:    h.Source.Ready(),
		Metrics:  h.Metrics != nil,
		PProf:    h.PProf,
	}
	if n, err := strconv.Atoi(r.FormValue("refresh")); err == nil && n >= 1 && n <= 3600 {
		d.Refresh = n
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pageTemplate.Execute(w, d) // A write fails when the asker left.
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

// bytes writes n with a binary unit.
func bytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}

func roundTrip(d time.Duration) string {
	switch {
	case d <= 0:
		return "not measured"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
