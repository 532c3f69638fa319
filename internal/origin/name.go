package origin

import "github.com/amahi/spdy-proxy/internal/originname"

// Name is the name of an origin; the zero value is the default origin.
type Name = originname.Name

// ParseName is [originname.Parse].
func ParseName(s string) (Name, error) { return originname.Parse(s) }
