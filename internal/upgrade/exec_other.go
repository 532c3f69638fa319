//go:build !unix

package upgrade

import (
	"errors"
	"net"
	"os"
)

// take: no descriptor is inherited by number here.
func take(int) bool { return false }

func duplicate(net.Listener, string) (*os.File, error) { return nil, errors.ErrUnsupported }
