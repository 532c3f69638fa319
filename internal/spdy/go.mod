module github.com/amahi/spdy

go 1.26
