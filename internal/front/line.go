package front

import "context"

// Line is a visitor's connection, as the server below the handler sees it. Its
// methods may be called at once, and do not wait.
type Line interface {
	// Began and Ended are told when the handler begins and ends a request.
	Began()
	Ended()
	// Writing reports whether a write to the connection is under way. Where one
	// is for long, the visitor's network takes no more; where none is, and a
	// response gets nowhere, its stream has no window.
	Writing() bool
	// Stalled reports whether the connection was ended because the visitor took
	// nothing of what was written to it.
	Stalled() bool
	// Crowded reports whether the connection is one of many from its address.
	Crowded() bool
}

type lineKey struct{}

// WithLine returns a context for http.Server.ConnContext, whose requests come
// on l.
func WithLine(ctx context.Context, l Line) context.Context {
	return context.WithValue(ctx, lineKey{}, l)
}

// lineOf returns nil if there is none.
func lineOf(ctx context.Context) Line {
	l, _ := ctx.Value(lineKey{}).(Line)
	return l
}
