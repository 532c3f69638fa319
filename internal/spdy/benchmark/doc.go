// Package benchmark measures the engine beside other multiplexers, each over a
// TLS connection of the same kind on loopback, turned round as p and c do it:
// who dialled serves. It has no code but its benchmarks.
package benchmark
