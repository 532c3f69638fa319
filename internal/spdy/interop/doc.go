// Package interop holds tests of the engine beside other people's peers: npm's
// spdy-transport, which Node.js servers speak SPDY with, and
// github.com/moby/spdystream, which containers do, each as client and as server,
// over plain TCP on loopback.
//
// The tests with Node.js need node and npm, and install what package-lock.json
// says into node_modules when they run for the first time; without them, they
// are skipped.
//
// What follows from these tests for those who have such a peer:
//
//   - spdy-transport does not see the end of a message on a HEADERS frame, so
//     that trailers are followed by an empty DATA frame with FIN.
//   - spdystream has no flow control. It never gives credit, so that a peer that
//     keeps to the protocol sends it 64 KiB a stream and then waits for ever; and,
//     as SPDY/3.1, 64 KiB in the whole session. With Config.Version SPDY3 it is
//     each stream that has 64 KiB. It sends without asking for credit either:
//     Config.StreamWindow has to hold whatever one stream brings that its reader
//     has not read yet, or the stream is reset with FLOW_CONTROL_ERROR.
package interop
