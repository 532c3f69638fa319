package agent

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy-proxy/internal/control"
)

// C says what it serves and where visitors reach it, in words that can be clicked:
// once, until it is somewhere else.
func TestSaysWhereItIsReached(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Serves, w.cfg.Connections, w.cfg.Name = "serving /srv/photos", 3, "münchen"
		told := []control.Registration{
			{URLs: []string{"https://a.test/", "https://b.test/"}}, {URLs: []string{"https://a.test/", "https://b.test/"}},
			{URLs: []string{"https://a.test/", "https://b.test/"}}, {Warning: "no domain"}, {Warning: "no domain"}, {URLs: []string{"http://c.test:81/"}, Warning: "no certificate"},
		}
		var mu sync.Mutex // guards told: three connect at once
		handle := w.p.Handle
		w.p.Handle = func(r *control.Registration) (func(), error) {
			mu.Lock()
			r.URLs, r.Warning = told[0].URLs, told[0].Warning
			told = told[1:]
			mu.Unlock()
			return handle(r)
		}
	}, func(w *world) {
		var s [3]*session
		for i := range s {
			s[i] = w.registered()
		}
		if got := s[0].reg.Name; got != "xn--mnchen-3ya" {
			t.Errorf("registered as %q, want the A-label", got)
		}
		synctest.Wait()
		for range 2 {
			s[0].Close()
			s[0] = w.registered()
			synctest.Wait()
		}
		s[0].Close()
		w.registered()
		synctest.Wait()
		for line, n := range map[string]int{
			`level=INFO msg="serving /srv/photos at https://a.test/ and https://b.test/" proxy=p.example:1444`: 1,
			`level=WARN msg="serving /srv/photos, but no visitor reaches it: no domain" proxy=p.example:1444`:  1,
			`level=INFO msg="serving /srv/photos at http://c.test:81/" proxy=p.example:1444`:                   1,
			`level=WARN msg="not every visitor gets there: no certificate" proxy=p.example:1444`:               1,
			`origin=xn--mnchen-3ya server=p-1 written=münchen`:                                                 6,
		} {
			if got := strings.Count(w.log.String(), line); got != n {
				t.Errorf("%d lines with %s, want %d, in\n%s", got, line, n, w.log)
			}
		}
	})
}
