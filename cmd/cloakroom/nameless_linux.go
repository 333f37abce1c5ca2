package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// newNameless makes a file without a name: whatever ends this process, nothing of the file
// stays before Publish.
func newNameless(name string) (*nameless, error) {
	fd, err := unix.Open(filepath.Dir(name), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return unfinished(name) // a file system without such files
	}
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return &nameless{os.NewFile(uintptr(fd), name), name, func() error {
		return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}}, nil
}
