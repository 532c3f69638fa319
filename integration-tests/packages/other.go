//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "packages: it boots Debian in a container: run it on Linux")
	os.Exit(1)
}
