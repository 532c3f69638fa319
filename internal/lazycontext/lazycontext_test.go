package lazycontext

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

type key struct{}

var errTest = errors.New("test")

func begin(parent context.Context) *Context {
	x := new(Context)
	x.Begin(parent)
	return x
}

func TestEnd(t *testing.T) {
	parent, cancel := context.WithTimeout(context.WithValue(context.Background(), key{}, "v"), time.Hour)
	defer cancel()
	for name, end := range map[string]struct{ cause, want error }{
		"with a cause": {errTest, errTest}, "without": {nil, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(parent)
			before := x.Done()
			want, _ := parent.Deadline()
			if at, ok := x.Deadline(); !ok || at != want || x.Value(key{}) != "v" || x.Err() != nil || context.Cause(x) != nil {
				t.Errorf("before the end: deadline %v, %v, value %v, %v", at, ok, x.Value(key{}), x.Err())
			}
			select {
			case <-before:
				t.Error("Done before the end")
			default:
			}
			x.End(end.cause)
			x.End(errors.New("too late"))
			<-before
			<-x.Done()
			if x.Err() != end.want || context.Cause(x) != end.want {
				t.Errorf("ended by %v, cause %v, want %v", x.Err(), context.Cause(x), end.want)
			}
			late := begin(parent)
			late.End(nil)
			<-late.Done()
		})
	}
}

func TestAfterFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := begin(context.Background())
		var calls [5]int
		var stops [4]func() bool
		for i := range stops {
			stops[i] = AfterEnd(x, func() { calls[i]++ })
		}
		if !stops[0]() || stops[0]() || !stops[2]() || stops[2]() {
			t.Error("stop does not say that it was in time, or says it twice")
		}
		// The first one's place is not another's: its stop would end that.
		stops[0] = AfterEnd(x, func() { calls[0] += 10 })
		x.End(errTest)
		synctest.Wait()
		for i, stop := range stops {
			if stop() {
				t.Errorf("stop %d says that it was in time after the end", i)
			}
		}
		AfterEnd(x, func() { calls[4]++ })
		synctest.Wait()
		if want := [5]int{10, 1, 0, 1, 1}; calls != want {
			t.Errorf("calls: %v, want %v", calls, want)
		}
	})
}

// watcher counts how often it is told.
type watcher struct{ told *int }

func (w *watcher) ContextEnded() { *w.told++ }

type bystander struct{}

func (bystander) ContextEnded() {}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := begin(context.Background())
		var told [5]int
		var all [5]*watcher
		for i := range all {
			all[i] = &watcher{&told[i]}
		}
		for _, w := range all[:4] {
			x.Watch(w)
		}
		for _, i := range []int{0, 2} {
			if !x.Unwatch(all[i]) || x.Unwatch(all[i]) {
				t.Errorf("Unwatch of %d does not say that it was in time, or says it twice", i)
			}
		}
		x.End(errTest)
		x.Watch(all[4])
		synctest.Wait()
		if want := [5]int{0, 1, 0, 1, 1}; told != want {
			t.Errorf("told %v times, want %v", told, want)
		}
		for i, w := range all {
			if x.Unwatch(w) {
				t.Errorf("Unwatch of %d says that it was in time after the end", i)
			}
		}
	})
}

// One that nobody has any more begins again; one that somebody may have does not.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bystander{}
		for name, test := range map[string]struct {
			before, after func(x *Context)
			want          bool
		}{
			"not ended": {want: false},
			"ended":     {after: func(x *Context) { x.End(errTest) }, want: true},
			"let go": {
				before: func(x *Context) { x.Watch(w); x.Err(); x.Value(key{}); x.Unwatch(w) },
				after:  func(x *Context) { x.End(errTest) }, want: true,
			},
			"watched":       {before: func(x *Context) { x.Watch(w) }, after: func(x *Context) { x.End(nil) }},
			"watched late":  {after: func(x *Context) { x.End(nil); x.Watch(w) }},
			"waited for":    {before: func(x *Context) { x.Done() }, after: func(x *Context) { x.End(nil) }},
			"asked late":    {after: func(x *Context) { x.End(nil); x.Done() }},
			"package's own": {before: func(x *Context) { context.AfterFunc(x, func() {}) }, after: func(x *Context) { x.End(nil) }},
		} {
			x := begin(context.Background())
			if test.before != nil {
				test.before(x)
			}
			if test.after != nil {
				test.after(x)
			}
			if got := x.Renew(); got != test.want {
				t.Errorf("%s: got %v, want %v", name, got, test.want)
			} else if got {
				x.Begin(context.WithValue(context.Background(), key{}, "next"))
				if x.Err() != nil || x.Value(key{}) != "next" {
					t.Errorf("%s: then %v, value %v", name, x.Err(), x.Value(key{}))
				}
				x.End(nil)
			}
		}
	})
}

// Who watches alone, as the requests of ten thousand a second do, costs nothing.
func TestWatchCost(t *testing.T) {
	x, w := begin(context.Background()), bystander{}
	if n := testing.AllocsPerRun(100, func() {
		x.Watch(w)
		x.Unwatch(w)
		x.End(nil)
		if !x.Renew() {
			t.Error("it cannot begin again")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Package context has to start no goroutine for those that are made of one, and to
// end them with it.
func TestChildren(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	x := begin(parent)
	goroutines := runtime.NumGoroutine()
	child, stop := context.WithCancel(x)
	defer stop()
	other, stopOther := context.WithTimeout(x, time.Hour)
	defer stopOther()
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines more for two children", n-goroutines)
	}
	x.End(errTest)
	<-child.Done()
	<-other.Done()
	if context.Cause(child) != errTest || context.Cause(other) != errTest {
		t.Errorf("children ended by %v and %v, want %v", context.Cause(child), context.Cause(other), errTest)
	}
}

func TestAfterEndOfAnother(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	called := make(chan struct{})
	AfterEnd(ctx, func() { close(called) })
	cancel()
	<-called
}
