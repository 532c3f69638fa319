package spdy

import (
	"context"
	"net/http"
)

// Priorities (draft 3.1, 2.3.3; the default is that of RFC 9218).
const defaultPriority = 3

type priorityKey struct{}

type streamKey struct{}

// WithPriority returns a context whose requests RoundTrip sends with priority
// p: 0 is the most urgent, 7 the least, and above it counts as 7.
func WithPriority(ctx context.Context, p uint8) context.Context {
	return context.WithValue(ctx, priorityKey{}, min(p, 7))
}

// PriorityFrom returns the priority that WithPriority put into ctx or, in a
// handler's context, that of the handler's stream.
func PriorityFrom(ctx context.Context) (p uint8, ok bool) {
	if p, ok = ctx.Value(priorityKey{}).(uint8); ok {
		return p, true
	}
	if st, is := ctx.Value(streamKey{}).(*Stream); is {
		return st.pri, true
	}
	return 0, false
}

// StreamID returns the id of the stream whose handler ctx belongs to, else 0.
func StreamID(ctx context.Context) uint32 {
	st, ok := ctx.Value(streamKey{}).(*Stream)
	if !ok {
		return 0
	}
	return st.id // fixed before the handler's context was made
}

// ResponseStreamID returns the id of the stream that resp came on, 0 if resp is
// not from RoundTrip or its Body was replaced.
func ResponseStreamID(resp *http.Response) uint32 {
	switch b := resp.Body.(type) {
	case *responseBody:
		return b.st.id
	case *duplexBody:
		return b.st.id
	}
	return 0
}
