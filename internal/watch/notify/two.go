package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

const (
	sqlReceiverThere = `SELECT created FROM receivers WHERE brand = $1 AND name = $2`
	// A receiver that was registered after an entry is not told of it.
	sqlHanded = `SELECT count(*), coalesce(sum(CASE WHEN entry > $2 OR entry = $2 AND rule >= $3 THEN 1 ELSE 0 END), 0)
		FROM receivers WHERE brand = $1 AND grade <= $4 AND since <= $2`
)

// receiverRemoved is a receiver that gets no more alarms.
type receiverRemoved struct {
	Brand record.BrandID `json:"brand"`
	Name  string         `json:"name"`
}

// Register registers that removing a receiver takes a second person.
func (d *Desk) Register(c *change.Desk) {
	d.remove = change.Register(c, change.Act[receiverRemoved, bool]{
		Name: "receiver-remove", Action: access.ActAdminister,
		Need: func(context.Context, change.Order, receiverRemoved) (change.Need, error) {
			return change.Need{Two: true}, nil
		},
		Text: func(_ context.Context, _ change.Order, p receiverRemoved) (change.Text, error) {
			return change.Text{Title: fmt.Sprintf("Send no more alarms to the receiver %s", p.Name)}, nil
		},
		Check: func(ctx context.Context, _ change.Order, p receiverRemoved) error {
			var created int64
			err := d.DB.Row(ctx, sqlReceiverThere, int64(p.Brand), p.Name).Scan(&created)
			if errors.Is(err, db.ErrNoRows) {
				return ErrNoReceiver
			}
			return err
		},
		Apply: func(ctx context.Context, o change.Order, p receiverRemoved) (bool, error) {
			ev := ledger.Event{Kind: entry.KindAdministration, Who: o.Who, Detail: entry.ReceiverRemoved{Receiver: p.Name}}
			_, _, err := d.Ledger.Change(ctx, ev, func(q db.Queryer, _ time.Time) error {
				if _, err := q.Exec(ctx, sqlDeleteReceiver, int64(p.Brand), p.Name); err != nil {
					return fmt.Errorf("removing a receiver: %w", err)
				}
				rights.Changed(q, rights.Row{Table: tableReceivers, Key: p.Name, Hidden: true, Gone: true})
				return nil
			})
			return err == nil, err
		},
	})
}

// Handed reports whether a receiver gets the alarms of acts that need two people at one of
// the places, and whether one has taken the alarm of the entry there.
func (d *Desk) Handed(ctx context.Context, at []change.Place) (any, handed bool, err error) {
	for _, p := range at {
		var all, took int64
		if err := d.DB.Row(ctx, sqlHanded, int64(p.Brand), int64(p.Entry), string(detect.Change), int64(detect.High)).Scan(&all, &took); err != nil {
			return false, false, fmt.Errorf("reading whether an alarm was taken: %w", err)
		}
		any, handed = any || all > 0, handed || took > 0
	}
	return any, handed, nil
}
