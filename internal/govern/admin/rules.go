package admin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Policy returns a brand's policy to those who administer or audit it.
func (d *Desk) Policy(ctx context.Context, c identity.Caller, brand string) (*api.Policy, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
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
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("policy", text); err != nil {
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
	if _, err := p.Authorize(v.Who, access.ActAdminister, "", 0); err != nil {
		return nil, fmt.Errorf("%w: under this policy you could not change it back: keep a rule that lets the role %s administer", ErrRequest, v.Who.Role)
	}
	if out.Bounds, err = d.Exposure.Change(ctx, v, nil, p); err != nil || !apply {
		return out, err
	}
	err = d.change(ctx, v, entry.KindPolicy, entry.PolicyActivated{SHA256: digest(text)}, func(q db.Queryer, at time.Time) (err error) {
		out.Version, err = d.Door.Access.Put(ctx, q, v.Brand.ID, p, v.Who.Principal, at)
		return err
	})
	out.Applied = err == nil
	return out, err
}

// Rules returns a brand's budgets.
func (d *Desk) Rules(ctx context.Context, c identity.Caller, brand string) (*api.BudgetRules, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
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
// them those that hold. No rules at all are refused: they are a lost file, not a wish.
func (d *Desk) SetRules(ctx context.Context, c identity.Caller, brand string, in api.BudgetRules, apply bool) (*api.BudgetsSet, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("budgets", in.Rules); err != nil {
		return nil, err
	}
	r := budget.DefaultRules()
	switch empty := strings.TrimSpace(in.Rules) == ""; {
	case in.Default && !empty:
		return nil, fmt.Errorf("%w: rules and default do not go together", ErrRequest)
	case in.Default:
	case empty:
		return nil, fmt.Errorf("%w: there are no rules in it; default sets the default budgets", budget.ErrRules)
	default:
		if r, err = budget.DecodeRules([]byte(in.Rules)); err != nil {
			return nil, err
		}
	}
	out := &api.BudgetsSet{Rules: string(r.Encode())}
	if out.Bounds, err = d.Exposure.Change(ctx, v, r, nil); err != nil || !apply {
		return out, err
	}
	_, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: v.Who, Detail: entry.BudgetRules{Rules: out.Rules}})
	out.Applied = err == nil
	return out, err
}

// Announce logs, in the group's log, that its administrator does something that no
// other method here does, such as a backup.
func (d *Desk) Announce(ctx context.Context, c identity.Caller, detail entry.Detail) (ledger.Receipt, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: detail})
}

// Watch lets a caller in who may read a brand's log.
func (d *Desk) Watch(ctx context.Context, c identity.Caller, brand string) (record.BrandID, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return 0, err
	}
	return v.Brand.ID, nil
}
