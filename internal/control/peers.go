package control

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// headerPeers has in P's answer 200, a field each, the Ps of which any serves the same
// visitors, P itself first: "id=p1; addr=p1.example.org:1444; site=eu". Only who has
// shown a token is told. A request of P's own with it says the same when it has changed.
const headerPeers = "Spdy-Proxy-Peers"

// maxPeers is how many are told and taken, maxPeerBytes what an answer's head may have
// of them.
const (
	maxPeers     = 64
	maxPeerBytes = maxHead / 2
)

// Peer is one of several Ps that are one.
type Peer struct {
	ID   string // its Spdy-Proxy-Server
	Addr string // HOST:PORT of its control port
	Site string // may be ""
}

func (p Peer) String() string {
	s := "id=" + p.ID + "; addr=" + p.Addr
	if p.Site != "" {
		s += "; site=" + p.Site
	}
	return s
}

// parsePeers returns the peers that a header tells of. What is none is left out.
func parsePeers(h http.Header) []Peer {
	var list []Peer
	for _, field := range h[headerPeers] {
		var p Peer
		for part := range strings.SplitSeq(field, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch key {
			case "id":
				p.ID = value
			case "addr":
				p.Addr = value
			case "site":
				p.Site = value
			}
		}
		host, port, err := net.SplitHostPort(p.Addr)
		if err != nil || host == "" || port == "" || p.ID == "" || printable(p.ID) != p.ID || printable(p.Addr) != p.Addr || printable(p.Site) != p.Site {
			continue
		}
		if list = append(list, p); len(list) == maxPeers {
			break
		}
	}
	return list
}

// TellPeers returns the request by which P tells a C, if its Registration says
// DialsAgain, of the Ps that there are by now. C answers 204.
func TellPeers(ctx context.Context, peers []Peer) *http.Request {
	r := &http.Request{
		Method: http.MethodOptions, URL: &url.URL{Scheme: "http", Path: "*"}, Host: "localhost",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
	}
	for _, p := range peers[:min(len(peers), maxPeers)] {
		r.Header.Add(headerPeers, p.String())
	}
	return r.WithContext(ctx)
}

// ToldPeers returns what P says in a request made by TellPeers, false if r is none. No
// visitor can make one: P gives each request of theirs a Via.
func ToldPeers(r *http.Request) ([]Peer, bool) {
	if r.Method != http.MethodOptions || r.RequestURI != "*" || r.Header[headerPeers] == nil || r.Header["Via"] != nil {
		return nil, false
	}
	return parsePeers(r.Header), true
}
