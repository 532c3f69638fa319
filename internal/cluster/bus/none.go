//go:build nocluster

package bus

import (
	"context"
	"errors"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
)

// Bus is what Open would return.
type Bus struct{}

// Open returns an error.
func Open(Config) (*Bus, error) {
	return nil, errors.New("this p was built without clusters (the build tag nocluster): leave out --cluster and --cluster-url, or take another build")
}

// Publish implements registry.Bus.
func (*Bus) Publish(string, []byte) error { return nil }

// Subscribe implements registry.Bus.
func (*Bus) Subscribe(string, func(registry.Message)) error { return nil }

// Request implements registry.Bus.
func (*Bus) Request(context.Context, string, []byte) ([]byte, error) { return nil, nil }

// Reload does nothing.
func (*Bus) Reload() error { return nil }

// Close does nothing.
func (*Bus) Close() {}
