package spdy

import "time"

// Stats is a snapshot of what a session has done since it started.
type Stats struct {
	StreamsOpened  uint64        // by either side
	StreamsOpen    int           // now
	Handlers       int           // running now (server sessions)
	BytesSent      uint64        // payload of DATA frames
	BytesReceived  uint64        // payload of DATA frames
	FramesSent     uint64        // of all types
	FramesReceived uint64        // of all types
	ResetsSent     [12]uint64    // RST_STREAM sent, by Status; 0 counts those out of range
	ResetsReceived [12]uint64    // RST_STREAM received, by Status; 0 counts those out of range
	PingRTT        time.Duration // the last PING's round trip, 0 if none was measured
	PingTime       time.Time     // when PingRTT was measured
	MinRTT         time.Duration // the shortest, 0 if none was measured
	Buffered       int64         // bytes received and not yet read
	RecvWindow     int64         // the session's receive window
}
