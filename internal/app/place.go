package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// place names this host and data directory, for what must not go on in a copy: the name and
// the id of the machine, and which directory it is on its disk. A copy on another machine, or
// beside the first, is another place; a start again is the same.
func (v *Vault) place() string {
	host, _ := os.Hostname()
	id, _ := os.ReadFile("/etc/machine-id")
	dir, err := filepath.Abs(v.Dir)
	if err != nil {
		dir = v.Dir
	}
	inode := uint64(0)
	if st, err := os.Stat(dir); err == nil {
		if s, ok := st.Sys().(*syscall.Stat_t); ok {
			inode = uint64(s.Ino)
		}
	}
	h := sha256.Sum256(fmt.Appendf(nil, "cloakroom place 1\x00%s\x00%s\x00%s\x00%d", host, strings.TrimSpace(string(id)), dir, inode))
	return hex.EncodeToString(h[:16])
}
