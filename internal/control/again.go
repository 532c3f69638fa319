package control

import (
	"context"
	"net/http"
	"net/url"
)

// headerAgain, with the value again, says in C's PUT that C understands being
// asked for another connection, and in a request of P's own, on the one that there
// is, it asks for that.
const (
	headerAgain = "Spdy-Proxy-Dial"
	again       = "again"
)

// AskAgain returns the request by which P asks a C, if its Registration says
// DialsAgain, to dial once more: the new connection reaches another P if that
// listens there by now. C goes on serving on the connection that it has, and
// answers 204 when it has the new one.
func AskAgain(ctx context.Context) *http.Request {
	return (&http.Request{
		Method: http.MethodOptions, URL: &url.URL{Scheme: "http", Path: "*"}, Host: "localhost",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{headerAgain: {again}},
	}).WithContext(ctx)
}

// AsksAgain reports whether P has made r with AskAgain. No visitor can: P gives
// each request of theirs a Via.
func AsksAgain(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.RequestURI == "*" && r.Header.Get(headerAgain) == again && r.Header["Via"] == nil
}
