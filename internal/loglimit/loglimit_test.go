package loglimit

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

// out collects lines without their time.
type out struct{ testlog.Buffer }

// take returns the lines since the last call.
func (o *out) take() string {
	synctest.Wait()
	return o.Take()
}

func want(t *testing.T, what, got string, lines ...string) {
	t.Helper()
	if text := strings.Join(lines, ""); got != text {
		t.Errorf("%s: got\n%swant\n%s", what, got, text)
	}
}

func TestOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelInfo), 2)
		say := func(kind string, n int) {
			l.Log(kind, slog.LevelWarn, "refused", slog.String("kind", kind), slog.Int("n", n))
		}
		for n := range 5 {
			say("a", n)
		}
		say("b", 0)
		want(t, "a burst of 2 for each kind", o.take(),
			"level=WARN msg=refused kind=a n=0\n", "level=WARN msg=refused kind=a n=1\n", "level=WARN msg=refused kind=b n=0\n")
		time.Sleep(interval)
		want(t, "a minute later", o.take(), "level=WARN msg=refused kind=a n=4 times=3\n")
		time.Sleep(time.Second / 2)
		for n := range 300 {
			say("a", n)
			time.Sleep(time.Second)
		}
		got := o.take()
		if n := strings.Count(got, "\n"); n != 5 {
			t.Errorf("%d lines in 5 minutes, want 5:\n%s", n, got)
		}
		want(t, "the last of them", got[strings.LastIndex(strings.TrimSpace(got), "\n")+1:], "level=WARN msg=refused kind=a n=299 times=60\n")
		time.Sleep(2 * interval)
		want(t, "in silence", o.take())
		say("a", 7)
		want(t, "after a minute without a line", o.take(), "level=WARN msg=refused kind=a n=7\n")
		l.Close()
		want(t, "Close with nothing left", o.take())
	})
}

// What is too much in one minute has the next one pay for it, and not all those to come in
// which a few lines are said.
func TestCrowdIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelInfo), 10)
		for range 14 {
			l.Log("a", slog.LevelInfo, "come")
		}
		for minute, want := range []int{10 + 1, 6, 6, 6} {
			time.Sleep(interval)
			if got := strings.Count(o.take(), "\n"); got != want {
				t.Errorf("%d lines in minute %d, want %d", got, minute, want)
			}
			for range 6 {
				l.Log("a", slog.LevelInfo, "come")
			}
		}
		l.Close()
	})
}

func TestCloseTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelInfo), 0)
		for range 4 {
			l.Log("a", slog.LevelInfo, "come")
		}
		o.take()
		l.Close()
		want(t, "Close", o.take(), "level=INFO msg=come times=3\n")
		l.Log("a", slog.LevelInfo, "come")
		time.Sleep(time.Hour)
		want(t, "after Close", o.take())
	})
}

func TestDebugSeesEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelDebug), 1)
		for range 3 {
			l.Log("a", slog.LevelWarn, "x")
		}
		l.Log("b", slog.LevelDebug, "y")
		want(t, "at debug", o.take(), "level=WARN msg=x\n", "level=DEBUG msg=x\n", "level=DEBUG msg=x\n", "level=DEBUG msg=y\n")
		l.Close()
	})
}

// Another's lines: a message is a kind, whatever it is said of.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelInfo), 1)
		log := slog.New(l.Handler()).With("slot", 7)
		for i := range 3 {
			log.Error("handler panicked", "stream", i)
		}
		log.WithGroup("g").Warn("too large", "stream", 5)
		log.Debug("nothing")
		want(t, "at once", o.take(), "level=ERROR msg=\"handler panicked\" slot=7 stream=0\n", "level=WARN msg=\"too large\" slot=7 g.stream=5\n")
		time.Sleep(interval)
		want(t, "a minute later", o.take(), "level=ERROR msg=\"handler panicked\" slot=7 stream=2 times=2\n")
		l.Close()
	})
}

// Lines of many kinds that have one cause are bounded by that, too, and so are their counts.
func TestKindsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		all := New(o.Logger(slog.LevelInfo), 3)
		l := New(o.Logger(slog.LevelInfo), 1)
		for n := range 5 {
			for range 2 {
				l.LogTo(all.HandlerOf(7), fmt.Sprint("kind ", n), slog.LevelInfo, "come", slog.Int("n", n))
			}
		}
		l.LogTo(all.HandlerOf(8), "kind", slog.LevelInfo, "come", slog.String("by", "another"))
		want(t, "at once", o.take(), "level=INFO msg=come n=0\n", "level=INFO msg=come n=1\n", "level=INFO msg=come n=2\n", "level=INFO msg=come by=another\n")
		l.Close()
		want(t, "the counts of each kind", o.take())
		all.Close()
		if got := o.take(); !strings.HasSuffix(got, " times=7\n") || strings.Count(got, "times=") != 1 {
			t.Errorf("the count of all: got\n%swant one of 7", got)
		}
	})
}

func TestKindsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o out
		l := New(o.Logger(slog.LevelInfo), 1)
		const others = 100
		for i := range maxKinds + others {
			l.Log(fmt.Sprint("kind ", i), slog.LevelWarn, "x")
		}
		if n := strings.Count(o.take(), "\n"); n != maxKinds+1 {
			t.Errorf("%d lines, want %d", n, maxKinds+1)
		}
		time.Sleep(2 * interval)
		want(t, "the others", o.take(), fmt.Sprintf("level=WARN msg=x times=%d\n", others-1))
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.kinds) != 0 {
			t.Errorf("%d kinds are remembered after two minutes", len(l.kinds))
		}
		New(nil, 1).Log("a", slog.LevelWarn, "nowhere")
	})
}
