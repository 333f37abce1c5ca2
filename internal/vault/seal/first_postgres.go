package seal

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// The index of lookups takes its rows in random order, which costs more than all the
// rest of a load. A first load does without, and makes it at the end. While it is
// gone a search reads the whole table, and nothing is wrong: external ids are unique
// by a table of their own, and a row that is made twice, as a rotation of index keys may
// do, is made one again first.
const (
	sqlLookupsExist        = `SELECT EXISTS (SELECT 1 FROM lookups LIMIT 1)`
	sqlPostgresLookupsKey  = `SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = 'lookups'::regclass AND contype = 'p')`
	sqlPostgresDistributed = `SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')`
	sqlPostgresDropKey     = `ALTER TABLE lookups DROP CONSTRAINT IF EXISTS lookups_pkey`
	sqlPostgresMakeKey     = `ALTER TABLE lookups DROP CONSTRAINT IF EXISTS lookups_pkey, ADD CONSTRAINT lookups_pkey PRIMARY KEY (value, ord)`
	sqlPostgresOneOfEach   = `DELETE FROM lookups WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY value, ord) AS n FROM lookups) AS d WHERE n > 1)`
	sqlPostgresLongMemory  = `SELECT set_config('statement_timeout', '0', true), set_config('maintenance_work_mem', '256MB', true)`
)

// FirstLoad reports whether there is nobody to look up yet, and takes the index of
// lookups away then. Mend puts it back, and is due after the load, however that ends.
func (s *Store) FirstLoad(ctx context.Context) (first bool, err error) {
	var exist, distributed bool
	if err := s.db.Row(ctx, sqlLookupsExist).Scan(&exist); err != nil {
		return false, fmt.Errorf("looking for customers: %w", err)
	}
	if exist {
		return false, s.Mend(ctx)
	}
	if s.db.Engine() != db.Postgres {
		return true, nil
	}
	err = s.db.Alone(ctx, func(q db.Queryer) error {
		if err := q.Row(ctx, sqlPostgresDistributed).Scan(&distributed); err != nil || distributed {
			return err
		}
		_, err := q.Exec(ctx, sqlPostgresDropKey)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("preparing a first load: %w", err)
	}
	return true, nil
}

// Mend makes the index of lookups where a first load was cut off before it did.
// Writes and searches wait meanwhile: seconds for each million customers.
func (s *Store) Mend(ctx context.Context) error {
	if s.db.Engine() != db.Postgres {
		return nil
	}
	there := func(q db.Queryer) (ok bool, err error) {
		err = q.Row(ctx, sqlPostgresLookupsKey).Scan(&ok)
		return ok, err
	}
	ok, err := there(s.db)
	if err == nil && !ok {
		make := func(q db.Queryer) error {
			if ok, err := there(q); err != nil || ok {
				return err
			}
			if err := q.Rows(ctx, func(db.Row) error { return nil }, sqlPostgresLongMemory); err != nil {
				return err
			}
			_, err := q.Exec(ctx, sqlPostgresMakeKey)
			return err
		}
		if err = s.db.Alone(ctx, make); err != nil {
			// A rotation of index keys may have made a row twice.
			err = s.db.Alone(ctx, func(q db.Queryer) error {
				if _, err := q.Exec(ctx, sqlPostgresOneOfEach); err != nil {
					return err
				}
				return make(q)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("making the index of lookups (`cloakroom import` or the next start tries again): %w", err)
	}
	return nil
}
