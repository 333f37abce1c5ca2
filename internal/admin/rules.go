package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/budget"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
)

// Policy returns a brand's policy to those who administer or audit it.
func (d *Desk) Policy(ctx context.Context, c identity.Caller, brand string) (*api.Policy, error) {
	v, err := d.visit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	p, n, err := d.Door.Access.Current(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	return &api.Policy{Version: n, Text: p.Text()}, nil
}

// ApplyPolicy says who gains and loses what under a policy, and with apply set makes
// it the one that holds.
func (d *Desk) ApplyPolicy(ctx context.Context, c identity.Caller, brand, text string, apply bool) (*api.PolicyDiff, error) {
	v, err := d.visit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	p, err := access.Load(text)
	if err != nil {
		return nil, err
	}
	purposes, err := d.Door.Brands.Purposes(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	names := []string{""} // actions on the brand need none
	for _, q := range purposes {
		names = append(names, q.Name)
	}
	out := &api.PolicyDiff{Changes: []api.PolicyChange{}}
	for _, ch := range access.Diff(v.Policy, p, names) {
		out.Changes = append(out.Changes, api.PolicyChange{
			Role: ch.Role, Principal: ch.Principal, Action: string(ch.Action), Purpose: ch.Purpose,
			Gained: ch.Gained.Names(), Lost: ch.Lost.Names(),
		})
	}
	if out.Bounds, err = d.Exposure.Change(ctx, v, nil, p); err != nil || !apply {
		return out, err
	}
	if _, err := p.Authorize(v.Who, access.ActAdminister, "", 0); err != nil {
		return nil, fmt.Errorf("%w: under this policy you could not change it back: keep a rule that lets the role %s administer", ErrRequest, v.Who.Role)
	}
	err = d.change(ctx, v, entry.KindPolicy, map[string]string{"sha256": digest(text)}, func(q db.Queryer, at time.Time) (err error) {
		out.Version, err = d.Door.Access.Put(ctx, q, v.Brand.ID, p, v.Who.Principal, at)
		return err
	})
	out.Applied = err == nil
	return out, err
}

// Rules returns a brand's budgets.
func (d *Desk) Rules(ctx context.Context, c identity.Caller, brand string) (*api.BudgetRules, error) {
	v, err := d.visit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	r, err := d.Ledger.Rules(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	return &api.BudgetRules{Rules: string(r.Encode())}, nil
}

// SetRules says how the loss bounds change under other budgets, and with apply set makes
// them those that hold; empty text is for the defaults.
func (d *Desk) SetRules(ctx context.Context, c identity.Caller, brand string, text string, apply bool) (*api.BudgetsSet, error) {
	v, err := d.visit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	r := budget.DefaultRules()
	if text != "" {
		if r, err = budget.DecodeRules([]byte(text)); err != nil {
			return nil, err
		}
	}
	out := &api.BudgetsSet{Rules: string(r.Encode())}
	if out.Bounds, err = d.Exposure.Change(ctx, v, r, nil); err != nil || !apply {
		return out, err
	}
	_, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: v.Who, Detail: map[string]string{ledger.RulesDetail: out.Rules}})
	out.Applied = err == nil
	return out, err
}

// Erase erases a customer. It cannot be undone.
func (d *Desk) Erase(ctx context.Context, c identity.Caller, brand, token string) (*api.Erased, error) {
	v, err := d.visit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	id := v.Brand.ID
	ords, err := d.Seal.Resolve(ctx, id, []string{token})
	if err != nil {
		v.Refuse(ctx, "unknown-token")
		return nil, err
	}
	r, err := d.EraseFor(ctx, v, ords[0])
	if err != nil {
		return nil, err
	}
	return &api.Erased{Receipt: api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}, Token: token}, nil
}

// EraseFor logs and erases a customer for a visit that was let do so.
func (d *Desk) EraseFor(ctx context.Context, v *admit.Visit, ord record.Ordinal) (r ledger.Receipt, err error) {
	id, ords := v.Brand.ID, []record.Ordinal{ord}
	u, err := d.Seal.Fetch(ctx, id, ords, 0)
	if err != nil {
		return r, err
	}
	logKeys, err := d.Seal.LogKeys(ctx, id, ords)
	if err != nil {
		return r, err
	}
	r, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: v.Who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		return r, err
	}
	return r, d.erase(ctx, r, ord, logKeys[ord])
}

// erase keeps what the proofs of others need, and destroys the customer's key.
func (d *Desk) erase(ctx context.Context, r ledger.Receipt, ord record.Ordinal, logKey []byte) error {
	id := r.Brand()
	kept, err := d.Ledger.Commitments(ctx, id, ord, 0, logKey)
	if err != nil {
		return err
	}
	// The log is not read inside the transaction: that would hold one connection while it
	// waits for another, and idle for longer than the database lets a transaction.
	err = d.Seal.Erase(ctx, r, ord, func(ctx context.Context, q db.Queryer, _ []byte) error {
		return d.Ledger.Keep(ctx, q, id, ord, kept)
	})
	if err != nil {
		return err
	}
	// What was logged since the log was read. A crash before this line costs those who
	// are in such an entry beside the erased customer their proof of that entry.
	late, err := d.Ledger.Commitments(ctx, id, ord, r.CheckpointSize(), logKey)
	if err == nil {
		err = d.Ledger.Keep(ctx, d.DB, id, ord, late)
	}
	if err != nil {
		return fmt.Errorf("the customer is erased; keeping what the proofs of others need: %w", err)
	}
	return nil
}

// FinishErasures erases the customers of a brand whose erasure is in the log and who
// are there all the same: a restored copy that is older than its log has them. It
// returns how many it erased.
func (d *Desk) FinishErasures(ctx context.Context, brand record.BrandID) (int, error) {
	n := 0
	err := d.Ledger.Erasures(ctx, brand, func(r ledger.Receipt, ords []record.Ordinal) error {
		left, err := d.Seal.LogKeys(ctx, brand, ords)
		if err != nil {
			return err
		}
		for _, ord := range ords {
			key, ok := left[ord]
			if !ok {
				continue
			}
			if err := d.erase(ctx, r, ord, key); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Announce logs, in the group's log, that its administrator does something that no
// other method here does, such as a backup.
func (d *Desk) Announce(ctx context.Context, c identity.Caller, detail map[string]string) (ledger.Receipt, error) {
	v, err := d.visit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: detail})
}

// Watch lets a caller in who may read a brand's log.
func (d *Desk) Watch(ctx context.Context, c identity.Caller, brand string) (record.BrandID, error) {
	v, err := d.visit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return 0, err
	}
	return v.Brand.ID, nil
}
