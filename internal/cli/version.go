package cli

import (
	"encoding/json"
	"io"
	"runtime"
	"runtime/debug"
)

// Version returns the version of the running program as it was built, and of Go.
func Version() string { return buildVersion() + " " + runtime.Version() }

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// writeVersion writes what is known of the build as one JSON object. Revision and
// Time are of the commit, "" if it is not known.
func writeVersion(w io.Writer, program string) error {
	v := struct {
		Program  string `json:"program"`
		Version  string `json:"version"`
		Go       string `json:"go"`
		OS       string `json:"os"`
		Arch     string `json:"arch"`
		Revision string `json:"revision,omitempty"`
		Time     string `json:"time,omitempty"`
		Modified bool   `json:"modified,omitempty"` // other than that commit
	}{Program: program, Version: buildVersion(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return json.NewEncoder(w).Encode(v)
}
