package change

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
)

// dueEvery is how often a server looks for approved acts whose alarm has arrived.
const dueEvery = 2 * time.Second

// NewLoop returns the loop that [Desk.Run] goes round in.
func NewLoop() *follow.Loop { return follow.NewLoop(dueEvery) }

// Run makes approved acts whose alarm reached a receiver since, until the context ends.
func (d *Desk) Run(ctx context.Context, log *slog.Logger) error {
	return d.Loop.Run(ctx, log, "approved changes do not take effect", d.Due)
}

// Due makes the approved acts that need not wait any more, except those whose result is
// for the person by whose hand they take effect.
func (d *Desk) Due(ctx context.Context) error {
	if _, err := d.Alone(ctx); err != nil { // noticed as soon as it ends
		return err
	}
	list, err := d.rows(ctx, sqlDueChanges, maxDue)
	if err != nil {
		return err
	}
	var failed error
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	glass, err := d.rows(ctx, sqlGlassDue, now.UnixMicro(), maxDue)
	if err != nil {
		return err
	}
	for _, x := range glass {
		a, err := d.act(x.Act)
		if err != nil || a.answers || a.toAsker || d.verify(ctx, x) != nil {
			continue
		}
		payload, err := d.open(ctx, x)
		if err == nil {
			_, err = d.broken(withoutWait(ctx), a, x, payload)
		}
		if x.State != Failed && !errors.Is(err, ErrForged) {
			failed = errors.Join(failed, err)
		}
	}
	for _, x := range list {
		failed = errors.Join(failed, d.due(ctx, x.ID))
	}
	return failed
}

// due makes one approved act, unless somebody makes it already.
func (d *Desk) due(ctx context.Context, id string) error {
	release, ok := d.claim(id)
	if !ok {
		return nil
	}
	defer release()
	x, err := d.get(ctx, id) // as it is now that nobody else on this server makes it
	if err != nil || x.State != Approved {
		return err
	}
	a, err := d.act(x.Act)
	if err != nil || a.answers || a.toAsker {
		return nil
	}
	switch err := d.approved(ctx, x); {
	case errors.Is(err, ErrForged):
		return nil
	case err != nil:
		return err
	}
	payload, err := d.open(ctx, x)
	if err == nil {
		_, err = d.take(withoutWait(ctx), a, x, payload)
	}
	if x.State == Failed { // that it was refused is said where people look
		return nil
	}
	return err
}

// claim makes a request this goroutine's until it is released: who asks or approves, and
// the loop that makes what is due, would otherwise make the same act at once, and one of
// them be told that it exists already.
func (d *Desk) claim(id string) (release func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[id] {
		return nil, false
	}
	if d.busy == nil {
		d.busy = map[string]bool{}
	}
	d.busy[id] = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, id)
	}, true
}

// approved holds a row that says that it was approved against the log: the request, and
// for one that needs a second person the entry of the approval.
func (d *Desk) approved(ctx context.Context, x *request) error {
	if err := d.verify(ctx, x); err != nil {
		return err
	}
	if x.Mark == MarkAlone {
		return nil
	}
	if x.Mark == MarkBreakGlass {
		a, err := d.act(x.Act)
		if err != nil {
			return err
		}
		payload, err := d.open(ctx, x)
		if err != nil {
			return err
		}
		need, err := a.need(ctx, Order{ID: x.ID, Who: x.Who}, payload)
		if err != nil {
			return err
		}
		return d.glassHolds(ctx, x, need)
	}
	e, _, err := d.Ledger.Entry(ctx, x.Who.Brand, x.DecidedIn)
	if err != nil {
		return errors.Join(ErrForged, err)
	}
	by, ok := e.Detail.(entry.ChangeApproved)
	if !ok || by.Change != x.ID || e.Principal != x.Second || e.Lineage != x.SecondIn {
		return ErrForged
	}
	return nil
}

type noWaitKey struct{}

// withoutWait is for work in the background, which comes round again.
func withoutWait(ctx context.Context) context.Context {
	return context.WithValue(ctx, noWaitKey{}, true)
}

// reached is announced for a caller who waits a little for the alarm to reach somebody.
func (d *Desk) reached(ctx context.Context, x *request) (mark string, wait bool, err error) {
	most := d.Wait
	if ctx.Value(noWaitKey{}) != nil {
		most = -1
	}
	if most == 0 {
		most = DefaultWait
	}
	over, cancel := context.WithTimeout(ctx, max(most, 0))
	defer cancel()
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for {
		mark, wait, err = d.announced(ctx, x)
		if err != nil || !wait {
			return mark, wait, err
		}
		select {
		case <-over.Done():
			return "", true, nil
		case <-pace.C:
		}
	}
}
