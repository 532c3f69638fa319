package inspector

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/hostguard"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var page = strings.Replace(pageText, "{{style}}", pageStyle, 1)

// contentPolicy lets the page use its own style and script, and nothing else.
var contentPolicy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	styleHash())

func styleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Server returns what answers on a port at addr, HOST:PORT as it was asked for. ended is
// closed when it is to stop: streams of events end then.
func (i *Inspector) Server(addr string, ended <-chan struct{}) *http.Server {
	w := &web{in: i, hosts: hostguard.New(addr), ended: ended}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	mux.HandleFunc("GET /page.js", w.script)
	mux.HandleFunc("GET /api/requests", w.list)
	mux.HandleFunc("GET /api/requests/{id}", w.one)
	mux.HandleFunc("GET /api/requests/{id}/request", w.requestBody)
	mux.HandleFunc("GET /api/requests/{id}/response", w.responseBody)
	mux.HandleFunc("POST /api/requests/{id}/replay", w.replay)
	mux.HandleFunc("POST /api/clear", w.clear)
	mux.HandleFunc("GET /api/events", w.events)
	w.mux = mux
	// A page of another site may make a browser ask, and must not have the service act.
	w.own.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "Only the inspector's own page may do this.", http.StatusForbidden)
	}))
	return &http.Server{
		Handler:           w,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * replayTime, // a replay is answered when it has ended
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// web answers on the port.
type web struct {
	in    *Inspector
	hosts hostguard.Guard
	ended <-chan struct{}
	own   http.CrossOriginProtection
	mux   *http.ServeMux
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	hostguard.Headers(h, contentPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if !s.hosts.Allows(r) {
		http.Error(w, "The inspector answers to localhost, or to the address it listens on, not to this name.", http.StatusForbidden)
		return
	}
	s.own.Handler(s.mux).ServeHTTP(w, r)
}

func (s *web) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, page)
}

func (s *web) script(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	io.WriteString(w, pageScript)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a write fails when the asker has left
}

func (s *web) list(w http.ResponseWriter, _ *http.Request) {
	all, _ := s.in.since(0)
	answer(w, struct {
		Requests []summary `json:"requests"`
	}{append([]summary{}, all...)})
}

// asked returns the exchange that a path names, or answers that there is none.
func (s *web) asked(w http.ResponseWriter, r *http.Request) *exchange {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err == nil {
		if x := s.in.get(id); x != nil {
			return x
		}
	}
	http.Error(w, errGone.Error(), http.StatusNotFound)
	return nil
}

func (s *web) one(w http.ResponseWriter, r *http.Request) {
	if x := s.asked(w, r); x != nil {
		answer(w, x.detail())
	}
}

func (s *web) requestBody(w http.ResponseWriter, r *http.Request) {
	if x := s.asked(w, r); x != nil {
		download(w, x, &x.request)
	}
}

func (s *web) responseBody(w http.ResponseWriter, r *http.Request) {
	if x := s.asked(w, r); x != nil {
		download(w, x, &x.response)
	}
}

// download sends what is kept of a body, as a file: it is not to be shown as what it
// says that it is, on this port.
func download(w http.ResponseWriter, x *exchange, c *capture) {
	x.mu.Lock()
	b := c.begin[:len(c.begin):len(c.begin)] // what is added is added behind it
	x.mu.Unlock()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="request-%d.bin"`, x.id))
	w.Write(b)
}

// replay answers when what is repeated has ended. A body is what is to be sent in its
// place, as JSON.
func (s *web) replay(w http.ResponseWriter, r *http.Request) {
	x := s.asked(w, r)
	if x == nil {
		return
	}
	var change *edited
	switch body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8*maxBody)); {
	case err != nil:
		http.Error(w, "The request is too large.", http.StatusRequestEntityTooLarge)
		return
	case len(body) > 0:
		change = new(edited)
		if err := json.Unmarshal(body, change); err != nil {
			http.Error(w, "This is not JSON of the form that is wanted.", http.StatusBadRequest)
			return
		}
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // it would end the context
	if err := s.in.replay(r.Context(), x.id, change); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *web) clear(w http.ResponseWriter, _ *http.Request) {
	s.in.clear()
	w.WriteHeader(http.StatusNoContent)
}

const (
	// eventPause is the least time between two events.
	eventPause = 200 * time.Millisecond
	// eventIdle is when one without news is sent: so that who has left is noticed.
	eventIdle = 15 * time.Second
	// eventWrite is how long one may take.
	eventWrite = 10 * time.Second
)

// events sends what changes, as text/event-stream: a list of summaries each time.
func (s *web) events(w http.ResponseWriter, r *http.Request) {
	changes, stop := s.in.watch()
	if changes == nil {
		http.Error(w, fmt.Sprintf("%d pages follow what happens, which is the most: close some.", maxWatchers), http.StatusServiceUnavailable)
		return
	}
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{}) // it would end the context
	idle := time.NewTicker(eventIdle)
	defer idle.Stop()
	version := uint64(0)
	for {
		changed, now := s.in.since(version)
		text, err := json.Marshal(append([]summary{}, changed...))
		if err != nil {
			return // strings, numbers and times are always JSON
		}
		version = now
		rc.SetWriteDeadline(time.Now().Add(eventWrite))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil || rc.Flush() != nil {
			return
		}
		pause := time.NewTimer(eventPause)
		select {
		case <-pause.C:
		case <-r.Context().Done():
		case <-s.ended:
		}
		pause.Stop()
		select {
		case <-changes:
		case <-idle.C:
		case <-r.Context().Done():
			return
		case <-s.ended:
			return
		}
	}
}
