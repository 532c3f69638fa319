module github.com/amahi/spdy-proxy/internal/lint

go 1.27.3

require (
	github.com/Abirdcfly/dupword v0.1.8
	github.com/Antonboom/errname v1.1.2
	github.com/ldez/usetesting v0.5.0
	github.com/polyfloyd/go-errorlint v1.8.0
	golang.org/x/tools v0.52.0
)

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)
