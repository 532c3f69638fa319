//go:build !linux

package main

// wroteItself: whose a process is cannot be read from a file here.
func wroteItself(string, int) bool { return true }
