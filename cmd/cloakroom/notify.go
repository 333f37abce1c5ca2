package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// supervisor tells the service manager how the server is (sd_notify(3)), where one asks.
type supervisor struct{ socket string }

// tell sends one state, such as READY=1.
func (s supervisor) tell(lines ...string) error {
	if s.socket == "" {
		return nil
	}
	name := s.socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return errors.Join(err, c.Close())
}

// reloading is what precedes READY=1 of a reload, with the clock that the manager compares.
func reloading(since time.Duration) []string {
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", since.Microseconds())}
}
