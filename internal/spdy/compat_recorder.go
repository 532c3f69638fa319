package spdy

import (
	"bytes"
	"net/http"
)

// ResponseRecorder is an http.ResponseWriter that keeps the answer.
//
// Deprecated: use that of net/http/httptest.
type ResponseRecorder struct {
	Code      int           // the status, 200 if WriteHeader was not called
	HeaderMap http.Header   // the headers; changes after WriteHeader show
	Body      *bytes.Buffer // what was written; nil drops it

	wroteHeader bool
}

// NewRecorder returns a ResponseRecorder with status 200, no headers and an
// empty body.
//
// Deprecated: use that of net/http/httptest.
func NewRecorder() *ResponseRecorder {
	return &ResponseRecorder{Code: http.StatusOK, HeaderMap: make(http.Header), Body: new(bytes.Buffer)}
}

// Header returns the headers; it makes the map if there is none.
func (rw *ResponseRecorder) Header() http.Header {
	if rw.HeaderMap == nil {
		rw.HeaderMap = make(http.Header)
	}
	return rw.HeaderMap
}

// Write appends to Body. The status is 200 if WriteHeader was not called before.
func (rw *ResponseRecorder) Write(buf []byte) (int, error) {
	rw.WriteHeader(http.StatusOK)
	if rw.Body != nil {
		rw.Body.Write(buf)
	}
	return len(buf), nil
}

// WriteHeader sets Code; only the first call counts.
func (rw *ResponseRecorder) WriteHeader(code int) {
	if !rw.wroteHeader {
		rw.wroteHeader = true
		rw.Code = code
	}
}
