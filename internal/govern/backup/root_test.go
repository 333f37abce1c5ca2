package backup_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
)

// during makes a backup and runs fn in its middle, once.
func (c *custody) during(h *house, name string, fn func()) error {
	done := false
	_, err := backup.Write(c.t.Context(), h.v.BackupSource(), backup.Request{Dir: c.dir(name), Recipients: []string{c.id.Recipient().String()}, WithRootKey: true}, func(backup.Progress) {
		if !done {
			done = true
			fn()
		}
	})
	if !done {
		c.t.Fatal("the backup was over too soon")
	}
	return err
}

func (h *house) rotateRoot(ctx context.Context) error {
	return h.as("").Do(ctx, "POST", "/v1/root/rotate", nil, nil)
}

func isConflict(err error, text string) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Type == api.TypeConflict && strings.Contains(e.Detail, text)
}

// A backup and a rotation of the root key keep each other out, also those of two servers:
// what a backup copied is wrapped by the root key that there was.
func TestABackupKeepsTheRootKey(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 24), newCustody(t)
		other := h
		if engine == "postgres" {
			other = &house{t: t, dir: h.dir, dsn: h.dsn, keys: h.keys}
			other.open()
		}
		want := h.everybody()
		err := c.during(h, "full", func() {
			if err := other.rotateRoot(ctx); !isConflict(err, "a backup is running since 20") {
				t.Errorf("the root key was rotated while a backup ran: %v", err)
			}
			if err := c.during(other, "second", func() {}); err != nil {
				t.Errorf("a second backup: %v", err)
			}
			if err := other.rotateRoot(ctx); !isConflict(err, "a backup is running since 20") {
				t.Errorf("the end of another backup let the root key be rotated: %v", err)
			}
		})
		must(t, err)
		r, _ := c.restored(h, c.options(h, engine, "full"))
		if got := r.everybody(); len(got) != len(want) {
			t.Errorf("%d customers of %d came back", len(got), len(want))
		}
		must(t, other.rotateRoot(ctx))
		must(t, c.during(h, "after", func() {}))
	})
}

// A backup whose keys the root key does not open is none, whoever rotated it.
func TestABackupThatOpensNothingIsAnError(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 24), newCustody(t)
		err := c.during(h, "full", func() {
			_, err := h.v.DB.Exec(ctx, `DELETE FROM root_holds`) // as a server of an older release passes it over
			must(t, err)
			must(t, h.rotateRoot(ctx))
		})
		if err == nil || !strings.Contains(err.Error(), "root key") {
			t.Errorf("a backup of keys that nothing opens ended with %v", err)
		}
		if list, err := os.ReadDir(c.root); err != nil || len(list) > 0 {
			t.Errorf("it left %v, %v", list, err)
		}
	})
}
