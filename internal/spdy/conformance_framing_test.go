package spdy_test

import (
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// control is a control frame of version 3 with any type, flags and payload.
func control(typ spdytest.Type, flags uint8, payload string) frame {
	return spdytest.Control(typ, flags, []byte(payload))
}

var framingCases = join(
	[]conformanceCase{
		{1, "server", "case 15 fed one byte a write", serverByteByByte},
		{1, "client", "case 36 fed one byte a write", clientByteByByte},
	},
	bothXE(2, "PING with version 2", raw("80020006 00000004 00000001")),
	[]conformanceCase{
		server(3, "SYN_STREAM with version 4", func(h *serverTest) {
			b := h.p.Encode(req(1, "/ok"))
			b[1] = 4
			h.p.Send(spdytest.Raw(b))
			f := h.p.Next("2.6.1: a version that is not ours")
			if f.Type == spdytest.TypeRstStream {
				if f.ID != 1 || f.Value != uint32(spdy.UnsupportedVersion) {
					h.Errorf("got %v, want UNSUPPORTED_VERSION on stream 1 if a RST_STREAM at all", f)
				}
				f = h.p.Next("a session error")
			}
			if f.Type != spdytest.TypeGoAway || f.Value != 1 {
				h.Errorf("got %v, want GOAWAY with PROTOCOL_ERROR", f)
			}
			h.p.WantEOF("a session error")
		}),
	},
	bothIgnore(4, "unknown types", control(11, 0, string(make([]byte, 20))), control(11, 0, ""), control(0xf000, 0, string(make([]byte, 12))),
		control(0xf000, 0xff, "flags too"), control(11, 0, string(make([]byte, 300<<10)))),
	bothIgnore(5, "NOOP and CREDENTIAL", control(spdytest.TypeNoop, 0, ""), control(spdytest.TypeCredential, 0, string(make([]byte, 40)))),
	bothXE(6, "PING of length 8", raw("80030006 00000008 00000001 00000001")),
	bothXE(7, "RST_STREAM of length 12", raw("80030003 0000000c 00000001 00000001 00000000")),
	bothXE(8, "GOAWAY of length 4", raw("80030007 00000004 00000000")),
	bothXE(9, "WINDOW_UPDATE of length 4", raw("80030009 00000004 00000000")),
	[]conformanceCase{
		server(10, "SYN_STREAM of length 9", func(h *serverTest) {
			h.p.Send(raw("80030001 01000009 00000001 00000000 60"))
			h.wantXE("2.6.1: at least 10 bytes", 0)
		}),
		client(11, "SYN_REPLY of length 3", func(h *clientTest) {
			c, _ := h.open("/")
			h.p.Send(raw("80030002 00000003 000000"))
			h.wantXE("2.6.2: at least 4 bytes", 0)
			wantSessionError(h.session, c.failure(), spdy.GoAwayProtocolError, false)
		}),
	},
	bothXE(12, "RST_STREAM with flags 01", raw("80030003 01000008 00000001 00000001")),
	bothXE(12, "PING with flags 01", raw("80030006 01000004 00000001")),
	bothXE(12, "WINDOW_UPDATE with flags 01", raw("80030009 01000008 00000000 00000001")),
	[]conformanceCase{
		server(13, "DATA with flags 02", func(h *serverTest) {
			h.p.Send(post(1, "/echo"), withFlags(data(1, "x"), 2))
			h.wantSE("flags that DATA has not", 1, spdy.ProtocolError)
			h.alive(3)
		}),
		server(14, "SYN_STREAM with flags 05", func(h *serverTest) {
			h.p.Send(withFlags(req(1, "/ok"), 5))
			h.wantSE("flags that SYN_STREAM has not", 1, spdy.ProtocolError)
			h.alive(3)
		}),
	},
)

func join(sections ...[]conformanceCase) (all []conformanceCase) {
	for _, s := range sections {
		all = append(all, s...)
	}
	return all
}

// bothXE are two rows: these frames end a session of either role.
func bothXE(id int, what string, frames ...frame) []conformanceCase {
	return []conformanceCase{
		server(id, what, func(h *serverTest) {
			h.p.Send(frames...)
			h.wantXE(what, 0)
		}),
		client(id, what, func(h *clientTest) {
			h.p.Send(frames...)
			h.wantXE(what, 0)
		}),
	}
}

// bothIgnore are two rows: each of these frames goes unanswered.
func bothIgnore(id int, what string, frames ...frame) []conformanceCase {
	return []conformanceCase{
		server(id, what, func(h *serverTest) {
			for _, f := range frames {
				h.p.Send(f)
				h.p.WantIdle(what)
			}
			h.alive(1)
		}),
		client(id, what, func(h *clientTest) {
			for _, f := range frames {
				h.p.Send(f)
				h.p.WantIdle(what)
			}
			h.alive()
		}),
	}
}

// How the bytes of case 1 get to the session.
var byteByByte = map[string]func(h *session){
	"one write":        func(h *session) {},
	"one byte a write": func(h *session) { h.p.ByteByByte = true },
	"one byte a read":  func(h *session) { h.p.ByteByByte = true; h.end.SetReadMax(1) },
}

func serverByteByByte(t *testing.T) {
	var want [][]byte
	for _, name := range []string{"one write", "one byte a write", "one byte a read"} {
		h := newServerTest(t, setup{})
		byteByByte[name](h.session)
		h.mux.HandleFunc("/dateless", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil // the three sessions do not run in one second
			io.WriteString(w, "ok")
		})
		var got [][]byte
		h.p.Send(req(1, "/dateless"))
		for fins := 0; fins == 0; {
			f := h.p.Next(name)
			got = append(got, f.Wire)
			fins = int(f.Flags & fin)
		}
		h.p.WantIdle("nothing after FIN")
		h.finish()
		if want == nil {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got frames %x, want %x as in one write", name, got, want)
		}
	}
}

func clientByteByByte(t *testing.T) {
	for _, name := range []string{"one write", "one byte a write", "one byte a read"} {
		h := newClientTest(t, setup{})
		byteByByte[name](h.session)
		c, id := h.open("/ok")
		h.p.Send(rep(id), data(id, "ok", fin))
		c.wantBody(name, 200, "ok")
		h.p.WantIdle(name)
		h.finish()
	}
}
