package spdy

// OpenPings returns how many PINGs wait for their echo.
func (s *Session) OpenPings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ping.open)
}

// ServeTLS is ListenAndServeTLS on a listener that a test can close.
var ServeTLS = serveTLS

// SetNextPing makes id that of the next PING.
func (s *Session) SetNextPing(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ping.next = id
}

// Rests reports whether the session has no writer, since it has nothing to write.
func (s *Session) Rests() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running && !s.writing
}

// ReadWhole is what Client.Do reads a body with.
var ReadWhole = readWhole
