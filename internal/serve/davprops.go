package serve

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"os"

	"golang.org/x/net/webdav"
)

// Dead properties (RFC 4918, 4) are kept in an extended attribute of the file,
// so that they go where it goes. Where a file system has none, they are refused.

// maxDeadProps bounds in bytes what is kept of a file's properties.
const maxDeadProps = 60 << 10

// errNoAttributes is a file that has none and can have none.
var errNoAttributes = errors.New("no extended attributes")

// readDeadProps returns the properties of f.
func readDeadProps(f file) (map[xml.Name]webdav.Property, error) {
	data, err := f.attribute()
	if err != nil || len(data) == 0 {
		return nil, err
	}
	var list []webdav.Property
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, nil // not ours: none
	}
	props := make(map[xml.Name]webdav.Property, len(list))
	for _, p := range list {
		props[p.XMLName] = p
	}
	return props, nil
}

// patchDeadProps changes the properties of f: all as patches say, or none.
func patchDeadProps(f file, patches []webdav.Proppatch) ([]webdav.Propstat, error) {
	props, err := readDeadProps(f)
	if err != nil && !errors.Is(err, errNoAttributes) {
		return nil, err
	}
	if props == nil {
		props = make(map[xml.Name]webdav.Property)
	}
	stat := webdav.Propstat{Status: http.StatusOK}
	for _, patch := range patches {
		for _, p := range patch.Props {
			stat.Props = append(stat.Props, webdav.Property{XMLName: p.XMLName})
			if patch.Remove {
				delete(props, p.XMLName)
			} else {
				props[p.XMLName] = p
			}
		}
	}
	list := make([]webdav.Property, 0, len(props))
	for _, p := range props {
		list = append(list, p)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	if len(data) > maxDeadProps {
		err = errDiskFull
	} else {
		err = f.setAttribute(data)
	}
	switch {
	case err == nil:
	case errors.Is(err, errNoAttributes), errors.Is(err, os.ErrPermission):
		stat.Status = http.StatusForbidden
	case errors.Is(err, errDiskFull), diskFull(err):
		stat.Status = http.StatusInsufficientStorage // the file system has no room for so many
	default:
		return nil, err
	}
	return []webdav.Propstat{stat}, nil
}

// copyDeadProps gives to the properties of from, as far as its file system can have
// them. It fails if that has no room for them now.
func copyDeadProps(to, from file) error {
	data, err := from.attribute()
	if err != nil || len(data) == 0 {
		return nil
	}
	if err := to.setAttribute(data); diskFull(err) {
		return err
	}
	return nil
}

// DeadProps implements webdav.DeadPropsHolder.
func (f *davFile) DeadProps() (map[xml.Name]webdav.Property, error) {
	props, err := readDeadProps(f.file)
	if errors.Is(err, errNoAttributes) {
		return nil, nil
	}
	return props, err
}

// Patch implements webdav.DeadPropsHolder.
func (f *davFile) Patch(patches []webdav.Proppatch) ([]webdav.Propstat, error) {
	return patchDeadProps(f.file, patches)
}

// DeadProps implements webdav.DeadPropsHolder.
func (f *davNewFile) DeadProps() (map[xml.Name]webdav.Property, error) { return nil, nil }

// Patch implements webdav.DeadPropsHolder: the properties of what is copied.
func (f *davNewFile) Patch(patches []webdav.Proppatch) ([]webdav.Propstat, error) {
	return patchDeadProps(f.part.file, patches)
}
