package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
)

// maxProfile is the longest profile in seconds that can be asked for.
const maxProfile = 60

// profiles answers below /debug/pprof/ as net/http/pprof does, but for cmdline:
// a command line may hold what is nobody's business. That package also adds
// itself to http.DefaultServeMux, which is served nowhere. Flight, if not nil, is asked
// for what the runtime did in the last seconds. What is asked for here costs the program
// something, or has it begin what does, so a page of another site has it for nobody.
func (p *Port) profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if p.Flight != nil {
		mux.Handle("/debug/pprof/flight", p.Flight)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.fromElsewhere(r) {
			http.Error(w, "A page of another site has no say here: give the browser this address yourself.", http.StatusForbidden)
			return
		}
		if text := r.FormValue("seconds"); text != "" {
			if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxProfile {
				http.Error(w, fmt.Sprintf("seconds is 1 to %d.", maxProfile), http.StatusBadRequest)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}
