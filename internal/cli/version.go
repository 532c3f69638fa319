package cli

import (
	_ "embed"
	"encoding/json"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// archived is filled in by git when it makes an archive of a commit: the tag, and
// how far behind it, or nothing; the commit; its time. In a checkout it is the
// placeholders, as it is in a module that the go command fetched.
//
//go:embed archived.txt
var archived string

// build is what is known of where a program comes from. Revision and Time are of
// the commit, "" if it is not known.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`     // RFC 3339, UTC
	Modified bool   `json:"modified,omitempty"` // other than that commit
}

// thisBuild asks the archive first: what the go command knows may be of another
// repository, in which the archive was unpacked.
func thisBuild() build {
	if b, ok := archivedBuild(archived); ok {
		return b
	}
	b := build{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// archivedBuild reads the lines of archived.txt. A commit that no tag leads to gets
// the version that the go command gives it.
func archivedBuild(text string) (b build, ok bool) {
	lines := strings.Split(text, "\n")
	if len(lines) < 3 || strings.Contains(text, "$Format") {
		return b, false
	}
	at, err := time.Parse(time.RFC3339, lines[2])
	if err != nil || len(lines[1]) < 12 {
		return b, false
	}
	b = build{Version: lines[0], Revision: lines[1], Time: at.UTC().Format(time.RFC3339)}
	if b.Version == "" {
		b.Version = "v0.0.0-" + at.UTC().Format("20060102150405") + "-" + b.Revision[:12]
	}
	return b, true
}

// Version returns the version of the running program, and of Go.
func Version() string { return thisBuild().Version + " " + runtime.Version() }

// writeVersion writes what is known of the build as one JSON object.
func writeVersion(w io.Writer, program string) error {
	return json.NewEncoder(w).Encode(struct {
		Program string `json:"program"`
		build
		Go   string `json:"go"`
		OS   string `json:"os"`
		Arch string `json:"arch"`
	}{program, thisBuild(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
}
