package spdy_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// The conformance suite: one session against a scripted peer, case by case.
// Each case runs in a synctest bubble, so "nothing for 300 ms" and "EOF within
// 2 s" are exact and cost no time, and a goroutine that is left behind fails
// it: the bubble ends only when all its goroutines have. The peer's codec is
// that of spdytest, checked frame by frame by moby's; it gives window credit
// only where a case says so. Cases are found by number and side:
//
//	go test -run 'TestConformance/056_server'

// conformanceCase is one row of the list.
type conformanceCase struct {
	id   int
	side string // "server" or "client": the session under test
	what string
	run  func(t *testing.T)
}

// server is a row with a server session of the default configuration.
func server(id int, what string, run func(h *serverTest)) conformanceCase {
	return serverWith(id, what, setup{}, run)
}

func serverWith(id int, what string, s setup, run func(h *serverTest)) conformanceCase {
	return conformanceCase{id, "server", what, func(t *testing.T) { serve(t, s, run) }}
}

// client is a row with a client session of the default configuration.
func client(id int, what string, run func(h *clientTest)) conformanceCase {
	return clientWith(id, what, setup{}, run)
}

func clientWith(id int, what string, s setup, run func(h *clientTest)) conformanceCase {
	return conformanceCase{id, "client", what, func(t *testing.T) { dial(t, s, run) }}
}

var conformanceSections = [][]conformanceCase{
	framingCases, streamCases, headerCases, flowCases, settingsCases, pingCases, goAwayCases, httpCases, limitCases, bodyCases, refusalCases, windowCases,
}

func TestConformance(t *testing.T) {
	for _, section := range conformanceSections {
		for _, c := range section {
			t.Run(fmt.Sprintf("%03d_%s_%s", c.id, c.side, c.what), func(t *testing.T) {
				synctest.Test(t, c.run)
			})
		}
	}
}

// specCases returns the cases that SPEC.md lists, as "56 server". A line of the
// list is: number | side or "both" | what the peer does | what must be seen.
func specCases(t *testing.T) map[string]bool {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	cases := make(map[string]bool)
	last := 0
	for line := range strings.Lines(string(spec)) {
		cells := strings.Split(line, " | ")
		id, err := strconv.Atoi(cells[0])
		if err != nil || len(cells) < 4 {
			continue
		}
		if id != last+1 {
			t.Errorf("SPEC.md lists case %d after %d", id, last)
		}
		last = id
		switch side := cells[1]; side {
		case "both":
			cases[fmt.Sprint(id, " server")], cases[fmt.Sprint(id, " client")] = true, true
		case "server", "client":
			cases[fmt.Sprint(id, " ", side)] = true
		default:
			t.Errorf("SPEC.md, case %d: got side %q", id, side)
		}
	}
	if last != 125 {
		t.Errorf("SPEC.md lists %d cases, want 125", last)
	}
	return cases
}

// The suite has each case of SPEC.md, on each side that it is about, and no other.
func TestConformanceIsWhole(t *testing.T) {
	want := specCases(t)
	for _, section := range conformanceSections {
		for _, c := range section {
			key := fmt.Sprint(c.id, " ", c.side)
			if _, ok := want[key]; !ok {
				t.Errorf("case %s is not on the list", key)
			}
			want[key] = false
		}
	}
	for key, missing := range want {
		if missing {
			t.Errorf("case %s is missing", key)
		}
	}
}
