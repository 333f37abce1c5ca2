//go:build !linux

package server

import (
	"errors"
	"net"
)

// peerUID fails where we do not know how to ask: over the socket, too, callers then
// need a key.
func peerUID(*net.UnixConn) (int, error) { return 0, errors.ErrUnsupported }
