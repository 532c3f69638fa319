package inspector

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask asks the inspector's port at localhost:4040.
func ask(in *Inspector, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:4040"+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if h := r.Header.Get("Host"); h != "" {
		r.Host = h
	}
	w := httptest.NewRecorder()
	in.Server("localhost:4040", nil).Handler.ServeHTTP(w, r)
	return w
}

func TestWeb(t *testing.T) {
	in, h := newInspector(echo)
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/<script>", "<b>\x00"))
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{"the page", "GET", "/", "", nil, 200, "<title>spdy-proxy: requests"},
		{"its script", "GET", "/page.js", "", nil, 200, `"use strict"`},
		{"the list", "GET", "/api/requests", "", nil, 200, `"id":1,`},
		{"one", "GET", "/api/requests/1", "", nil, 200, `"target":"/\u003cscript\u003e"`},
		{"none", "GET", "/api/requests/2", "", nil, 404, "not kept"},
		{"no number", "GET", "/api/requests/x", "", nil, 404, "not kept"},
		{"a body", "GET", "/api/requests/1/response", "", nil, 200, "<b>\x00"},
		{"something else", "GET", "/else", "", nil, 404, ""},
		{"POST to the page", "POST", "/", "", nil, 405, ""},
		{"another name", "GET", "/api/requests", "", []string{"Host", "evil.example:4040"}, 403, "not to this name"},
		{"a replay from another name", "POST", "/api/requests/1/replay", "", []string{"Host", "evil.example"}, 403, "not to this name"},
		{"a replay by another site", "POST", "/api/requests/1/replay", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "own page"},
		{"a replay by another port", "POST", "/api/requests/1/replay", "", []string{"Sec-Fetch-Site", "same-site"}, 403, "own page"},
		{"a replay by an old browser", "POST", "/api/requests/1/replay", "", []string{"Origin", "http://localhost:8080"}, 403, "own page"},
		{"a replay by GET", "GET", "/api/requests/1/replay", "", nil, 405, ""},
		{"a replay", "POST", "/api/requests/1/replay", "", []string{"Sec-Fetch-Site", "same-origin"}, 204, ""},
		{"a changed one", "POST", "/api/requests/1/replay", `{"method":"GET","target":"/"}`, nil, 204, ""},
		{"one that is wrong", "POST", "/api/requests/1/replay", `{"method":"GET"}`, nil, 409, "not a path"},
		{"no JSON", "POST", "/api/requests/1/replay", `{`, nil, 400, "not JSON"},
		{"a large one", "POST", "/api/requests/1/replay", strings.Repeat(" ", 1<<20), nil, 413, "too large"},
		{"clearing by another site", "POST", "/api/clear", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "own page"},
	} {
		w := ask(in, c.method, c.path, c.body, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %.80q, want %d and %q", c.name, w.Code, w.Body, c.status, c.want)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") {
			t.Errorf("%s: the policy is %q", c.name, policy)
		}
	}
	if w := ask(in, "GET", "/api/requests/1/response", ""); w.Header().Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("a body is sent as %v", w.Header())
	}
	if n := len(in.kept); n != 3 {
		t.Errorf("%d requests are kept, want 3: one, and two replays", n)
	}
	if w := ask(in, "POST", "/api/clear", ""); w.Code != 204 || len(in.kept) != 0 {
		t.Errorf("clearing: %d, %d requests are kept", w.Code, len(in.kept))
	}
	if w := ask(in, "GET", "/api/requests", ""); w.Body.String() != "{\"requests\":[]}\n" {
		t.Errorf("the empty list: %s", w.Body)
	}
}

// What happens is told as it does, until the port is to stop; there is a bound on those
// who follow.
func TestEvents(t *testing.T) {
	in, h := newInspector(echo)
	ended := make(chan struct{})
	server := httptest.NewServer(in.Server("127.0.0.1:4040", ended).Handler)
	defer server.Close()
	follow := func() *http.Response {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/events", nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := follow()
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (list []summary) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &list); err != nil {
					t.Fatal(err)
				}
				return list
			}
		}
		t.Fatal("the events have ended")
		return nil
	}
	if list := next(); len(list) != 0 {
		t.Errorf("at first: %+v", list)
	}
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/now", "abc"))
	for {
		list := next()
		if len(list) == 1 && list[0].Target == "/now" && list[0].Done && list[0].Out == 3 {
			break
		}
	}
	for range maxWatchers - 1 {
		defer follow().Body.Close()
	}
	if more := follow(); more.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more follows: %d", more.StatusCode)
	}
	close(ended)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && t.Context().Err() == context.Canceled {
		t.Error(err)
	}
}
