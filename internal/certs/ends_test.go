package certs

import (
	"crypto/x509"
	"testing"
	"time"
)

// A certificate that is good for a day or six is renewed late, and is nothing to be woken
// for each day.
func TestEndsSoon(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	for _, test := range []struct {
		life, left time.Duration
		want       bool
	}{
		{365 * day, 15 * day, false}, {365 * day, 14 * day, true}, {365 * day, -day, true},
		{60 * day, 11 * day, false}, {60 * day, 10 * day, true},
		{6 * day, 2 * day, false}, {6 * day, day, true},
		{day, 20 * time.Hour, false}, {day, 3 * time.Hour, true},
	} {
		leaf := &x509.Certificate{NotBefore: now.Add(test.left - test.life), NotAfter: now.Add(test.left)}
		if got := endsSoon(leaf, now); got != test.want {
			t.Errorf("%v left of %v: it ends soon: %v, want %v", test.left, test.life, got, test.want)
		}
	}
}
