package control

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	th := newThrottle(3, 2, time.Second, 100)
	now := time.Unix(1000, 0)
	a, b, c := site{"a", "net"}, site{"b", "net"}, site{"c", "net"}
	want := func(what string, s site, wait time.Duration) {
		t.Helper()
		if got := th.take(s, now); got != wait {
			t.Errorf("%s: wait %v, want %v", what, got, wait)
		}
	}
	for range 3 {
		want("in the burst", a, 0)
	}
	want("after the burst", a, time.Second)
	for range 3 {
		want("another address of that network", b, 0)
	}
	want("a third, with which the network has twice the burst and one", c, time.Second/2)
	now = now.Add(time.Second)
	want("after an interval", a, 0)
	want("and once more", a, time.Second)
	want("another, for the network has two an interval", c, 0)
	want("and no more", c, time.Second/2)
	now = now.Add(time.Hour)
	want("an hour later", a, 0)
}

func TestThrottleIsBounded(t *testing.T) {
	th := newThrottle(3, 2, time.Second, 200)
	now := time.Unix(1000, 0)
	for i := range 5000 {
		now = now.Add(time.Duration(i%7) * time.Millisecond)
		th.take(site{fmt.Sprint(i), fmt.Sprint("net", i)}, now)
		if len(th.addr.clear) > th.maxKeys || len(th.net.clear) > th.maxKeys {
			t.Fatalf("%d and %d keys are remembered, want at most %d", len(th.addr.clear), len(th.net.clear), th.maxKeys)
		}
	}
}
