package serve

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/httpfield"
)

const (
	// maxFormHead bounds what a form may say between two files.
	maxFormHead = 32 << 10

	// maxUploadDepth bounds the folders that the path of an upload may make, and how deep
	// WebDAV makes one, or moves one deeper than it was.
	maxUploadDepth = 32
)

var (
	errForm     = errors.New("the body is not a whole form")
	errFormHead = errors.New("a part of the form has too long a head")
	errNoFile   = errors.New("the form has no file")
)

// uploadForm is what a page about a folder needs for people to upload to it,
// without a script too, and uploadScript what makes a bar and drag and drop of it.
const uploadForm = `<form id="upload" method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple required aria-label="Files to upload">
<button>Upload</button>
<progress hidden></progress>
<output></output>
</form>`

//go:embed upload.js
var uploadScript string

// A keptFile is an upload that was kept, as it is told in JSON.
type keptFile struct {
	Name     string `json:"name"`               // in the upload folder
	Size     int64  `json:"size"`               // in bytes
	Digest   string `json:"digest"`             // in the form of X-Received-Digest
	Location string `json:"location,omitempty"` // where it is served
}

// uploadsHere tells whether what is sent to the folder of that name stays in it
// or in a folder that nobody sees: then a page about it may offer to upload.
func (d *folder) uploadsHere(name string) bool {
	_, ok := d.writable(name)
	return ok || d.uploads != nil && d.uploads.at == ""
}

// keep answers a POST or PUT by keeping its body, or the files in it.
func (d *folder) keep(w http.ResponseWriter, r *http.Request) {
	u := d.uploads
	// Another site's page must not make its visitors upload here.
	if !sameOrigin(r) {
		u.reply(w, r, nil, http.StatusForbidden, "another site's page may not upload here")
		return
	}
	if r.Header.Get("Content-Range") != "" {
		u.reply(w, r, nil, http.StatusBadRequest, "a part of a file cannot be kept; send the whole")
		return
	}
	if t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && t == "multipart/form-data" && r.Method == http.MethodPost {
		u.keepForm(w, r, d.formFolder(r), params["boundary"])
		return
	}
	body := newReceived(w, r)
	if body.announce > u.max {
		u.replyTo(w, r, nil, errTooLong, false)
		return
	}
	err := u.room.fits(max(body.announce, 0))
	var to destination
	if err == nil {
		to, err = d.destination(r)
	}
	var name string
	if err == nil {
		name, err = u.store(to, body.copyTo)
	}
	if err != nil {
		if body.broken {
			u.log.Debug("an upload ended early", "received", body.length, "error", err)
		}
		u.replyTo(w, r, nil, err, body.broken)
		return
	}
	body.describe(w.Header())
	u.reply(w, r, []keptFile{u.kept(name, body.length, body.sum.Sum(nil))}, http.StatusCreated, "")
}

// sameOrigin tells whether r may change something: browsers let any site's page
// send a request, and say which did.
func sameOrigin(r *http.Request) bool {
	r = r.WithContext(r.Context()) // a copy
	r.Host = seenHost(r)
	return new(http.CrossOriginProtection).Check(r) == nil
}

// destination says where the body of r is kept: a PUT to a path in the upload
// folder that may be written there, anything else in the upload folder under a
// random name.
func (d *folder) destination(r *http.Request) (destination, error) {
	u := d.uploads
	to := destination{folder: ".", ext: extension(r.URL.Path)}
	served, slash, err := d.localName(r.URL)
	if r.Method != http.MethodPut || err != nil || slash {
		return to, nil
	}
	name, ok := d.writable(served)
	if !ok || strings.Count(name, "/") > maxUploadDepth {
		return to, nil
	}
	last := safeName(path.Base(name))
	if last == "" {
		return to, nil
	}
	folder, err := u.makeFolder(path.Dir(name))
	if folder != "" {
		to.name, to.folder = last, folder
	}
	return to, err
}

// makeFolder returns the folder of that name. What of the path is not there is
// made, each part under the name that an upload would get; "" if none remains.
func (u *uploads) makeFolder(name string) (string, error) {
	if name == "." {
		return name, nil
	}
	err := u.isFolder(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	last := safeName(path.Base(name))
	if last == "" {
		return "", nil
	}
	parent, err := u.makeFolder(path.Dir(name))
	if parent == "" || err != nil {
		return "", err
	}
	name = path.Join(parent, last)
	err = u.makeDir(name)
	if errors.Is(err, fs.ErrExist) {
		err = u.isFolder(name) // made for an earlier upload, or somebody was faster
	}
	return name, folderError(err)
}

// isFolder tells what is wrong with the folder of that name: fs.ErrNotExist where nothing has it.
func (u *uploads) isFolder(name string) error {
	info, err := u.dir.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return errNoFolder
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	return folderError(err)
}

// errNoFolder is something that stands where the path of an upload has a folder.
var errNoFolder = errors.New("there is no such folder, and none can be made")

// errTooDeep is a folder that would be deeper than any may be made.
var errTooDeep = fmt.Errorf("folders are made %d deep at most", maxUploadDepth)

// errInTheWay is something that has a name, and that nothing replaces: a folder, or a
// link that the owner made.
var errInTheWay = errors.New("something that is not replaced has this name")

// errLinkStays is a link that would lead elsewhere from another folder, or a folder with one.
var errLinkStays = errors.New("a link that leads up stays in its folder")

// errBadName is a name that nothing is to have in the upload folder.
var errBadName = errors.New("nothing may be given this name here")

// folderError tells from err whether it is the path that is wrong.
func folderError(err error) error {
	if err != nil && !errors.Is(err, errFilesFull) && !diskFull(err) && status(err) == http.StatusNotFound {
		return errNoFolder
	}
	return err
}

// formFolder is where the files of the form r are kept: in the folder that it was
// sent to if that is in the upload folder and may be written, else in the upload
// folder itself.
func (d *folder) formFolder(r *http.Request) string {
	served, _, err := d.localName(r.URL)
	if err != nil {
		return "."
	}
	name, ok := d.writable(served)
	if !ok {
		return "."
	}
	if info, err := d.uploads.dir.Stat(name); err != nil || !info.IsDir() {
		return "."
	}
	return name
}

// keepForm keeps each file of a form (RFC 7578) under its own name, whole or not
// at all. The first that cannot be kept is the last that is looked at.
func (u *uploads) keepForm(w http.ResponseWriter, r *http.Request, folder, boundary string) {
	body := &formReader{received: newReceived(w, r)}
	form := multipart.NewReader(body, boundary)
	var files []keptFile
	err := u.room.fits(max(body.announce, 0))
	for err == nil {
		body.allow = maxFormHead
		var part *multipart.Part
		if part, err = form.NextPart(); err != nil {
			if err != io.EOF && body.err == nil {
				body.err = errForm
			}
			break
		}
		body.allow = math.MaxInt64
		var file keptFile
		if file, err = u.keepPart(part, folder); err == nil && file.Name != "" {
			files = append(files, file)
		}
	}
	if err == io.EOF && body.err == nil {
		body.end(boundary)
	}
	switch {
	case err == io.EOF && body.err == nil && len(files) > 0:
		u.reply(w, r, files, http.StatusCreated, "")
	case err == io.EOF && body.err == nil:
		u.replyTo(w, r, nil, errNoFile, true)
	case body.err != nil:
		u.replyTo(w, r, files, body.err, true)
	default:
		u.replyTo(w, r, files, err, errors.Is(err, io.ErrUnexpectedEOF))
	}
}

// A formReader reads the body of a form.
type formReader struct {
	*received
	allow int64  // bytes that may be read before allow is set again
	err   error  // what ended the body before its end
	whole bool   // it came to its end
	tail  []byte // what was read last
}

// maxFormTail is more than multipart.Reader reads ahead, and the last boundary.
const maxFormTail = 8 << 10

func (b *formReader) Read(p []byte) (int, error) {
	if b.allow <= 0 {
		b.err = errFormHead
		return 0, b.err
	}
	b.extend()
	n, err := b.body.Read(p[:min(int64(len(p)), b.allow)])
	b.allow -= int64(n)
	b.length += int64(n)
	b.tail = append(b.tail[min(len(b.tail), max(0, len(b.tail)+n-maxFormTail)):], p[:n]...)
	if err == io.EOF && b.announce >= 0 && b.length != b.announce {
		err = io.ErrUnexpectedEOF
	}
	b.whole = err == io.EOF
	if err != nil && !b.whole {
		b.err = err
	}
	return n, err
}

// end reads what is left when a multipart.Reader has come to an end. That may be
// one in the midst of a part's head, which it takes for the form's.
func (b *formReader) end(boundary string) {
	if !bytes.Contains(b.tail, []byte("--"+boundary+"--")) {
		b.err = errForm
		return
	}
	b.allow = maxFormHead
	io.Copy(io.Discard, b) // an error is in b.err
}

// keepPart keeps a part of a form if it is a file that a person chose.
func (u *uploads) keepPart(part *multipart.Part, folder string) (keptFile, error) {
	if part.FileName() == "" {
		_, err := io.Copy(io.Discard, part)
		return keptFile{}, err
	}
	var size int64
	sum := sha256.New()
	// What browsers and curl write for a quote in a name (HTML, 4.10.22.8).
	to := destination{folder: folder, name: safeName(strings.ReplaceAll(part.FileName(), "%22", `"`))}
	name, err := u.store(to, func(w io.Writer) (err error) {
		size, err = io.Copy(io.MultiWriter(w, sum), part)
		return err
	})
	if err != nil {
		return keptFile{}, err
	}
	return u.kept(name, size, sum.Sum(nil)), nil
}

// kept notes an upload that was kept.
func (u *uploads) kept(name string, size int64, sum []byte) keptFile {
	u.log.Info("kept an upload", "name", name, "bytes", size)
	return keptFile{Name: name, Size: size, Digest: digestText(sum), Location: u.url(name)}
}

// replyTo answers an upload that failed with err after files were kept;
// broken tells that the body was not what it should be, and no fault of ours.
func (u *uploads) replyTo(w http.ResponseWriter, r *http.Request, files []keptFile, err error, broken bool) {
	code, text := u.problem(w, err, broken)
	u.reply(w, r, files, code, text)
}

// problem tells what is answered for err, and logs what the owner should know.
func (u *uploads) problem(w http.ResponseWriter, err error, broken bool) (code int, text string) {
	switch {
	case errors.Is(err, errTooLong):
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("at most %d bytes are kept", u.max)
	case errors.Is(err, errNoFolder), errors.Is(err, fs.ErrNotExist):
		return http.StatusConflict, errNoFolder.Error()
	case errors.Is(err, errBadName), errors.Is(err, errTooDeep), errors.Is(err, errInTheWay), errors.Is(err, errLinkStays):
		return http.StatusForbidden, err.Error()
	case broken && errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, fmt.Sprintf("nothing of the body came for %v", bodyIdle)
	case errors.Is(err, errForm), errors.Is(err, errFormHead), errors.Is(err, errNoFile):
		return http.StatusBadRequest, err.Error()
	case broken:
		return http.StatusBadRequest, "the body ended before its end"
	case errors.Is(err, errDiskFull), errors.Is(err, errFilesFull), diskFull(err):
		u.limit.Log("room", slog.LevelWarn, "an upload was refused", slog.String("folder", u.dir.Name()), slog.Any("error", err))
		return http.StatusInsufficientStorage, "there is no room for this body"
	case errno.Is(err, syscall.ETXTBSY):
		return http.StatusLocked, "another program has this file open"
	case status(err) == http.StatusServiceUnavailable:
		noDescriptors(u.limit, u.dir.Name(), err)
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, "too many files are open; try again soon"
	}
	u.limit.Log("upload", slog.LevelError, "an upload could not be kept", slog.String("folder", u.dir.Name()), slog.Any("error", err))
	if errno.Is(err, syscall.EXDEV) || errno.Is(err, syscall.EBUSY) {
		return http.StatusForbidden, "this is on another disk than the upload folder, or is such a disk; nothing can be kept there, nor in its place"
	}
	return http.StatusInternalServerError, "the body could not be kept"
}

var uploadPage = template.Must(template.New("upload").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Upload</title>
{{- if .Files}}
<p>Kept:</p>
<ul>
{{- range .Files}}
<li>{{if .Location}}<a href="{{.Location}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}, {{.Size}} bytes</li>
{{- end}}
</ul>
{{- end}}
{{- if .Error}}
<p>{{.Error}}</p>
{{- end}}
<p><a href="./">Back</a></p>
</html>
`))

// reply tells what was kept, in the form that r asks for: JSON, a page for a
// person who sent a form, or a name a line.
func (u *uploads) reply(w http.ResponseWriter, r *http.Request, files []keptFile, code int, problem string) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if problem != "" {
		problem = fmt.Sprintf("%d: %s", code, problem)
	} else if len(files) == 1 && files[0].Location != "" {
		h.Set("Location", files[0].Location)
	}
	answer := struct {
		Files []keptFile `json:"files"`
		Error string     `json:"error,omitempty"`
	}{append([]keptFile{}, files...), problem}
	var text bytes.Buffer
	var err error
	switch {
	case accepts(r, "application/json"):
		h.Set("Content-Type", "application/json")
		err = json.NewEncoder(&text).Encode(answer)
	case accepts(r, "text/html") && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/"):
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'")
		err = uploadPage.Execute(&text, answer)
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		for _, f := range files {
			fmt.Fprintln(&text, f.Name)
		}
		if problem != "" {
			fmt.Fprintln(&text, problem)
		}
	}
	if err != nil {
		u.limit.Log("answer", slog.LevelError, "an upload could not be answered", slog.Any("error", err))
		code = http.StatusInternalServerError
	}
	w.WriteHeader(code)
	w.Write(text.Bytes())
}

// accepts tells whether r names the media type in Accept, other than to refuse it.
func accepts(r *http.Request, mediaType string) bool {
	for name, q := range httpfield.Weighted(r.Header["Accept"]) {
		if name == mediaType {
			return q > 0
		}
	}
	return false
}
