package serve

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A logBook keeps what is logged, without the time.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBook) lines() []string { return strings.Split(strings.TrimSuffix(l.text(), "\n"), "\n") }

func TestLimitedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		l := newLimitedLog(book.logger(), slog.LevelWarn, "no room")
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := book.text(); got != strings.Join(append(want, ""), "\n") {
				t.Fatalf("%s:\n%swant\n%s", when, got, strings.Join(want, "\n"))
			}
		}
		l.print("path", "/1")
		first := "level=WARN msg=\"no room\" path=/1"
		expect("the first", first)
		for range 9999 {
			l.print("path", "/2")
		}
		l.print("path", "/3", "error", errors.New("x"))
		expect("more of it", first)
		<-time.After(logPause - 1)
		expect("before a minute is over", first)
		<-time.After(1)
		second := "level=WARN msg=\"no room\" times=10000 path=/3 error=x"
		expect("after a minute", first, second)
		l.print("path", "/4")
		expect("in the next minute", first, second)
		<-time.After(logPause)
		third := "level=WARN msg=\"no room\" times=1 path=/4"
		expect("after it", first, second, third)
		<-time.After(time.Hour)
		expect("in silence", first, second, third)
		l.print("path", "/5")
		fourth := "level=WARN msg=\"no room\" path=/5"
		expect("after a while", first, second, third, fourth)
		l.print("path", "/6")
		l.close()
		l.print("path", "/7")
		fifth := "level=WARN msg=\"no room\" times=1 path=/6"
		expect("at the end", first, second, third, fourth, fifth)
	})
}
