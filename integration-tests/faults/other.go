//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "faults: it reads what p and c use from /proc and stops them by Linux's signals: run it on Linux")
	os.Exit(1)
}
