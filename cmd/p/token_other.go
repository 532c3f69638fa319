//go:build !linux

package main

import "os"

// noFollow: root's rules are Linux's here.
const noFollow = 0

// wroteItself: whose a process is cannot be read from a file here.
func wroteItself(*os.File, int) bool { return true }

// otherProgram: what a process runs cannot be read from a file here.
func otherProgram(int) (string, bool) { return "", false }
