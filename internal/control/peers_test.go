package control

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Who is let in is told of the other Ps, and who is refused is not.
func TestPeersAreTold(t *testing.T) {
	want := []Peer{{"p1", "p1.example:1444", "eu"}, {"p2", "[2001:db8::2]:1444", ""}}
	p := startPort(t, nil, func(s *Server) { s.Peers = func() []Peer { return want } })
	c, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.NetConn().Close()
	if !slices.Equal(c.Peers, want) {
		t.Errorf("C was told of %v, want %v", c.Peers, want)
	}
	for _, text := range []string{
		"PUT / HTTP/1.1\r\nHost: p\r\n\r\n", "PUT / HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer " + wrongToken + "\r\n\r\n", "GET / HTTP/1.1\r\nHost: p\r\n\r\n",
	} {
		if got := p.ask(t, text); strings.Contains(got, "p2") || strings.Contains(got, "p1.example") {
			t.Errorf("%q was answered %q", text, got)
		}
	}
}

// However many there are, C takes the answer.
func TestManyPeers(t *testing.T) {
	var many []Peer
	for i := range 1000 {
		many = append(many, Peer{fmt.Sprint("p", i), strings.Repeat("a", 150) + ":1444", strings.Repeat("s", 200)})
	}
	p := startPort(t, nil, func(s *Server) { s.Peers = func() []Peer { return many } })
	c, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.NetConn().Close()
	if n := len(c.Peers); n == 0 || n > maxPeers || !slices.Equal(c.Peers, many[:n]) {
		t.Errorf("C was told of %d", n)
	}
}

// What a P says that makes no sense is left out.
func TestWrongPeers(t *testing.T) {
	h := http.Header{headerPeers: {
		"", ";", "id=x", "addr=x:1", "id=x; addr=x", "id=x; addr=:1", "id=x; addr=x:", "id=; addr=x:1", "id=x\x01y; addr=x:1", "id=x; addr=x:1; site=\x1b[2J",
		"id=" + strings.Repeat("x", 300) + "; addr=x:1", "id=ok;addr=ok:1;more=1", "addr=[::1]:1; id=six ",
	}}
	if got, want := parsePeers(h), []Peer{{ID: "ok", Addr: "ok:1"}, {ID: "six", Addr: "[::1]:1"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// P's own request is told from a visitor's.
func TestToldPeers(t *testing.T) {
	want := []Peer{{"p1", "p1.example:1444", "eu"}}
	r := TellPeers(t.Context(), want)
	if _, told := ToldPeers(r); told {
		t.Error("a request of P's that has not been received counts") // it has no RequestURI
	}
	r.RequestURI = "*"
	if got, told := ToldPeers(r); !told || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, told, want)
	}
	if AsksAgain(r) {
		t.Error("it is taken for the other one")
	}
	r.Header.Set("Via", "1.1 spdy-proxy")
	if _, told := ToldPeers(r); told {
		t.Error("a visitor's request counts")
	}
}
