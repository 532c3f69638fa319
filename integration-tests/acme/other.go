//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "acme: it starts programs by Linux's ways: run it on Linux")
	os.Exit(1)
}
