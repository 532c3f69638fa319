package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A visitor of h2 that changes the size of the header table all the time, while
// answers are written: an h2 server that lets the two meet ends the whole
// program by a concurrent write to a map, which -race sees long before (RFC 7541,
// 4.2; GO-2026-6617). Every answer arrives.
func TestHeaderTableSizes(t *testing.T) {
	t.Parallel()
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// New to the table each time.
		w.Header().Set("X-One", "one "+r.URL.Path)
		w.Header().Set("X-Two", "two "+r.URL.Path)
		fmt.Fprint(w, "hello")
	}), nil)

	const connections, requests, atOnce = 8, 400, 16
	until := time.Now().Add(4 * time.Second)
	var visitors sync.WaitGroup
	for i := range connections {
		// Ends after so many requests, after some seconds, or with its connection.
		visitors.Go(func() {
			v, err := dialFramer(x)
			if err != nil {
				t.Error(err)
				return
			}
			defer v.conn.Close()
			v.conn.SetDeadline(until.Add(patience))
			done := make(chan error, 1)
			slots := make(chan struct{}, atOnce)
			// Ends with the connection, which is closed below.
			go func() { done <- v.read(slots) }()
			sent := 0
			for ; sent < requests && time.Now().Before(until); sent++ {
				select {
				case slots <- struct{}{}:
				case err := <-done:
					t.Errorf("after %d requests: %v", sent, err)
					return
				}
				if err := v.ask(uint32(2*sent+1), fmt.Sprintf("/%d/%d", i, sent)); err != nil {
					t.Errorf("request %d: %v", sent, err)
					return
				}
			}
			for range atOnce { // all are answered
				select {
				case slots <- struct{}{}:
				case err := <-done:
					t.Errorf("after %d requests: %v", sent, err)
					return
				}
			}
		})
	}
	visitors.Wait()
	want(t, "after that", x.get("/after"), 200, "hello")
}

// framer is a visitor that writes frames of h2 as it likes.
type framer struct {
	conn *tls.Conn
	fr   *http2.Framer
	head bytes.Buffer
	enc  *hpack.Encoder

	mu sync.Mutex // held for a write: answers to SETTINGS come between
}

func dialFramer(x *p) (*framer, error) {
	conn, err := tls.Dial("tcp", x.FrontAddr().String(), &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	v := &framer{conn: conn, fr: http2.NewFramer(conn, conn)}
	v.enc = hpack.NewEncoder(&v.head)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	return v, v.fr.WriteSettings()
}

// ask sends a GET, and another size of the table with it.
func (v *framer) ask(stream uint32, path string) error {
	v.head.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}} {
		v.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	sizes := [...]uint32{0, 4096, 64, 2048, 200}
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: v.head.Bytes(), EndStream: true, EndHeaders: true})
	if err != nil {
		return err
	}
	return v.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: sizes[stream/2%uint32(len(sizes))]})
}

// read takes a slot back for each answer.
func (v *framer) read(slots <-chan struct{}) error {
	body := map[uint32]string{}
	for {
		f, err := v.fr.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				v.mu.Lock()
				err = v.fr.WriteSettingsAck()
				v.mu.Unlock()
			}
		case *http2.DataFrame:
			// The heads are not decoded: x/net's decoder refuses two changes of the
			// size before a head, the least and the last, where an entry is left.
			body[f.StreamID] += string(f.Data())
			if f.StreamEnded() {
				if s := body[f.StreamID]; s != "hello" {
					return fmt.Errorf("stream %d was answered %q", f.StreamID, s)
				}
				<-slots
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			err = fmt.Errorf("the server sent %v", f)
		}
		if err != nil {
			return err
		}
	}
}
