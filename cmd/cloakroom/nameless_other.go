//go:build !linux

package main

// newNameless makes a file under a name that says that it is no evidence yet.
func newNameless(name string) (*nameless, error) { return unfinished(name) }
