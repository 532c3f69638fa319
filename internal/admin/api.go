package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// What /api/v1 answers. Times are RFC 3339, durations milliseconds, sizes bytes, rates a
// second. A field that is not known is left out. Fields may be added, and none change
// their meaning; the handbook's page "api" says what they are.

type statusJSON struct {
	Version      string            `json:"version"`
	Now          time.Time         `json:"now"`
	Started      time.Time         `json:"started"`
	Ready        bool              `json:"ready"`
	Front        string            `json:"front"`
	Control      string            `json:"control"`
	Requests     loadJSON          `json:"requests"`
	Origins      map[string]int    `json:"origins"` // by state
	Sessions     int               `json:"sessions"`
	Connections  connectionsJSON   `json:"connections"`
	Refusals     []refusalJSON     `json:"refusals,omitempty"` // the last ones, the latest first
	Refused      map[string]uint64 `json:"refused"`            // since the start, by kind
	Certificates []certificateJSON `json:"certificates,omitempty"`
	Nodes        []nodeJSON        `json:"nodes,omitempty"`
	Changes      []changeJSON      `json:"changes,omitempty"` // of origins' states, the latest first
	Series       *seriesJSON       `json:"series,omitempty"`  // with ?series=5m or 24h
}

type loadJSON struct {
	Open    int `json:"open"`
	Held    int `json:"held"`
	Serving int `json:"serving"`
	pointJSON
}

// pointJSON is one second, or one minute.
type pointJSON struct {
	Requests float32 `json:"requests_per_second"`
	Errors   float32 `json:"errors_per_second"`
	In       float32 `json:"bytes_in_per_second"`
	Out      float32 `json:"bytes_out_per_second"`
	P50      float32 `json:"p50_ms"`
	P99      float32 `json:"p99_ms"`
}

type connectionsJSON struct {
	Open           int    `json:"open"`
	RefusedAddress uint64 `json:"refused_address"`
	RefusedTotal   uint64 `json:"refused_total"`
	DroppedSilent  uint64 `json:"dropped_silent"`
	DroppedIdle    uint64 `json:"dropped_idle"`
}

type refusalJSON struct {
	Time   time.Time `json:"time"`
	Remote string    `json:"remote"`
	Origin string    `json:"origin,omitempty"`
	Status int       `json:"status,omitempty"`
	Kind   string    `json:"kind"`
	Why    string    `json:"why"`
}

type certificateJSON struct {
	Name     string     `json:"name"`
	From     string     `json:"from,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	DaysLeft int        `json:"days_left"`
	EndsSoon bool       `json:"ends_soon"`
	Problem  string     `json:"problem,omitempty"`
}

type nodeJSON struct {
	ID       string  `json:"id"`
	Address  string  `json:"address"`
	State    string  `json:"state"`
	RTT      float64 `json:"round_trip_ms,omitempty"`
	Sessions int     `json:"sessions"`
	Self     bool    `json:"self,omitempty"`
}

type changeJSON struct {
	Time   time.Time `json:"time"`
	Origin string    `json:"origin"`
	State  string    `json:"state"`
	Why    string    `json:"why,omitempty"`
}

// seriesJSON is the past, the oldest point first; the last one was at End.
type seriesJSON struct {
	Step     float64   `json:"step_s"`
	End      time.Time `json:"end"`
	Requests []float32 `json:"requests"`
	Errors   []float32 `json:"errors"`
	In       []float32 `json:"in"`
	Out      []float32 `json:"out"`
	Held     []float32 `json:"held"`
	Open     []float32 `json:"open"`
	P50      []float32 `json:"p50_ms"`
	P99      []float32 `json:"p99_ms"`
}

type originsJSON struct {
	Total   int            `json:"total"`
	Matched int            `json:"matched"`
	Page    int            `json:"page"`
	PerPage int            `json:"per_page"`
	States  map[string]int `json:"states"`
	Origins []originJSON   `json:"origins"`
}

type originJSON struct {
	Name         string            `json:"name"`
	Written      string            `json:"written,omitempty"` // as people write it, where that is another
	State        string            `json:"state"`
	Since        *time.Time        `json:"since,omitempty"`
	Why          string            `json:"why,omitempty"`
	URLs         []string          `json:"urls,omitempty"`
	InFlight     int               `json:"in_flight"`
	Requests     uint64            `json:"requests"`
	Errors       uint64            `json:"errors"`
	In           uint64            `json:"bytes_in"`
	Out          uint64            `json:"bytes_out"`
	Classes      map[string]uint64 `json:"classes"` // requests that ended, by class of the status
	Replayed     uint64            `json:"replayed"`
	Resumed      uint64            `json:"resumed"`
	RequestRate  float32           `json:"requests_per_second"`
	ErrorRate    float32           `json:"errors_per_second"`
	InRate       float32           `json:"bytes_in_per_second"`
	OutRate      float32           `json:"bytes_out_per_second"`
	P50          float64           `json:"p50_ms,omitempty"`
	P99          float64           `json:"p99_ms,omitempty"`
	RoundTrip    float64           `json:"round_trip_ms,omitempty"`
	RoundTripAge float64           `json:"round_trip_age_ms,omitempty"`
	Started      uint64            `json:"sessions_started"`
	Ended        uint64            `json:"sessions_ended"`
	LastRefusal  *refusalJSON      `json:"last_refusal,omitempty"`
	Sessions     []sessionJSON     `json:"sessions"`
	Recent       []uint32          `json:"recent,omitempty"`  // of one origin: requests in each 5 s of the last 5 minutes
	Changes      []changeJSON      `json:"changes,omitempty"` // of one origin
	Frames       []framesJSON      `json:"frames,omitempty"`  // of one origin
}

type sessionJSON struct {
	ID         uint64     `json:"id"`
	Instance   string     `json:"instance,omitempty"`
	Remote     string     `json:"remote"`
	Agent      string     `json:"agent,omitempty"`
	Since      time.Time  `json:"since"`
	Leaving    bool       `json:"leaving,omitempty"`
	InFlight   int        `json:"in_flight"`
	MaxStreams int        `json:"max_streams"`
	Streams    uint64     `json:"streams"`
	ToC        uint64     `json:"bytes_in"`
	FromC      uint64     `json:"bytes_out"`
	FramesToC  uint64     `json:"frames_in"`
	FramesOut  uint64     `json:"frames_out"`
	Resets     uint64     `json:"resets"`
	Window     int64      `json:"window"`
	Buffered   int64      `json:"buffered"`
	RoundTrip  float64    `json:"round_trip_ms,omitempty"`
	Measured   *time.Time `json:"measured,omitempty"`
}

type framesJSON struct {
	Session uint64      `json:"session"`
	Frames  []frameJSON `json:"frames"`
}

type frameJSON struct {
	Time   time.Time `json:"time"`
	Sent   bool      `json:"sent"`
	Type   string    `json:"type"`
	Stream uint32    `json:"stream,omitempty"`
	Length int       `json:"length"`
	Flags  uint8     `json:"flags,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

type requestsJSON struct {
	Requests []requestJSON `json:"requests"`
	Before   uint64        `json:"before,omitempty"` // for the next page
	Open     []requestJSON `json:"open,omitempty"`   // with ?open=1
}

type requestJSON struct {
	Seq       uint64        `json:"seq,omitempty"`
	Time      time.Time     `json:"time"`
	ID        string        `json:"id"`
	Client    string        `json:"client"`
	User      string        `json:"user,omitempty"`
	Method    string        `json:"method"`
	Scheme    string        `json:"scheme"`
	Host      string        `json:"host"`
	Target    string        `json:"target"`
	Proto     string        `json:"proto"`
	Agent     string        `json:"user_agent,omitempty"`
	Origin    string        `json:"origin,omitempty"`
	Session   uint64        `json:"session,omitempty"`
	Stream    uint32        `json:"stream,omitempty"`
	Status    int           `json:"status,omitempty"`
	Class     string        `json:"class,omitempty"`
	Phase     string        `json:"phase,omitempty"`
	Failed    bool          `json:"failed,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Detail    string        `json:"detail,omitempty"`
	Stalled   bool          `json:"stalled,omitempty"`
	Upgraded  bool          `json:"upgraded,omitempty"`
	In        int64         `json:"bytes_in"`
	Out       int64         `json:"bytes_out"`
	Queued    float64       `json:"queued_ms,omitempty"`
	Held      float64       `json:"held_ms,omitempty"`
	Opened    float64       `json:"opened_ms,omitempty"`
	Headers   float64       `json:"headers_ms,omitempty"`
	Duration  float64       `json:"duration_ms"`
	Replayed  int           `json:"replayed,omitempty"`
	Resumed   int           `json:"resumed,omitempty"`
	Attempts  []attemptJSON `json:"attempts,omitempty"`
	OverShare bool          `json:"over_share,omitempty"`
	Refused   string        `json:"refused,omitempty"` // one of inspect.RequestRefusals
}

type attemptJSON struct {
	Session uint64  `json:"session"`
	Stream  uint32  `json:"stream,omitempty"`
	After   float64 `json:"after_ms"`
	Why     string  `json:"why"`
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d/time.Microsecond) / 1000 }

// known returns nil for the zero Time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func refusalOf(r inspect.Refusal) refusalJSON {
	return refusalJSON{r.Time, r.Remote, r.Origin, r.Status, r.Kind, r.Why}
}

func changesOf(list []inspect.Change) []changeJSON {
	var out []changeJSON
	for _, c := range list {
		out = append(out, changeJSON{c.Time, c.Origin, c.State, c.Why})
	}
	return out
}

func pointOf(p inspect.Point) pointJSON {
	return pointJSON{p.Requests, p.Errors, p.In, p.Out, p.P50 * 1000, p.P99 * 1000}
}

func seriesOf(points []inspect.Point, step time.Duration, end time.Time) *seriesJSON {
	s := &seriesJSON{Step: step.Seconds(), End: end}
	for _, p := range points {
		s.Requests, s.Errors = append(s.Requests, p.Requests), append(s.Errors, p.Errors)
		s.In, s.Out = append(s.In, p.In), append(s.Out, p.Out)
		s.Held, s.Open = append(s.Held, float32(p.Held)), append(s.Open, float32(p.Open))
		s.P50, s.P99 = append(s.P50, p.P50*1000), append(s.P99, p.P99*1000)
	}
	return s
}

// status returns the state of now, without lists.
func (p *Port) status() statusJSON {
	f, l := p.Source.Figures(), p.Board.Listing()
	s := statusJSON{
		Version: p.Version, Now: time.Now(), Started: p.Started, Ready: p.Source.Ready(), Front: f.Front, Control: f.Control,
		Requests: loadJSON{Open: f.Incoming, Held: f.Held, Serving: l.InFlight}, Origins: l.States, Sessions: l.Sessions,
		Connections: connectionsJSON(f.Connections), Refused: map[string]uint64{},
	}
	if last, ok := p.Board.LastPoint(); ok {
		s.Requests.pointJSON = pointOf(last)
	}
	for i, n := range p.Board.RefusalCounts() {
		s.Refused[inspect.RefusalKinds[i]] = n
	}
	return s
}

func (p *Port) apiStatus(w http.ResponseWriter, r *http.Request) {
	s := p.status()
	for _, x := range p.Board.Refusals() {
		s.Refusals = append(s.Refusals, refusalOf(x))
	}
	for _, c := range p.Source.Certificates() {
		s.Certificates = append(s.Certificates, certificateOf(c, s.Now))
	}
	for _, n := range p.nodes() {
		s.Nodes = append(s.Nodes, nodeJSON{n.ID, n.Addr, n.Shown(), ms(n.RoundTrip), n.Sessions, n.Self})
	}
	s.Changes = changesOf(p.Board.Changes("", 0, 50))
	switch r.URL.Query().Get("series") {
	case "5m":
		s.Series = seriesOf(p.Board.Series(false))
	case "24h":
		s.Series = seriesOf(p.Board.Series(true))
	}
	answer(w, s)
}

func certificateOf(c Certificate, now time.Time) certificateJSON {
	j := certificateJSON{Name: c.Name, From: c.From, NotAfter: known(c.NotAfter), EndsSoon: c.EndsSoon, Problem: c.Problem}
	if j.NotAfter != nil {
		j.DaysLeft = int(c.NotAfter.Sub(now) / (24 * time.Hour))
	}
	return j
}

func (p *Port) originsPage(v view) originsJSON {
	l := p.Board.Listing()
	page, matched := v.choose(p.Board, l)
	out := originsJSON{Total: len(l.Origins), Matched: matched, Page: v.Page, PerPage: v.Per, States: l.States, Origins: make([]originJSON, 0, len(page))}
	for i := range page {
		out.Origins = append(out.Origins, originOf(&page[i], l.At))
	}
	return out
}

func originOf(o *inspect.Origin, now time.Time) originJSON {
	j := originJSON{
		Name: o.Name, Written: o.Written, State: o.State, Since: known(o.Since), Why: o.Why, URLs: o.URLs, InFlight: o.InFlight, Requests: o.Requests, Errors: o.Errors,
		In: o.In, Out: o.Out, RequestRate: o.RequestRate, ErrorRate: o.ErrorRate, InRate: o.InRate, OutRate: o.OutRate,
		P50: ms(o.P50), P99: ms(o.P99), RoundTrip: ms(o.RoundTrip), Started: o.SessionsStarted, Ended: o.SessionsEnded, Sessions: []sessionJSON{},
	}
	j.Classes, j.Replayed, j.Resumed = make(map[string]uint64, len(o.Classes)), o.Replayed, o.Resumed
	for i, n := range o.Classes {
		j.Classes[inspect.Classes[i]] = n
	}
	if o.RoundTrip > 0 && !o.Measured.IsZero() {
		j.RoundTripAge = ms(now.Sub(o.Measured))
	}
	if o.LastRefusal != nil {
		r := refusalOf(*o.LastRefusal)
		j.LastRefusal = &r
	}
	for _, c := range o.Sessions {
		j.Sessions = append(j.Sessions, sessionJSON{
			c.ID, c.Instance, c.Remote, c.Agent, c.Since, c.Leaving, c.InFlight, c.MaxStreams, c.Streams, c.ToC, c.FromC, c.FramesToC, c.FramesFromC,
			c.Resets, c.Window, c.Buffered, ms(c.RoundTrip), known(c.Measured),
		})
	}
	return j
}

func (p *Port) apiOrigins(w http.ResponseWriter, r *http.Request) {
	answer(w, p.originsPage(viewOf(r)))
}

func (p *Port) apiOrigin(w http.ResponseWriter, r *http.Request) {
	o, ok := p.Board.Origin(p.Source.Name(r.PathValue("name")))
	if !ok {
		fail(w, http.StatusNotFound, "no origin of this name is known")
		return
	}
	j := originOf(&o, time.Now())
	j.Recent, j.Changes = o.Recent, changesOf(p.Board.Changes(o.Name, 0, 50))
	for _, s := range p.Source.Frames(o.Name) {
		one := framesJSON{Session: s.Session, Frames: make([]frameJSON, 0, len(s.Frames))}
		for _, f := range s.Frames {
			one.Frames = append(one.Frames, frameJSON(f))
		}
		j.Frames = append(j.Frames, one)
	}
	answer(w, j)
}

func (p *Port) apiDisconnect(w http.ResponseWriter, r *http.Request) {
	name := p.Source.Name(r.PathValue("name"))
	n := p.Source.Disconnect(name)
	switch {
	case wantsPage(r): // of the page, without its script
		http.Redirect(w, r, "/origins/"+url.PathEscape(name), http.StatusSeeOther)
	case n == 0:
		fail(w, http.StatusNotFound, "no session of this origin takes requests")
	default:
		answer(w, map[string]int{"disconnected": n})
	}
}

func requestOf(r *inspect.Request) requestJSON {
	j := requestJSON{
		Seq: r.Seq, Time: r.Time, ID: r.ID, User: r.User, Method: r.Method, Scheme: r.Scheme, Host: r.Host, Target: r.Target, Proto: r.Proto, Agent: r.Agent,
		Origin: r.Origin, Session: r.Session, Stream: r.Stream, Status: r.Status, Phase: r.Phase, Failed: r.Failed, Reason: r.Reason, Detail: r.Detail,
		Stalled: r.Stalled, Upgraded: r.Upgraded, OverShare: r.OverShare, Refused: r.Refused, In: r.In, Out: r.Out, Queued: ms(r.Queued), Held: ms(r.Held), Opened: ms(r.Opened),
		Headers: ms(r.Headers), Duration: ms(r.Duration), Replayed: r.Replayed, Resumed: r.Resumed,
	}
	if r.Client.IsValid() {
		j.Client = r.Client.String()
	}
	if r.Phase == "" {
		j.Class = r.Class()
	}
	for _, a := range r.Attempts {
		j.Attempts = append(j.Attempts, attemptJSON{a.Session, a.Stream, ms(a.After), a.Why})
	}
	return j
}

func requestsOf(list []inspect.Request) []requestJSON {
	out := make([]requestJSON, 0, len(list))
	for i := range list {
		out = append(out, requestOf(&list[i]))
	}
	return out
}

func (p *Port) apiRequests(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	before, _ := strconv.ParseUint(q.Get("before"), 10, 64) // what is wrong has been refused
	limit := number(q, "limit", perPage, 1, maxPerPage)
	filter := p.filterOf(r)
	list := p.Board.Requests(filter, before, limit)
	out := requestsJSON{Requests: requestsOf(list)}
	if len(list) == limit {
		out.Before = list[len(list)-1].Seq
	}
	if q.Get("open") == "1" {
		out.Open = requestsOf(p.Source.Open(filter, limit))
	}
	answer(w, out)
}

// answer sends v as JSON.
func answer(w http.ResponseWriter, v any) { answerWith(w, http.StatusOK, v) }

// refuse sends an error in the form of the path that was asked for, or as text where a
// browser shows it.
func refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	if isAPI(r) && !wantsPage(r) {
		fail(w, status, why)
	} else {
		http.Error(w, why, status)
	}
}

func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/v1/") }

// apiElse answers below /api/v1 where nothing else does.
func apiElse(w http.ResponseWriter, _ *http.Request) {
	fail(w, http.StatusNotFound, "there is nothing at this path; /help/api lists the paths")
}

// fail sends an error as JSON.
func fail(w http.ResponseWriter, status int, why string) {
	answerWith(w, status, map[string]string{"error": why})
}

func answerWith(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // It fails when the asker left.
}
