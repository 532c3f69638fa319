package serve

import "golang.org/x/sys/unix"

// errNoAttribute is the error for an attribute that a file does not have.
const errNoAttribute = unix.ENODATA
