module github.com/amahi/spdy

go 1.26

require github.com/moby/spdystream v0.5.1
