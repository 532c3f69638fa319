package spdy

import (
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

// Whoever sees an answer that is one frame sees its end, too, whatever has woken it.
func TestAnswerHasItsEnd(t *testing.T) {
	near, far := net.Pipe()
	came := make(chan FrameInfo, 1)
	client := (&Config{Trace: func(f FrameInfo) {
		if !f.Sent && f.Type == typeSynReply {
			came <- f
		}
	}}).NewClientSession(near)
	server := (*Config)(nil).NewServerSession(far, &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	var running sync.WaitGroup
	running.Go(func() { client.Serve() })
	running.Go(func() { server.Serve() })
	defer running.Wait()
	defer far.Close()
	defer near.Close()

	req, err := http.NewRequest("GET", "http://origin.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	st := client.newStream()
	st.recv.buf.mu.Lock() // the end of its body has to wait
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		if resp, err := client.roundTrip(st, req); err != nil || !resp.Body.(*responseBody).Ready() {
			t.Errorf("got %v, %v, want an answer and its end", resp, err)
		}
	})
	if f := <-came; f.Flags != uint8(flagFin) {
		t.Errorf("got %v, want one frame with FIN", f)
	}
	for range 1000 {
		client.mu.Lock()
		seen := st.resp != nil
		client.mu.Unlock()
		if seen {
			t.Error("the answer is to be seen before its end")
			break
		}
		runtime.Gosched()
	}
	st.recv.buf.mu.Unlock()
}
