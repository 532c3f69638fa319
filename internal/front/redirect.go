package front

import (
	"net/http"
	"strings"
)

// Redirect answers each request with the same address by https (308, RFC 9110,
// 15.4.9), at the port that is given. For requests that came without TLS.
func Redirect(port string) http.Handler {
	at := ""
	if port != "443" {
		at = ":" + port
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		host, err := parseHost(r.Host)
		target := r.RequestURI // as it was sent
		if !strings.HasPrefix(target, "/") {
			target = r.URL.RequestURI()
		}
		switch {
		case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
			h.Set("Allow", allowed)
			w.WriteHeader(http.StatusMethodNotAllowed)
		case err != nil || host == "" || !strings.HasPrefix(target, "/"):
			w.WriteHeader(http.StatusBadRequest)
		default:
			h.Set("Location", "https://"+host+at+target)
			w.WriteHeader(http.StatusPermanentRedirect)
		}
	})
}
