// Package upgradetest is for tests of programs that another process takes over from:
// it runs one, with all its successors, and tells what they print and which of them
// is the program now.
package upgradetest
