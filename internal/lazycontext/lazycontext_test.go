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
