package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Hold checks that the budgets have room for a release, and refuses early with
// *budget.ExhaustedError or *budget.NoRuleError what Append would refuse.
func (l *Ledger) Hold(ctx context.Context, r Release) (Hold, error) {
	switch {
	case !r.Grant.Valid():
		return Hold{}, errors.New("a release needs a grant")
	case (len(r.Ords) == 0) != r.Absent, r.Absent && r.Class != budget.Search:
		return Hold{}, budget.ErrNoCustomers
	case (r.Class == budget.Scope || r.Class == budget.Campaign) != (entry.ApprovalOf(r.Detail) != 0):
		return Hold{}, errors.New("customers are counted and notified under an approval, and nothing else is")
	case !entry.ValidTicket(r.Ticket):
		return Hold{}, errors.New("a ticket is up to 64 letters, digits, dots, hyphens and underscores")
	}
	if err := checkOrds(r.Ords); err != nil {
		return Hold{}, err
	}
	if err := checkTexts(kindOf(r.Class), r.Grant.Purpose(), r.Ticket, textsOf(kindOf(r.Class), r.Detail)); err != nil {
		return Hold{}, err
	}
	r.Ords = slices.Clone(r.Ords)
	c, err := l.chain(ctx, r.Grant.Who().Brand)
	if err != nil {
		return Hold{}, err
	}
	d := r.disclosure()
	if d.At, err = l.db.Estimate(ctx); err != nil {
		return Hold{}, unavailable(err)
	}
	if err = c.proj.book.Check(d); err != nil { // an estimate that is late refuses what fits again
		if d.At, err = l.db.Now(ctx); err != nil {
			return Hold{}, unavailable(err)
		}
		err = c.proj.book.Check(d)
	}
	if err != nil {
		c.refuse(ctx, refusalOfRelease(r, err))
		return Hold{}, err
	}
	return Hold{release: r, valid: true}, nil
}

// Fits reports, with the refusal otherwise, whether the budgets of somebody have room. It
// is no promise: [Ledger.Record] decides.
func (l *Ledger) Fits(ctx context.Context, who identity.Who, rooms []Room, rows int) error {
	c, err := l.chain(ctx, who.Brand)
	if err != nil {
		return err
	}
	now, err := l.db.Estimate(ctx)
	if err != nil {
		return unavailable(err)
	}
	for attempt := 0; ; attempt++ {
		err = nil
		for _, room := range rooms {
			d := budget.Disclosure{At: now, Lineage: who.Lineage, Principal: who.Principal, Role: who.Role, Class: room.Class, Room: room.N, Rows: rows,
				Approval: room.Approval, Most: room.Most}
			if err = c.proj.book.Check(d); err != nil {
				break
			}
		}
		if err == nil || attempt > 0 {
			return err
		}
		if now, err = l.db.Now(ctx); err != nil { // an estimate that is late refuses what fits again
			return unavailable(err)
		}
	}
}

// RefusedByBudget logs that a budget refused somebody.
func (l *Ledger) RefusedByBudget(ctx context.Context, who identity.Who, action string, err error) {
	l.Refused(ctx, refusalOf(who, action, "", 0, err))
}

// Append decides the budgets and logs the release, durably, in one transaction. A
// refusal is *budget.ExhaustedError or *budget.NoRuleError. With any error nothing
// may be shown, not even that nobody was found. commit is nil for a search that found
// nobody.
func (l *Ledger) Append(ctx context.Context, h Hold, commit Commit) (Receipt, error) {
	if !h.valid || commit == nil != h.release.Absent {
		return Receipt{}, errors.New("appending needs a hold and the customers' commitments")
	}
	rel := h.release
	g := rel.Grant
	who := g.Who()
	c, err := l.chain(ctx, who.Brand)
	if err != nil {
		return Receipt{}, err
	}
	e := entryOf(who, kindOf(rel.Class))
	e.Purpose, e.Ticket, e.Detail = g.Purpose(), rel.Ticket, rel.Detail
	e.Recipient, e.RecipientCountry, e.RecipientEntity = rel.Recipient.Name, rel.Recipient.Country, rel.Recipient.Entity
	e.Class, e.Level, e.Fields = rel.Class.String(), level(rel), g.Fields()
	req := c.request(e, rel.Ords, commit)
	req.class, req.rows, req.most, req.revision, req.mark = rel.Class, rel.Rows, rel.Most, revision.Of(ctx), revision.MarkOf(ctx)
	if err := c.await(ctx, req); err != nil {
		if Refused(err) {
			c.refuse(ctx, refusalOfRelease(rel, err))
		}
		return Receipt{}, err
	}
	revision.Logged(ctx)
	r := req.receipt()
	r.grant = g
	return r, nil
}

// Record logs what releases nothing. Releases go through Append, refusals through
// Refused.
func (l *Ledger) Record(ctx context.Context, ev Event) (Receipt, error) {
	req, c, err := l.event(ctx, ev)
	if err != nil {
		return Receipt{}, err
	}
	if err := c.await(ctx, req); err != nil {
		if Refused(err) {
			c.refuse(ctx, refusalOf(ev.Who, ev.Kind.String(), ev.Purpose, ev.Fields, err))
		}
		return Receipt{}, err
	}
	revision.Logged(ctx)
	return req.receipt(), nil
}

// event returns the request for an entry of what releases nothing.
func (l *Ledger) event(ctx context.Context, ev Event) (*request, *chain, error) {
	e := entryOf(ev.Who, ev.Kind)
	e.Purpose, e.Ticket, e.Fields, e.Detail, e.Class = ev.Purpose, ev.Ticket, ev.Fields, ev.Detail, ev.Class
	switch {
	case ev.Kind == entry.KindDisclosure, ev.Kind == entry.KindSearch:
		return nil, nil, errors.New("a release is appended with a hold, not recorded")
	case ev.Kind == entry.KindBudget:
		if _, err := rulesOf(new(budget.Parts), ev.Detail); err != nil {
			return nil, nil, fmt.Errorf("logging budget rules: %w", err)
		}
	case len(ev.Ords) > 0 && ev.Commit == nil:
		return nil, nil, errors.New("an event that concerns customers needs their commitments")
	}
	if err := checkOrds(ev.Ords); err != nil {
		return nil, nil, err
	}
	if err := checkTexts(ev.Kind, ev.Purpose, ev.Ticket, textsOf(ev.Kind, ev.Detail)); err != nil {
		return nil, nil, err
	}
	c, err := l.chain(ctx, ev.Who.Brand)
	if err != nil {
		return nil, nil, err
	}
	req := c.request(e, slices.Clone(ev.Ords), ev.Commit)
	req.revision, req.mark = revision.Of(ctx), revision.MarkOf(ctx)
	req.rooms, req.rows, req.most = ev.Rooms, ev.Rows, ev.Most
	return req, c, nil
}

func entryOf(who identity.Who, kind entry.Kind) entry.Entry {
	e := entry.Entry{
		Kind: kind, Brand: who.Brand, Principal: who.Principal, Credential: who.Credential,
		Lineage: who.Lineage, Role: who.Role,
	}
	e.Country, e.Entity = who.Country, who.Entity
	if who.Principal == 0 {
		e.Actor = entry.ActorSystem
	}
	return e
}

// request prepares an entry as far as it can be before the lock: its commitments
// are made with the counters that are expected.
func (c *chain) request(e entry.Entry, ords []record.Ordinal, commit Commit) *request {
	r := &request{entry: e, ords: ords, commit: commit, done: make(chan struct{})}
	var random [len(r.entry.Nonce) + saltBytes + len(r.secret)]byte
	rand.Read(random[:]) // at once: each time is a system call
	copy(r.entry.Nonce[:], random[:])
	copy(r.secret[:], random[len(r.entry.Nonce)+saltBytes:])
	if len(ords) == 0 {
		return r
	}
	copy(r.salt[:], random[len(r.entry.Nonce):])
	r.encoded = entry.EncodeSubjects(ords)
	r.entry.Subjects = entry.SubjectsDigest(r.salt, r.encoded)
	r.entry.Count = entry.Bucket(len(ords))
	r.counters = make([]uint32, len(ords))
	r.commitments = make([][32]byte, len(ords))
	if k := c.month.Load(); k != nil { // else the committer makes the commitments
		r.month, r.entry.Reader = k.Version, k.Reader(e.Principal)
	}
	for i, ord := range ords {
		r.counters[i] = c.proj.counter(ord)
		if r.month != 0 {
			r.commitments[i] = commit(i, r.entry.Committed(r.counters[i]))
		}
	}
	return r
}

// await queues a request and waits for its commit. A deadline takes a request back
// that no group has taken yet; after that the answer is the commit's.
func (c *chain) await(ctx context.Context, r *request) error {
	select {
	case c.queue <- r:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the log: %w", ctx.Err())
	case <-c.l.quit:
		return ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, abandoned) {
			return fmt.Errorf("waiting for the log: %w", ctx.Err())
		}
		<-r.done // bounded by the commit's own timeout
	case <-c.l.quit:
		if r.state.CompareAndSwap(waiting, abandoned) {
			return ErrClosed
		}
		<-r.done
	}
	return r.failed
}

func (r *request) receipt() Receipt {
	return Receipt{
		brand: r.entry.Brand, kind: r.entry.Kind, index: r.index, size: r.size, at: r.at,
		fields: r.entry.Fields, ords: r.ords,
	}
}

// Refused reports whether a budget refused.
func Refused(err error) bool {
	var exhausted *budget.ExhaustedError
	var noRule *budget.NoRuleError
	return errors.As(err, &exhausted) || errors.As(err, &noRule)
}
