//go:build !linux && !darwin

package serve

import "os"

func readAttribute(*os.File) ([]byte, error) { return nil, errNoAttributes }

func writeAttribute(*os.File, []byte) error { return errNoAttributes }
