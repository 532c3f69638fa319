package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// Subjects are followed by the id of a node. The number is that of the protocol: a
// node that knows more fields than another is understood by it.
const (
	subjects     = "spx.1.>"      // all of them
	subjectHello = "spx.1.hello." // a helloMessage
	subjectEvent = "spx.1.ev."    // an eventMessage
	subjectPage  = "spx.1.snap."  // a pageRequest, answered with a pageMessage
	subjectLoad  = "spx.1.load."  // a loadMessage
)

// What one node takes of another.
const (
	maxNodes    = 64
	maxEntries  = 64 << 10 // of one node
	maxInMany   = 500      // entries of an event or a page
	maxLoads    = 5000     // of a loadMessage
	maxID       = 64
	maxInstance = 64
	maxText     = 255 // addresses, a site, a version
	maxStreams  = 1<<31 - 1
)

// What a node is, as its hello says. What is not known here counts as ready.
const (
	stateReady    = "ready"
	stateDraining = "draining"
	stateGone     = "gone" // its last hello
)

// helloMessage says that a node is there.
type helloMessage struct {
	Epoch   string `json:"epoch"`
	Seq     uint64 `json:"seq"` // of its last event
	Peer    string `json:"peer"`
	Control string `json:"control,omitempty"`
	Site    string `json:"site,omitempty"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Load    int    `json:"load"`    // open streams
	Entries int    `json:"entries"` // at Seq
	Sum     uint64 `json:"sum"`     // at Seq, of all entries' sums
	Now     int64  `json:"now"`     // of its clock, microseconds since 1970

	// Linked are the nodes that it has links to: one that is new waits for all of them.
	Linked []string `json:"linked,omitempty"`
}

// eventMessage is what changed in a node's table. What is up counts before what is
// down, and a session that is up already counts once.
type eventMessage struct {
	Epoch string      `json:"epoch"`
	Seq   uint64      `json:"seq"` // one more than the last one's
	Up    []wireEntry `json:"up,omitempty"`
	Down  []uint64    `json:"down,omitempty"`
}

// wireEntry is a session.
type wireEntry struct {
	SID      uint64          `json:"sid"`
	Name     originname.Name `json:"name"` // "": the default origin
	Instance string          `json:"instance,omitempty"`
	Max      int             `json:"max"`
	Since    int64           `json:"since"` // microseconds since 1970
}

// pageRequest asks a node for a part of its table: that of the sessions whose SID is
// above After, in that order.
type pageRequest struct {
	After uint64 `json:"after"`
}

// pageMessage is a part of a node's table. Who asks for one after the other, and has
// the events after the first one's Seq follow, has the table, whatever changed in
// between: what is new has a greater SID or an event, or both, which is the same, and
// what is gone has an event.
type pageMessage struct {
	Epoch   string         `json:"epoch"`
	Seq     uint64         `json:"seq"` // of the last event before it was made
	Entries []wireEntry    `json:"entries"`
	Loads   map[uint64]int `json:"loads,omitempty"` // how many streams are open on those that have some
	More    bool           `json:"more"`            // there are others after the last of these
}

// loadMessage says how many streams are open on sessions, if that has changed.
type loadMessage struct {
	Epoch string         `json:"epoch"`
	Loads map[uint64]int `json:"loads"`
}

// sum returns a number for e: the sum of those of a table tells it from another.
func (e *wireEntry) sum() uint64 {
	h := fnv.New64a()
	buf := make([]byte, 0, 192)
	buf = strconv.AppendUint(buf, e.SID, 10)
	buf = append(append(append(buf, ' '), e.Name...), ' ')
	buf = append(append(buf, e.Instance...), ' ')
	buf = strconv.AppendInt(buf, int64(e.Max), 10)
	buf = strconv.AppendInt(append(buf, ' '), e.Since, 10)
	h.Write(buf)
	return h.Sum64()
}

// check reports what is wrong with what another node says of a session.
func (e *wireEntry) check() error {
	name, err := originname.Parse(string(e.Name))
	if err != nil {
		return err
	}
	if name != e.Name {
		return fmt.Errorf("the name %q has another form", e.Name)
	}
	if e.SID == 0 || e.Max < 0 || e.Max > maxStreams {
		return errors.New("a number of a session is out of range")
	}
	return checkWord("instance", e.Instance, maxInstance)
}

// checkEntries is check for what one message has.
func checkEntries(list []wireEntry) error {
	if len(list) > maxInMany {
		return fmt.Errorf("%d entries at once", len(list))
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// checkID reports what is wrong with the id of a node: it is up to 64 of letters,
// digits and . _ - with none of those three at either end, nor two dots together.
func checkID(id string) error {
	if id == "" || strings.Trim(id, "._-") != id || strings.Contains(id, "..") {
		return fmt.Errorf("%q is not the id of a node: letters and digits are wanted, with . _ - between them", id)
	}
	return checkWord("id", id, maxID)
}

func checkWord(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("the %s has more than %d characters", what, limit)
	}
	for i := range len(s) {
		c := s[i]
		if !httpfield.IsAlnum(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("the %s %.70q has other characters than letters, digits and . _ -", what, s)
		}
	}
	return nil
}

// checkText reports whether s may stand in a log line, a header and an address.
func checkText(what, s string) error {
	if len(s) > maxText {
		return fmt.Errorf("the %s has more than %d characters", what, maxText)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ';' || s[i] == '=' || s[i] == '"' || s[i] == ',' {
			return fmt.Errorf("the %s %.70q has a character that may not stand in it: take no space, none of ; = , and \", and ASCII alone", what, s)
		}
	}
	return nil
}

func (h *helloMessage) check() error {
	if h.Peer == "" {
		return errors.New("a hello without the peer's address")
	}
	if h.Load < 0 || h.Entries < 0 {
		return errors.New("a hello with a number out of range")
	}
	for _, f := range []struct{ what, s string }{
		{"peer address", h.Peer}, {"control address", h.Control}, {"site", h.Site}, {"version", h.Version}, {"state", h.State},
	} {
		if err := checkText(f.what, f.s); err != nil {
			return err
		}
	}
	if len(h.Linked) > maxNodes {
		return fmt.Errorf("a hello with %d nodes", len(h.Linked))
	}
	for _, id := range h.Linked {
		if err := checkID(id); err != nil {
			return err
		}
	}
	return checkEpoch(h.Epoch)
}

func checkEpoch(s string) error {
	if len(s) != epochLength {
		return errors.New("an epoch of another length")
	}
	return checkWord("epoch", s, epochLength)
}

// encode returns a message as it is sent.
func encode(m any) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // there is no such value in our types
	}
	return b
}
