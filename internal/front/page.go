package front

import (
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// wantsPage reports whether who asks names HTML as something that it takes, as browsers
// do for what a person is to see, and no plain text before it.
func wantsPage(r *http.Request) bool {
	page, text := 0.0, 0.0
	for name, weight := range httpfield.Weighted(r.Header["Accept"]) {
		switch name {
		case "text/html", "application/xhtml+xml":
			page = max(page, weight)
		case "text/plain":
			text = weight
		}
	}
	return page > 0 && page >= text
}

// pagePolicy lets a page of P's have its own style and nothing else.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

// page is an answer of P's own for a person.
func (f *failure) page(id string) string {
	advice := ""
	switch {
	case f.retry > 0:
		advice = "<p>Try again in a moment.</p>"
	case f.status >= 500:
		advice = "<p>Try again later. If it stays like this, tell who runs this site.</p>"
	}
	sentence := strings.ToUpper(f.detail[:min(1, len(f.detail))]) + f.detail[min(1, len(f.detail)):]
	return fmt.Sprintf(pageText, f.status, http.StatusText(f.status), html.EscapeString(sentence), advice, html.EscapeString(id))
}

const pageText = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%[1]d %[2]s</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto 2rem; max-width: 34rem; padding: 0 1.25rem; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
small { opacity: .7; }
</style>
</head>
<body>
<h1>%[1]d %[2]s</h1>
<p>%[3]s.</p>
%[4]s
<p><small>Request %[5]s</small></p>
</body>
</html>
`
