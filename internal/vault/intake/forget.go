package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Forget finds the rows of a customer in requests that wait, and returns what takes them out
// once the customer's erasure has begun: before that nothing that was accepted is dropped,
// and afterwards nobody finds the customer.
func (d *Desk) Forget(ctx context.Context, brand record.BrandID, ord record.Ordinal) (drop func(context.Context) error, err error) {
	var drops []func(context.Context) error
	for after, id := (time.Time{}), int64(0); ; {
		list, err := d.Queue.list(ctx, sqlQueueOf, int64(brand), db.Micros(after), id, queueBatch)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			after, id = x.created, x.id
			less, found, err := d.without(ctx, x, ord)
			if err != nil {
				return nil, err
			}
			if found {
				drops = append(drops, func(ctx context.Context) error { return d.Queue.shorten(ctx, x, less) })
			}
		}
		if len(list) < queueBatch {
			break
		}
	}
	return func(ctx context.Context) error {
		var failed error
		for _, one := range drops {
			failed = errors.Join(failed, one(ctx))
		}
		return failed
	}, nil
}

// without returns a request without the rows of a customer, and whether it has any.
func (d *Desk) without(ctx context.Context, x *waiting, ord record.Ordinal) (*api.PutRequest, bool, error) {
	put, err := d.Queue.open(ctx, x)
	if errors.Is(err, errForgedWait) { // it is never written
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	name := record.ExternalID.String()
	is := func(ids ...string) (bool, error) {
		ords, err := d.Seal.FindExternals(ctx, x.brand, ids)
		return slices.Contains(ords, ord), err
	}
	ids := make([]string, len(put.Customers))
	for i, c := range put.Customers {
		ids[i] = c[name]
	}
	if found, err := is(ids...); err != nil || !found {
		return nil, false, err
	}
	less := *put
	less.Customers = nil
	for i, c := range put.Customers {
		theirs, err := is(ids[i])
		if err != nil {
			return nil, false, err
		}
		if !theirs {
			less.Customers = append(less.Customers, c)
		}
	}
	return &less, true, nil
}

// shorten puts a request in the place of what waits, or drops it where no row is left. What
// was written since is left alone.
func (q *Queue) shorten(ctx context.Context, x *waiting, less *api.PutRequest) error {
	if len(less.Customers) == 0 {
		return q.drop(ctx, x.id)
	}
	plain, err := json.Marshal(less)
	if err != nil {
		return fmt.Errorf("writing a request that waits: %w", err)
	}
	now, err := q.db.Now(ctx)
	if err != nil {
		return err
	}
	err = q.db.Tx(ctx, func(tx db.Queryer) error {
		key, sealed, err := q.seal(ctx, tx, x, plain, now)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlQueueLess, x.id, x.sealed, key, sealed)
		return err
	})
	if err != nil {
		return fmt.Errorf("taking a customer out of a request that waits: %w", err)
	}
	return nil
}
