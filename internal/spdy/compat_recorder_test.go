package spdy_test

import (
	"testing"

	"github.com/amahi/spdy"
)

func TestResponseRecorder(t *testing.T) {
	rw := spdy.NewRecorder()
	if rw.Code != 200 || len(rw.HeaderMap) != 0 || rw.HeaderMap == nil || rw.Body.Len() != 0 {
		t.Errorf("a new recorder is %+v", rw)
	}
	rw.Header().Set("X-Test", "1")
	rw.WriteHeader(404)
	rw.WriteHeader(500)
	if n, err := rw.Write([]byte("body")); n != 4 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if rw.Code != 404 || rw.HeaderMap.Get("X-Test") != "1" || rw.Body.String() != "body" {
		t.Errorf("got %d, %v, %q", rw.Code, rw.HeaderMap, rw.Body)
	}
	var zero spdy.ResponseRecorder
	zero.Header().Set("X-Test", "1")
	if n, err := zero.Write([]byte("body")); n != 4 || err != nil || zero.Code != 200 || zero.HeaderMap.Get("X-Test") != "1" {
		t.Errorf("the zero recorder: %d, %v, %+v", n, err, zero)
	}
	zero.WriteHeader(404)
	if zero.Code != 200 {
		t.Errorf("WriteHeader after Write: %d, want 200", zero.Code)
	}
}
