//go:build !linux

package dbtest

import "errors"

func mountSmall(string, int) error { return errors.New("only on Linux") }

func unmount(string) {}
