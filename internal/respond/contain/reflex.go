package contain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

const (
	// reflexPage is how many alarms are looked at before it is asked for others.
	reflexPage = 100
	// reflexWithin is how old an alarm may be to contain by itself: what is seen later,
	// because nothing ran or alarms were made again from the log, is for people.
	reflexWithin = 24 * time.Hour

	// byRule says in an entry that no person contained.
	byRule = "rule"
)

// Reflex contains by the rules of detection: whom the rules of a brand contain for an
// alarm is stopped at that brand as soon as the alarm is stored.
//
// What is due stands with the alarms, and an alarm is answered when it is done: so a
// server that dies leaves it to the next. Whoever was contained after what set the alarm
// off is not contained again for it, also where two people undid that: so it is done once.
// A containment that one person may undo alone does not count.
// One server at a time does it for a brand.
type Reflex struct {
	Desk *Desk
	*follow.Loop

	leases *follow.Leases
}

// NewReflex returns the reflex of a server.
func NewReflex(d *Desk) *Reflex {
	return &Reflex{d, follow.NewLoop(follow.Poll), follow.NewLeases(d.DB)}
}

// Run contains until the context ends. What fails is retried.
func (r *Reflex) Run(ctx context.Context, log *slog.Logger) error {
	return r.Loop.Run(ctx, log, "a rule does not contain yet", r.look)
}

// look answers the alarms that are due. One that fails holds up no other.
func (r *Reflex) look(ctx context.Context) error {
	due, err := r.Desk.Alarms.ToContain(ctx, reflexPage)
	if err != nil {
		return err
	}
	var errs []error
	for i := range due {
		held, err := r.leases.Take(ctx, follow.Work{Name: "reflex", Brand: due[i].Brand}, follow.Lease)
		if err == nil && !held {
			continue // another server's
		}
		if err == nil {
			err = r.answer(ctx, due[i])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *Reflex) answer(ctx context.Context, a alarm.Stored) error {
	ctx, cancel := context.WithTimeout(ctx, 2*passAll)
	defer cancel()
	what, err := r.Desk.byRule(ctx, a)
	if err != nil {
		return err
	}
	return r.Desk.Alarms.Answered(ctx, &a.Alarm, what)
}

// byRule contains the lineage that set an alarm off, at the brand.
func (d *Desk) byRule(ctx context.Context, a alarm.Stored) (alarm.Answer, error) {
	began := time.Now()
	c := containment.Containment{Brand: a.Brand, Kind: containment.Lineage, Target: a.Lineage, Alarm: a.ID()}
	who := identity.Who{Brand: a.Brand}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return 0, err
	}
	id, err := d.Door.Contained.Since(ctx, a.Brand, a.Lineage, a.At, now)
	if err != nil {
		return 0, err
	}
	if id != 0 { // perhaps by a server that died before it waited
		return alarm.Contained, d.pass(ctx, a.Brand, id)
	}
	policy, _, err := d.Door.Access.Current(ctx, a.Brand)
	if err != nil {
		return 0, err
	}
	undoers, err := d.undoers(ctx, a.Brand, policy)
	if err != nil {
		return 0, err
	}
	why, err := d.hold(ctx, a, c, undoers)
	if err != nil {
		return 0, err
	}
	if why != "" {
		detail := entry.NotContained{Kind: string(c.Kind), Target: c.Target, Alarm: a.ID(), By: byRule, Reason: why}
		_, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindContainment, Who: who, Detail: detail})
		return alarm.NotContained, err
	}
	_, _, err = d.begin(ctx, c, order{who: who, by: byRule, undoers: undoers, alarm: a, since: began})
	return alarm.Contained, err
}

// hold says why a rule may not contain for an alarm; empty: it may.
func (d *Desk) hold(ctx context.Context, a alarm.Stored, c containment.Containment, undoers []containment.Undoer) (string, error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return "", err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return "", err
	}
	err = d.Door.Contained.Refuse(ctx, c, undoers)
	switch {
	case a.Lineage == local.Lineage:
		return "local-administrator", nil
	case now.Sub(a.At) > reflexWithin:
		return "late", nil
	case errors.Is(err, containment.ErrLast):
		return "nobody-left-to-undo", nil
	}
	return "", err
}
