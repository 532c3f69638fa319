package front

import "io"

// Htpasswd is the content of a htpasswd file.
type Htpasswd struct{}

// LoadHtpasswd reads the htpasswd file at path, in which every hash must be
// bcrypt's. The error names the line, and never quotes a hash.
func LoadHtpasswd(path string) (*Htpasswd, error) { return nil, nil }

// Reload reads the file again. If that fails, what was read before stays.
func (h *Htpasswd) Reload() error { return nil }

// AccessLog writes a line for each request.
type AccessLog struct{}

// AccessFormat is how a line of the access log looks.
type AccessFormat uint8

const (
	// Combined is the format that Apache calls so.
	Combined AccessFormat = iota
	// JSON is an object a line, with all that a Record holds.
	JSON
)

// NewAccessLog writes to w, a whole line in each Write.
func NewAccessLog(w io.Writer, f AccessFormat) *AccessLog { return nil }
