package admin

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/amahi/spdy-proxy/internal/handbook"
)

// helpData is what help.html needs.
type helpData struct {
	frame
	Chapters   []handbook.Chapter
	Page       handbook.Page // none on the page of contents
	Body       template.HTML
	Prev, Next handbook.Page // without a name: there is none
}

// help answers with a page of the handbook, or with its contents.
func (p *Port) help(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/help" {
		http.Redirect(w, r, "/help/", http.StatusMovedPermanently)
		return
	}
	d := helpData{frame: p.frame("help"), Chapters: handbook.Chapters()}
	if name := r.PathValue("page"); name != "" {
		var ok bool
		if d.Page, ok = handbook.Find(name); !ok {
			http.Error(w, "The handbook has no such page: /help/ lists those that it has.", http.StatusNotFound)
			return
		}
		var err error
		if d.Body, err = d.Page.HTML(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		pages := handbook.Pages()
		for i, other := range pages {
			switch {
			case other != d.Page:
			case i > 0 && i+1 < len(pages):
				d.Prev, d.Next = pages[i-1], pages[i+1]
			case i > 0:
				d.Prev = pages[i-1]
			case i+1 < len(pages):
				d.Next = pages[i+1]
			}
		}
	}
	var b bytes.Buffer
	if err := helpPage.Execute(&b, d); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) // It fails when the asker left.
}
