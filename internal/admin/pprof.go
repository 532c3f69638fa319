package admin

import (
	"context"
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// maxProfile is the longest profile that can be asked for, well below the
// server's write limit.
const maxProfile = 60 * time.Second

// profile answers below /debug/pprof/. It stands in for net/http/pprof, which
// also shows the command line and adds itself to http.DefaultServeMux by being
// imported.
func profile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/debug/pprof/")
	switch name {
	case "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, p := range pprof.Profiles() {
			fmt.Fprintf(w, "%8d %s\n", p.Count(), p.Name())
		}
		fmt.Fprint(w, "         profile?seconds=30\n         trace?seconds=1\n")
	case "profile":
		during(w, r, 30*time.Second, func() error { return pprof.StartCPUProfile(w) }, pprof.StopCPUProfile)
	case "trace":
		during(w, r, time.Second, func() error { return trace.Start(w) }, trace.Stop)
	default:
		p := pprof.Lookup(name)
		if p == nil {
			http.NotFound(w, r)
			return
		}
		level, _ := strconv.Atoi(r.FormValue("debug"))
		if level > 0 {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		} else {
			binary(w, name)
		}
		_ = p.WriteTo(w, level) // A write fails when the asker left.
	}
}

// during records from start to stop, for as long as was asked.
func during(w http.ResponseWriter, r *http.Request, d time.Duration, start func() error, stop func()) {
	if text := r.FormValue("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > int(maxProfile/time.Second) {
			http.Error(w, fmt.Sprintf("seconds is 1 to %d.", maxProfile/time.Second), http.StatusBadRequest)
			return
		}
		d = time.Duration(n) * time.Second
	}
	binary(w, "profile")
	if err := start(); err != nil {
		w.Header().Del("Content-Disposition")
		http.Error(w, "A profile of this kind is being taken already: try again later.", http.StatusConflict)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	defer cancel()
	<-ctx.Done()
	stop()
}

func binary(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}
