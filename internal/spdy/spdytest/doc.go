// Package spdytest helps to test what speaks SPDY/3.1: Pipe is a connection in
// memory that works in a testing/synctest bubble, and Peer is the other side of
// a session, frame by frame, as a script says:
//
//	p.Send(spdytest.WindowUpdate(1, 1<<31-1))
//	p.Want("2.6.8: a window above 2^31-1 ends the stream", spdytest.Rst(1, 7))
//	p.WantIdle("nothing more")
//
// Nothing here uses the engine under test. Peer has a codec and zlib states of
// its own, and every frame that it receives is read a second time by the framer
// of github.com/moby/spdystream, which has to see the same.
package spdytest
