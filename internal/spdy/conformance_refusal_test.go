package spdy_test

import (
	"context"
	"io"
	"net/http"

	"github.com/amahi/spdy"
)

var refusalCases = []conformanceCase{
	server(119, "a handler refuses its request", func(h *serverTest) {
		got := make(chan error, 2)
		refuse := func(w http.ResponseWriter, r *http.Request) {
			got <- spdy.ResetStream(r.Context(), spdy.RefusedStream)
			<-r.Context().Done()
			if _, err := io.WriteString(w, "late"); err == nil {
				h.Error("a write after ResetStream: got no error")
			}
			if err := spdy.ResetStream(r.Context(), spdy.Cancel); err == nil {
				h.Error("a second ResetStream: got no error")
			}
		}
		h.mux.HandleFunc("/refuse", refuse)
		h.mux.HandleFunc("/refuse/late", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "held back")
			refuse(w, r)
		})
		for _, f := range []frame{post(1, "/refuse"), req(3, "/refuse"), post(5, "/refuse/late")} {
			h.p.Send(f)
			h.wantSE("2.6.3: nothing was processed", f.ID, spdy.RefusedStream)
			if err := <-got; err != nil {
				h.Errorf("ResetStream: got %v, want nil", err)
			}
		}
		h.alive(7)
	}),
	server(120, "an answered request cannot be refused", func(h *serverTest) {
		got := make(chan error, 1)
		answer := func(status spdy.Status) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "ok")
				http.NewResponseController(w).Flush()
				got <- spdy.ResetStream(r.Context(), status)
			}
		}
		h.mux.HandleFunc("/refuse", answer(spdy.RefusedStream))
		h.mux.HandleFunc("/cancel", answer(spdy.Cancel))
		h.p.Send(req(1, "/refuse"))
		h.wantResponse("the response goes on", 1, "200", "ok")
		if err := <-got; err == nil {
			h.Error("ResetStream with REFUSED_STREAM: got no error")
		}
		h.p.Send(req(3, "/cancel"))
		if m := h.collect("a response that is given up", 3).stream(3); m.reset != spdy.Cancel || m.fin {
			h.Errorf("got %v, FIN %v, want CANCEL and no FIN", m.reset, m.fin)
		}
		if err := <-got; err != nil {
			h.Errorf("ResetStream with CANCEL: got %v, want nil", err)
		}
		if err := spdy.ResetStream(context.Background(), spdy.Cancel); err == nil {
			h.Error("ResetStream without a handler: got no error")
		}
		h.alive(5)
	}),
}
