package seal

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTestMoveVersion     = `UPDATE customer_keys SET version = version + 1 WHERE ord = 1`
	sqlPostgresTestWaiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	sqlCitusTestWaiting    = `SELECT count(*) FROM citus_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
)

// Promise: an index is not moved as of a profile that is being replaced.
func TestAMoveWaitsForTheWriteThatCameFirst(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	v := newVault(t, d)
	ctx := t.Context()
	v.putMany(0, 2)
	rot := v.begin(brand, keys.Index)
	all, err := v.ring.All(ctx, brand, keys.Index)
	if err != nil {
		t.Fatal(err)
	}
	m := mover{s: v.Store, brand: brand, kind: rot.Kind, to: all[0], from: all[1:]}
	plans, _, err := m.plan(ctx, 0, 3)
	if err != nil || len(plans) != 2 {
		t.Fatal(len(plans), err)
	}
	again := make(chan map[record.Ordinal]bool, 1)
	err = d.Tx(ctx, func(q db.Queryer) error {
		if _, err := q.Exec(ctx, sqlTestMoveVersion); err != nil {
			return err
		}
		go func() {
			_, a, err := m.apply(ctx, plans)
			if err != nil {
				t.Error(err)
			}
			again <- a
		}()
		return v.blocked(func() bool { return len(again) > 0 })
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := <-again; !a[1] || a[2] {
		t.Errorf("to be planned again: %v", a)
	}
}

// blocked waits until somebody waits for a lock, and fails where they came through.
func (v *vault) blocked(through func() bool) error {
	sql := sqlPostgresTestWaiting
	if dbtest.Cluster() { // the rows lie on the workers
		sql = sqlCitusTestWaiting
	}
	for waiting := 0; waiting == 0; {
		if through() {
			return errors.New("it did not wait")
		}
		// Outside the transaction: inside, what others do is frozen.
		if err := v.d.Row(v.t.Context(), sql).Scan(&waiting); err != nil {
			return err
		}
	}
	return nil
}

// Promise: a key is not rotated under a write that was not committed yet.
func TestARotationWaitsForTheWriteThatCameFirst(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	v := newVault(t, d)
	ctx := t.Context()
	begun := make(chan error, 1)
	err := d.Tx(ctx, func(q db.Queryer) error {
		if err := v.hold(ctx, q, []keys.Use{{Brand: brand, Kind: keys.KEK, Version: 1}}); err != nil {
			return err
		}
		go func() {
			begun <- d.Tx(ctx, func(q db.Queryer) error {
				_, err := v.ring.Rotate(ctx, q, brand, keys.KEK, 1, keys.Starter{}, time.UnixMicro(2))
				return err
			})
		}()
		return v.blocked(func() bool { return len(begun) > 0 })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
}
