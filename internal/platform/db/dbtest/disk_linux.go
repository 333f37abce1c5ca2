package dbtest

import (
	"fmt"
	"syscall"
)

func mountSmall(dir string, bytes int) error {
	return syscall.Mount("cloakroom-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", bytes))
}

func unmount(dir string) { syscall.Unmount(dir, syscall.MNT_DETACH) }
