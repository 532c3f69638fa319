package process

import (
	"io"
	"os"
)

// StartPiped is Start with pipes to the program's standard input and from its
// standard output. Both ends are the caller's to close.
func (c Command) StartPiped() (p *Process, input io.WriteCloser, output io.ReadCloser, err error) {
	in, toIt, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer in.Close()
	fromIt, out, err := os.Pipe()
	if err != nil {
		toIt.Close()
		return nil, nil, nil, err
	}
	defer out.Close()
	c.Stdin, c.Stdout = in, out
	if p, err = c.Start(); err != nil {
		toIt.Close()
		fromIt.Close()
		return nil, nil, nil, err
	}
	return p, toIt, fromIt, nil
}
