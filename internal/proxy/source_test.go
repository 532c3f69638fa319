package proxy

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/inspect"
)

// Of requests under way, a filter finds the one that it takes behind any number of older
// ones; without one no more are looked at than are shown.
func TestOpenOf(t *testing.T) {
	looked := 0
	records := func(max int) iter.Seq2[*front.Record, string] {
		return func(yield func(*front.Record, string) bool) {
			for i := range min(max, 2000) {
				looked++
				name := "@"
				if i%1000 == 999 {
					name = "film"
				}
				r := &front.Record{Record: accesslog.Record{RequestID: fmt.Sprint(i), Origin: name, URI: "/a?b=c", Duration: time.Minute}}
				if !yield(r, "is answered") {
					return
				}
			}
		}
	}
	for _, test := range []struct {
		filter inspect.Filter
		max    int
		want   string
		looked int
	}{
		{inspect.Filter{}, 2, "[0 1]", 2},
		{inspect.Filter{Origin: "film"}, 10, "[999 1999]", 2000},
		{inspect.Filter{Origin: "film"}, 1, "[999]", 1000},
		{inspect.Filter{Origin: "@", Slow: time.Minute}, 1, "[0]", 1},
		{inspect.Filter{Slow: time.Hour}, 1, "[]", 2000},
		{inspect.Filter{Status: "200"}, 1, "[]", 2000},
	} {
		looked = 0
		ids := []string{}
		for _, r := range openOf(records, test.filter, test.max) {
			ids = append(ids, r.ID)
			if r.Phase != "is answered" || r.Target != "/a?b=*" {
				t.Errorf("%+v: %+v", test.filter, r)
			}
		}
		if got := fmt.Sprint(ids); got != test.want || looked != test.looked {
			t.Errorf("%+v, at most %d: got %s of %d looked at, want %s of %d", test.filter, test.max, got, looked, test.want, test.looked)
		}
	}
}
