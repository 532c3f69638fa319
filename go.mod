module github.com/amahi/spdy-proxy

go 1.26.0

require github.com/amahi/spdy v0.0.0

require (
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/spf13/pflag v1.1.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/amahi/spdy => ./internal/spdy
