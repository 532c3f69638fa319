// Package packaging is what an installed machine has of spdy-proxy beside the programs:
// the units of systemd, the configuration to begin with, and how the .deb and the .rpm
// are made of them. There is no code in it; its tests hold that the units are as tight
// as they should be.
//
// The programs of a package are told by the linker where their configuration is (see
// build); those of a checkout or an archive look for none.
package packaging
