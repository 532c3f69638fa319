package spdy

// ServeTLS is ListenAndServeTLS on a listener that a test can close.
var ServeTLS = serveTLS
