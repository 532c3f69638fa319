package proxy

import (
	"fmt"
	"iter"
	"strings"
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

// A visitor's texts are no longer while the request is under way than when it has ended,
// and its secrets no more to be seen.
func TestOpenOfLongTexts(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	records := func(int) iter.Seq2[*front.Record, string] {
		return func(yield func(*front.Record, string) bool) {
			yield(&front.Record{Record: accesslog.Record{Host: long, URI: "/?a=" + long, UserAgent: long, Method: long, Origin: long}}, "is answered")
		}
	}
	r := openOf(records, inspect.Filter{}, 1)[0]
	if n := len(r.Host + r.Agent + r.Method + r.Origin); n > 1000 {
		t.Errorf("%d bytes of texts, want at most 1000", n)
	}
	if r.Target != "/?a=*" {
		t.Errorf("the target is %.20s, want that its value is hidden", r.Target)
	}
}
