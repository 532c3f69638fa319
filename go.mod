module github.com/amahi/spdy-proxy

go 1.26

require github.com/amahi/spdy v0.0.0

replace github.com/amahi/spdy => ./internal/spdy
