//go:build !race

package spdytest

const race = false
