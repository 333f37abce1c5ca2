package server_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

// A backup goes to a directory of the vault's machine, on request of its local
// administrator; whoever has a key is refused, whatever their role.
func TestBackupIsLocal(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	h.must(err)
	dir := filepath.Join(t.TempDir(), "full")
	req := api.BackupRequest{Dir: dir, Recipients: []string{id.Recipient().String()}}
	h.must(h.Do(ctx, "PUT", client.Path("principals", access.Administrator, "roles", "group"), api.RoleRequest{Role: access.Administrator}, nil))
	for role, c := range h.as {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			var in any
			if method == "POST" {
				in = req
			}
			var e *api.Error
			if err := c.Do(ctx, method, "/v1/backup", in, nil); !errors.As(err, &e) || e.Status != 403 {
				t.Errorf("%s %s: %v", role, method, err)
			}
		}
	}
	if err := h.Do(ctx, "POST", "/v1/backup", api.BackupRequest{Dir: dir}, nil); !isType(err, api.TypeInvalid) || !strings.Contains(err.Error(), "recipient") {
		t.Errorf("keys in clear: %v", err)
	}
	var b api.Backup
	h.must(h.Do(ctx, "POST", "/v1/backup", req, &b))
	for deadline := time.Now().Add(time.Minute); b.State == "running"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the backup does not end")
		}
		h.must(h.Do(ctx, "GET", "/v1/backup", nil, &b))
	}
	if b.State != "done" || len(b.Parts) != 4 {
		t.Fatalf("%+v", b)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Error(err)
	}
	var e api.Entry
	h.must(h.Do(ctx, "GET", client.Path("brands", "group", "log", "entries")+fmt.Sprint("/", b.Entry), nil, &e))
	if e.Detail["change"] != "backup" || e.Detail["recipient.1"] != req.Recipients[0] {
		t.Errorf("the log says %v", e.Detail)
	}
}
