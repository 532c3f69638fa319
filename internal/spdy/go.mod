module github.com/amahi/spdy

go 1.27.3

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/moby/spdystream v0.5.1
	golang.org/x/net v0.62.0
)

require golang.org/x/text v0.43.0 // indirect
