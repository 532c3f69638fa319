package certs

import (
	"crypto/x509"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
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
		c := OfFile("", nil, leaf)
		if got := c.EndsSoon(); got != test.want {
			t.Errorf("%v left of %v: it ends soon: %v, want %v", test.left, test.life, got, test.want)
		}
	}
}

// One that is good for a day is said before its end, whenever it was read.
func TestDaysLeftOfADay(t *testing.T) {
	p := pair(t, controltest.NewCA(t), t.TempDir(), "p", "example.test")
	synctest.Test(t, func(t *testing.T) {
		var log testlog.Buffer
		var leaf *x509.Certificate
		s, err := New(Config{
			Pairs: []Pair{p}, Logger: log.Logger(slog.LevelInfo),
			Others: func() []Certificate { return []Certificate{OfFile("node.pem", nil, leaf)} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		renew := func() { leaf = &x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)} }
		renew()
		s.Start(Ports{})
		time.Sleep(19 * time.Hour)
		renew()
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Hour - time.Minute)
		if n := log.Count("level=WARN"); n != 0 {
			t.Errorf("%d warnings before the last sixth of its time", n)
		}
		time.Sleep(4 * time.Hour)
		if n := log.Count("certificate ends in 4 hours"); n != 1 || log.Count("level=WARN") != 1 {
			t.Errorf("%d warnings of four hours, want one:\n%s", n, log.String())
		}
	})
}
