package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/inspect"
)

// follow returns the events of a path as "name data" until ctx ends or the port stops.
func follow(ctx context.Context, t *testing.T, url string, header map[string]string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s, %s", url, res.Status, res.Header.Get("Content-Type"))
	}
	events := make(chan string, 100)
	go func() { // ends with the response
		defer close(events)
		defer res.Body.Close()
		name, data := "", ""
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case key == "event":
				name = value
			case key == "data":
				data += value
			case key == "" && name != "":
				events <- name + " " + data
				name, data = "", ""
			}
		}
	}()
	return events
}

// next returns the data of the next event of that name.
func next(t *testing.T, events <-chan string, name string) string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the stream has ended, without %s", name)
			}
			if data, ok := strings.CutPrefix(e, name+" "); ok {
				return data
			}
		case <-limit:
			t.Fatalf("no event %s", name)
		}
	}
}

// serve listens: a response that is written as it comes needs a connection.
func serve(t *testing.T, p *Port) string {
	t.Helper()
	server := httptest.NewUnstartedServer(p)
	server.Config = Server(p)
	server.Config.Handler = p
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(p.Stop)
	return server.URL
}

// A page says so when its origin is forgotten.
func TestPageOfAForgottenOrigin(t *testing.T) {
	f := idle()
	f.board.Named([]string{"old"})
	url := serve(t, newHandler(f, false))
	events := follow(t.Context(), t, url+"/origins/old", map[string]string{"Accept": "text/event-stream"})
	if data := next(t, events, "main"); !strings.Contains(data, "<h1>old") {
		t.Errorf("the page: %s", data)
	}
	f.board.Named(nil)
	for data := ""; !strings.Contains(data, "No origin has this name here any more"); {
		data = next(t, events, "main") // fails the test if there is none
	}
}

// Who follows events with a token that is taken back learns nothing more.
func TestEventsEndWithTheToken(t *testing.T) {
	file := tokenFile(t, secret)
	token, err := LoadToken(file)
	if err != nil {
		t.Fatal(err)
	}
	f := busy()
	url := serve(t, Handler(Config{Source: f, Board: f.board, Addr: "localhost:1445", Token: token}))
	show := map[string]string{"Authorization": "Bearer " + secret}
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	events := follow(limited, t, url+"/api/v1/events", show)
	next(t, events, "status")
	if err := token.Reload(); err != nil { // the same one
		t.Fatal(err)
	}
	next(t, events, "status")
	next(t, events, "status")
	if err := os.WriteFile(file, []byte("another-"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := token.Reload(); err != nil {
		t.Fatal(err)
	}
	for range events {
	}
	if limited.Err() != nil {
		t.Error("the events go on, though the token is another")
	}
}

// What happens is told as it does: to programs as JSON, to the pages as their own
// HTML.
func TestEvents(t *testing.T) {
	f := busy()
	p := newHandler(f, false)
	url := serve(t, p)
	events := follow(t.Context(), t, url+"/api/v1/events?origin=film", nil)
	var status statusJSON
	if err := json.Unmarshal([]byte(next(t, events, "status")), &status); err != nil || !status.Ready || status.Origins["refused"] != 1 {
		t.Errorf("status: %+v, %v", status, err)
	}
	if data := next(t, events, "origins"); !strings.Contains(data, `"name":"film"`) {
		t.Errorf("origins: %s", data)
	}
	f.board.SessionStarted("gone")
	f.board.Ended(&inspect.Request{ID: "other", Origin: "@", Known: true, Status: 200})
	for i := range maxBurst + 5 {
		f.board.Ended(&inspect.Request{ID: fmt.Sprintf("r%d", i), Origin: "film", Known: true, Status: 200})
	}
	if data := next(t, events, "changes"); !strings.Contains(data, `"origin":"gone","state":"connected"`) {
		t.Errorf("changes: %s", data)
	}
	var told struct {
		Requests []requestJSON
		Missed   int
	}
	if err := json.Unmarshal([]byte(next(t, events, "requests")), &told); err != nil || len(told.Requests) != maxBurst || told.Missed != 5 || told.Requests[0].ID != "r0" {
		t.Errorf("%d requests, %d missed, %v; want %d and 5", len(told.Requests), told.Missed, err, maxBurst)
	}
	// Who comes back hears what it has missed.
	again := follow(t.Context(), t, url+"/api/v1/events?topics=requests", map[string]string{"Last-Event-ID": "2"})
	if data := next(t, again, "requests"); !strings.Contains(data, `"id":"other"`) {
		t.Errorf("after 2: %.300s", data)
	}
	page := follow(t.Context(), t, url+"/?q=film", map[string]string{"Accept": "text/event-stream"})
	if data := next(t, page, "main"); !strings.Contains(data, `data-key="film"`) || strings.Contains(data, `data-key="@"`) || strings.Contains(data, "<html") {
		t.Errorf("main: %.300s", data)
	}
	// The end of the program ends the streams at once.
	p.Stop()
	for _, ch := range []<-chan string{events, again, page} {
		limit := time.After(time.Minute)
		for open := true; open; {
			select {
			case _, open = <-ch:
			case <-limit:
				t.Fatal("a stream does not end")
			}
		}
	}
	if res, err := http.Get(url + "/api/v1/events"); err != nil || res.StatusCode != 503 {
		t.Errorf("after the stop: %v, %v", res, err)
	}
}

// A CR of a visitor's ends no line of a stream, nor begins an event.
func TestEventHasNoCR(t *testing.T) {
	var s stream
	s.event("main", []byte("a\rdata: b\r\nc\r"))
	if got, want := s.buf.String(), "event: main\ndata: a&#13;data: b&#13;\ndata: c&#13;\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// There are so many streams and no more, and those that end make room.
func TestEventsBounded(t *testing.T) {
	f := idle()
	url := serve(t, newHandler(f, false))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []<-chan string
	for range maxStreams {
		all = append(all, follow(ctx, t, url+"/api/v1/events?topics=status", nil))
	}
	res, err := http.Get(url + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s", res.Status)
	}
	cancel()
	for _, events := range all {
		for range events {
		}
	}
	for limit := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get(url + "/api/v1/events?topics=changes")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 200 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no room after the end of all: %s", res.Status)
		}
	}
}

// Who reads nothing holds up nobody else, and is let go when its time is over.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newHandler(busy(), false)
		ln := controltest.NewListener()
		server, served := Server(p), make(chan error, 1)
		// Ends when the server is closed; waited for below.
		go func() { served <- server.Serve(ln) }()
		ask := func(path string) net.Conn {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
			return conn
		}
		slow, quick := ask("/api/v1/events"), ask("/api/v1/events?topics=status")
		defer slow.Close()
		defer quick.Close()
		lines := bufio.NewScanner(quick)
		for n := 0; n < 3 && lines.Scan(); {
			if lines.Text() == "event: status" {
				n++
			}
		}
		if err := lines.Err(); err != nil {
			t.Errorf("beside one who reads nothing: %v", err)
		}
		quick.Close()
		time.Sleep(eventLimit - 3*eventTick)
		synctest.Wait()
		if n := len(p.streams); n != 1 {
			t.Errorf("before its time is over %d streams are open, want that of who reads nothing", n)
		}
		time.Sleep(2 * eventTick)
		synctest.Wait()
		if n := len(p.streams); n != 0 {
			t.Errorf("%d streams are open after %v in which nothing was read", n, eventLimit)
		}
		server.Close()
		<-served
	})
}
