package spdy

// OpenPings returns how many PINGs wait for their echo.
func (s *Session) OpenPings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pings)
}

// ServeTLS is ListenAndServeTLS on a listener that a test can close.
var ServeTLS = serveTLS
