// Package house holds the rules that the whole tree keeps and no single package
// can: who may import whom, that the nested module is the one in use, that each
// package says what it is, and what stands at the top level. It has tests only.
package house
