//go:build linux

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A POST of one trial has not the id of another trial's, though that one's visits are gone
// and these are where they were.
func TestPostIDs(t *testing.T) {
	seen := make(map[string]bool)
	origin := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Post")
		if id == "" || seen[id] {
			t.Errorf("the id %q is empty, or was there before", id)
		}
		seen[id] = true
		rw.Write([]byte("hello of n0"))
	}))
	defer origin.Close()
	n := &node{front: strings.TrimPrefix(origin.URL, "http://")}
	w := new(world)
	v := new(visits)
	for range 2 {
		*v = visits{w: w}
		for range 3 {
			if err := v.ask(http.DefaultClient, n, "n0", true); err != nil {
				t.Fatal(err)
			}
		}
	}
}
