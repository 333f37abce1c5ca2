//go:build !linux

package main

import "time"

// monotonic is nobody's question where systemd is not.
func monotonic() time.Duration { return 0 }
