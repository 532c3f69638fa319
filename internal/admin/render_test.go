package admin

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// All who follow a page share what is made of it, for less than a second; what nobody
// follows any more is not kept.
func TestRenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r renders
		made := 0
		want := func(address, events string) {
			t.Helper()
			if got := r.get(address, false, func() []byte { made++; return fmt.Append(nil, address, made) }); string(got) != events {
				t.Errorf("%s: got %s, want %s", address, got, events)
			}
		}
		want("/", "/1")
		want("/", "/1")
		want("/?q=a", "/?q=a2")
		if got := r.get("/?q=a", true, func() []byte { return []byte("new") }); string(got) != "new" {
			t.Errorf("who has just come got %s", got)
		}
		want("/?q=a", "new")
		time.Sleep(renderedFor - 1)
		want("/", "/1")
		time.Sleep(time.Nanosecond)
		want("/", "/3")
		if len(r.made) != 1 {
			t.Errorf("%d are kept, want 1", len(r.made))
		}
		for i := range 2 * maxStreams {
			r.get(fmt.Sprint(i), i%2 == 0, func() []byte { return nil })
		}
		if len(r.made) != maxStreams {
			t.Errorf("of many, %d are kept, want %d", len(r.made), maxStreams)
		}
	})
}

// What one page shows is not sent to who follows another.
func TestPagesApart(t *testing.T) {
	f := busy()
	url := serve(t, newHandler(f, false))
	as := map[string]string{"Accept": "text/event-stream"}
	all, one := follow(t.Context(), t, url+"/", as), follow(t.Context(), t, url+"/?q=film", as)
	again := follow(t.Context(), t, url+"/", as)
	first := next(t, all, "main")
	if !strings.Contains(first, `data-key="@"`) || strings.Contains(next(t, one, "main"), `data-key="@"`) {
		t.Error("a search does not show what it searches for")
	}
	if !strings.Contains(next(t, again, "main"), `data-key="@"`) {
		t.Error("who comes later is not shown the same")
	}
}
