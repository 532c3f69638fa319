package spdy

import (
	"errors"
	"net/http"
)

var errNotHandler = errors.New("spdy: the stream has no handler to write for")

// The http.ResponseWriter of a handler is a *Stream in sessions of NewServerSession.

// Header returns the headers of a handler's response.
//
// Deprecated: it is a method of the http.ResponseWriter.
func (st *Stream) Header() http.Header {
	if st.rw == nil {
		return http.Header{}
	}
	return st.rw.Header()
}

// WriteHeader fixes status and headers of a handler's response.
//
// Deprecated: it is a method of the http.ResponseWriter.
func (st *Stream) WriteHeader(code int) {
	if st.rw != nil {
		st.rw.WriteHeader(code)
	}
}

// Write sends a part of the body of a handler's response.
//
// Deprecated: it is a method of the http.ResponseWriter.
func (st *Stream) Write(p []byte) (int, error) {
	if st.rw == nil {
		return 0, errNotHandler
	}
	return st.rw.Write(p)
}

// Flush sends what was written of a handler's response.
//
// Deprecated: use http.ResponseController.
func (st *Stream) Flush() {
	if st.rw != nil {
		st.rw.Flush()
	}
}

// Unwrap returns the http.ResponseWriter of a handler's stream, for
// http.ResponseController.
func (st *Stream) Unwrap() http.ResponseWriter {
	if st.rw == nil {
		return nil
	}
	return st.rw
}
