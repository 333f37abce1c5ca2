package erase

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// ErrNobody is returned for a request that names nobody of whom the act can be.
var ErrNobody = fault.New(fault.Invalid, "none of the customers named is there, or has an erasure that can be taken back: `cloakroom erasure list` shows those")

// acts are the acts about erasures that need a second person.
type acts struct {
	undo    *change.Handle[chosen, *api.ErasuresDone]
	now     *change.Handle[chosen, *api.ErasuresDone]
	hold    *change.Handle[holding, *api.Hold]
	release *change.Handle[releasing, *api.Hold]
}

// chosen is whom an act is about.
type chosen struct {
	Ords []record.Ordinal `json:"ords"`
}

func two[P any](context.Context, change.Order, P) (change.Need, error) {
	return change.Need{Two: true}, nil
}

// Register registers the acts about erasures that need a second person.
func (d *Desk) Register(c *change.Desk) {
	d.acts = acts{
		undo: change.Register(c, change.Act[chosen, *api.ErasuresDone]{
			Name: "erasure-undo", Action: access.ActErase, Need: two[chosen], Apply: d.applyUndo,
			Text: func(ctx context.Context, o change.Order, p chosen) (change.Text, error) {
				return d.textOf(ctx, o, p, "Take back the erasure of %d customers at %s: they are there as before")
			},
		}),
		now: change.Register(c, change.Act[chosen, *api.ErasuresDone]{
			Name: "erase-now", Action: access.ActErase, Need: two[chosen], Apply: d.applyNow,
			Text: func(ctx context.Context, o change.Order, p chosen) (change.Text, error) {
				return d.textOf(ctx, o, p, "Destroy the keys of %d customers at %s now, without cooling time: nothing brings them back")
			},
			Check: func(ctx context.Context, o change.Order, p chosen) error { return d.unheld(ctx, o.Who.Brand, p.Ords) },
		}),
		hold: change.Register(c, change.Act[holding, *api.Hold]{
			Name: "hold-place", Action: access.ActErase, Apply: d.applyHold, Text: d.textOfHold,
			Need: two[holding],
		}),
		release: change.Register(c, change.Act[releasing, *api.Hold]{
			Name: "hold-release", Action: access.ActErase, Apply: d.applyRelease, Text: d.textOfRelease,
			Need: two[releasing],
			Check: func(ctx context.Context, o change.Order, p releasing) error {
				_, err := d.holdNamed(ctx, o.Who.Brand, p.Hold)
				return err
			},
		}),
	}
}

// textOf describes an act as things are now.
func (d *Desk) textOf(ctx context.Context, o change.Order, p chosen, title string) (change.Text, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	if err != nil {
		return change.Text{}, err
	}
	cooling, asked := 0, 0
	var first, last time.Time
	for _, ord := range p.Ords {
		l, err := d.Seal.Laid(ctx, b.ID, ord)
		if err != nil {
			continue // who is there, or gone
		}
		if cooling++; l.Asked {
			asked++
		}
		if first.IsZero() || l.Begun.Before(first) {
			first = l.Begun
		}
		if l.Begun.After(last) {
			last = l.Begun
		}
	}
	t := change.Text{Title: fmt.Sprintf(title, len(p.Ords), b.Name)}
	if cooling > 0 {
		t.Lines = append(t.Lines, fmt.Sprintf("%d are erased and can be taken back, begun from %s to %s", cooling, first.Format(time.DateTime), last.Format(time.DateTime)))
	}
	if asked > 0 {
		t.Lines = append(t.Lines, fmt.Sprintf("%d of them asked for it themselves", asked))
	}
	return t, nil
}

// UndoErasures takes back what staff erased, with a second person: named customers, or all
// whose erasure was begun by entries from one to another. What customers asked for is left.
func (d *Desk) UndoErasures(ctx context.Context, c identity.Caller, brand string, req api.ErasureUndo) (*api.ErasuresDone, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	p, err := d.choose(ctx, v, req)
	if err != nil {
		return nil, err
	}
	return d.acts.undo.Do(ctx, v, req.Ticket, p)
}

// choose finds whose erasure a request takes back.
func (d *Desk) choose(ctx context.Context, v *door.Visit, req api.ErasureUndo) (p chosen, err error) {
	if len(req.Tokens) > 0 {
		p.Ords, err = d.resolve(ctx, v, req.Tokens)
		return p, err
	}
	for after := record.Ordinal(0); ; {
		list, err := d.Seal.CoolingAfter(ctx, v.Brand.ID, after, maxListed)
		if err != nil {
			return p, err
		}
		for _, x := range list {
			if after = x.Ord; !x.Asked && x.Entry >= req.FromEntry && x.Entry <= req.ToEntry {
				p.Ords = append(p.Ords, x.Ord)
			}
		}
		if len(list) < maxListed {
			break
		}
	}
	if len(p.Ords) == 0 {
		return p, ErrNobody
	}
	return p, nil
}

// resolve returns the customers that tokens stand for, each once, ascending.
func (d *Desk) resolve(ctx context.Context, v *door.Visit, tokens []string) ([]record.Ordinal, error) {
	ords, err := d.Seal.Resolve(ctx, v.Brand.ID, tokens)
	if err != nil {
		v.Refuse(ctx, "unknown-token")
		return nil, err
	}
	slices.Sort(ords)
	return slices.Compact(ords), nil
}

func (d *Desk) applyUndo(ctx context.Context, o change.Order, p chosen) (*api.ErasuresDone, error) {
	back, err := d.Undo(ctx, o.Who, p.Ords)
	if err != nil {
		return nil, err
	}
	return d.done(ctx, o.Who, back)
}

// EraseNow destroys keys without a cooling time, with a second person.
func (d *Desk) EraseNow(ctx context.Context, c identity.Caller, brand string, req api.EraseNow) (*api.ErasuresDone, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	ords, err := d.resolve(ctx, v, req.Tokens)
	if err != nil {
		return nil, err
	}
	return d.acts.now.Do(ctx, v, req.Ticket, chosen{ords})
}

func (d *Desk) applyNow(ctx context.Context, o change.Order, p chosen) (*api.ErasuresDone, error) {
	gone, err := d.DestroyNow(ctx, o.Who, p.Ords)
	if err != nil {
		return nil, err
	}
	return d.done(ctx, o.Who, gone)
}

func (d *Desk) done(ctx context.Context, who identity.Who, ords []record.Ordinal) (*api.ErasuresDone, error) {
	b, err := d.Door.Brands.Get(ctx, who.Brand)
	if err != nil {
		return nil, err
	}
	out := &api.ErasuresDone{Brand: b.Name, Tokens: []string{}}
	for _, ord := range ords {
		token, err := d.Seal.Token(ctx, who.Brand, ord)
		if err != nil {
			return nil, err
		}
		out.Tokens = append(out.Tokens, token)
	}
	return out, nil
}
