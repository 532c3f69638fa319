package spdy_test

import (
	"fmt"
	"testing"
)

// What the library of 2015 did wrong, by number: a test each that fails where
// the defect is back, through the constructors that its users call. Each runs in a synctest bubble, so that a wait of hours is exact and
// a goroutine that is left behind fails it:
//
//	go test -run TestDefect/12
var defects = []struct {
	id   int
	what string
	run  func(t *testing.T)
}{
	{1, "a HEADERS frame panics", defectHeaders},
	{2, "a short payload panics", defectShortPayloads},
	{3, "a bad status or an empty name in SYN_REPLY panics", defectReply},
	{4, "a handler that panics, or none, kills the process", defectHandlerPanic},
	{5, "a bad path gives a nil URL, no body a nil Body", defectRequestParts},
	{6, "lengths in a header block are allocated unseen", defectBlockLengths},
	{7, "the count of SETTINGS is allocated unseen", defectSettingsCount},
	{8, "Close races with who sends", defectClose},
	{9, "Server.Close before Serve panics", defectServerClose},
	{10, "DATA that is not taken in 300 ms is dropped", defectSlowReader},
	{11, "a sixth piece of DATA ends the stream", defectManyPieces},
	{12, "only the last of several values survives", defectValues},
	{13, "Request hangs after a reset, a loss, 10 s", defectRequestHangs},
	{14, "a body without FIN for 3 s loses its request", defectSlowBody},
	{15, "FIN on SYN_REPLY is lost", defectReplyFin},
	{16, "no SYN_REPLY from a handler that wrote nothing; HEAD gets a body", defectNoReply},
	{17, "SETTINGS of 9 bytes an entry, never used", defectSettings},
	{18, "a PING forgets the settings", defectPingSettings},
	{19, "GOAWAY ends the wrong streams, and no session", defectGoAway},
	{20, "a Write above the window never starts", defectLargeWrite},
	{21, "10 s of silence end a stream", defectSilence},
	{22, "a request with a body stops the session", defectBodyStops},
	{23, "one stuck stream stops all", defectStuckStream},
	{24, "a peer that is slow for 5 s ends the session; no priority", defectSlowPeer},
	{25, "one Ping at a time, and another's answer is taken", defectPings},
	{26, "no room closes the session; SYN_STREAM after GOAWAY stops it", defectNoRoom},
	{27, "the version is not looked at, 16 MiB are read on the peer's word", defectFrameHeader},
	{28, "a body is read whole first, and ignores windows", defectRequestBody},
	{29, "no session window, no overflow of the stream's", defectWindows},
	{30, "unknown streams: silence, or the session's end", defectUnknownStreams},
	{31, "ids are not judged, a refused block is not inflated", defectIDs},
	{32, "priorities are ignored", defectPriority},
	{33, "CANCEL for every reason", defectStatus},
	{34, "Close without GOAWAY", defectCloseGoAway},
	{35, "blocks in any order; secrets compressed beside chosen text", defectCompression},
	{36, "no limit on headers, and any name is taken", defectHeaderLimits},
	{37, "the handler's map is written to, and races", defectHeaderMap},
	{38, "Do: all in memory, no GOAWAY, no context", defectDo},
}

func TestDefect(t *testing.T) {
	quiet(t)
	for i, d := range defects {
		if d.id != i+1 {
			t.Errorf("row %d is number %d", i+1, d.id)
		}
		t.Run(fmt.Sprintf("%02d_%s", d.id, d.what), bubble(d.run))
	}
	if len(defects) != 38 {
		t.Errorf("%d rows, want 38", len(defects))
	}
}
