package front

import (
	"strings"
	"testing"
)

// A person's browser gets a page, and whatever else asks gets one line of text.
func TestAnswerForAPerson(t *testing.T) {
	s := newStage(t, nil)
	s.each(t, func(t *testing.T, v *visitor) {
		for _, c := range []struct {
			accept string
			page   bool
		}{
			{"", false}, {"*/*", false}, {"text/*", false}, {"text/plain, text/html;q=0.9", false}, {"text/html;q=0", false}, {"application/json", false},
			{"text/html", true}, {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true}, {"text/html, text/plain;q=0.5", true},
		} {
			r := v.request(t, "GET", "/", nil)
			if c.accept != "" {
				r.Header.Set("Accept", c.accept)
			}
			a := v.do(t, r)
			id := a.Header.Get("X-Request-Id")
			page := strings.HasPrefix(a.body, "<!DOCTYPE html>") && a.Header.Get("Content-Type") == "text/html; charset=utf-8" &&
				strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") &&
				strings.Contains(a.body, "<p>The default origin is not connected.</p>") && strings.Contains(a.body, id)
			text := a.body == "503 Service Unavailable: the default origin is not connected\n" && a.Header.Get("Content-Type") == "text/plain; charset=utf-8"
			if a.StatusCode != 503 || id == "" || page != c.page || text == c.page {
				t.Errorf("Accept %q: got %d %v\n%s", c.accept, a.StatusCode, a.Header, a.body)
			}
		}
	})
}

// What A wrote is text on a page.
func TestPageEscapes(t *testing.T) {
	f := &failure{status: 502, detail: "<script>alert(1)</script>"}
	if p := f.page("<b>"); strings.Contains(p, "<script>") || strings.Contains(p, "<b>") || !strings.Contains(p, "&lt;script&gt;") {
		t.Error(p)
	}
	(&failure{status: 500}).page("")
}
