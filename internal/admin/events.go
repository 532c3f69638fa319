package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxStreams is how many streams of events there may be at once, and maxBurst how
	// many requests one is told of a second; it is told how many were left out.
	maxStreams = 64
	maxBurst   = 100

	eventTick = time.Second
	// eventLimit is how long a reader may take nothing: what is not read is not kept,
	// and the next event has what is new then.
	eventLimit = 10 * time.Second
)

// stream is one reader of events (the HTML standard's text/event-stream).
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf bytes.Buffer
}

// event adds one, which flush sends. data may have several lines; in it a CR stands for
// itself in HTML, and JSON has none: on the stream it would end a line.
func (s *stream) event(name string, data []byte) {
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("&#13;"))
	s.buf.WriteString("event: " + name + "\n")
	for line := range bytes.Lines(data) {
		s.buf.WriteString("data: ")
		s.buf.Write(bytes.TrimRight(line, "\n"))
		s.buf.WriteByte('\n')
	}
	s.buf.WriteByte('\n')
}

// json is event with v as JSON.
func (s *stream) json(name string, v any) {
	if b, err := json.Marshal(v); err == nil {
		s.event(name, b)
	}
}

// flush sends what was added, or a comment that shows whether the reader is there.
func (s *stream) flush() error {
	if s.buf.Len() == 0 {
		s.buf.WriteString(":\n\n")
	}
	s.rc.SetWriteDeadline(time.Now().Add(eventLimit))
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	if err == nil {
		err = s.rc.Flush()
	}
	return err
}

// serveEvents calls tick at once and then each second, until the reader leaves or the
// port stops. n counts the calls, from 0.
func (p *Port) serveEvents(w http.ResponseWriter, r *http.Request, tick func(s *stream, n int)) {
	select {
	case <-p.stopped:
		fail(w, http.StatusServiceUnavailable, "the proxy is stopping")
		return
	default:
	}
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusServiceUnavailable, "there are as many streams of events as there may be")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	s := &stream{w: w, rc: http.NewResponseController(w)}
	s.rc.SetReadDeadline(time.Time{})
	if r.Method == http.MethodHead {
		return
	}
	s.buf.WriteString("retry: 1000\n\n")
	s.event("hello", []byte(p.boot))
	ticker := time.NewTicker(eventTick)
	defer ticker.Stop()
	for n := 0; ; n++ {
		tick(s, n)
		if s.flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		case <-p.stopped:
			return
		}
		if p.Token != nil && !p.Token.admits(r) {
			return // another one was read since
		}
	}
}

func wantsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// apiEvents sends the state of the proxy, of the origins that are asked for, their
// changes, and requests as they end. ?topics= chooses.
func (p *Port) apiEvents(w http.ResponseWriter, r *http.Request) {
	wanted := map[string]bool{}
	for t := range strings.SplitSeq(r.URL.Query().Get("topics"), ",") {
		wanted[t] = true
	}
	all := wanted[""]
	v, f := viewOf(r), p.filterOf(r)
	seq := p.Board.LastRequest()
	// A reader that comes back goes on where it was.
	if last, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && last <= seq {
		seq = last
	}
	change := uint64(0)
	if l := p.Board.Changes("", 0, 1); len(l) > 0 {
		change = l[0].Seq
	}
	p.serveEvents(w, r, func(s *stream, n int) {
		if all || wanted["status"] {
			s.json("status", p.status())
		}
		if (all || wanted["origins"]) && n%2 == 0 {
			s.json("origins", p.originsPage(v))
		}
		if all || wanted["changes"] {
			list := p.Board.Changes("", change, maxBurst)
			if len(list) > 0 {
				change = list[0].Seq
				s.json("changes", changesOf(list))
			}
		}
		if all || wanted["requests"] {
			found, last, missed := p.Board.RequestsAfter(f, seq, maxBurst)
			seq = last
			if len(found) > 0 || missed > 0 {
				s.buf.WriteString("id: " + strconv.FormatUint(last, 10) + "\n")
				s.json("requests", map[string]any{"requests": requestsOf(found), "missed": missed})
			}
		}
	})
}
