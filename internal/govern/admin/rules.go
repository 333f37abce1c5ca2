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
	"github.com/cloakroom/cloakroom/internal/vault/change"
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
// it the one that holds, in the place of the version that the request names, or of the one
// in force. Where somebody gains, it takes a second person.
func (d *Desk) ApplyPolicy(ctx context.Context, c identity.Caller, brand string, req api.Policy, apply bool) (*api.PolicyDiff, error) {
	text, version := req.Text, req.Version
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err == nil && apply {
		err = d.Door.Present(ctx, c, "policy-apply", brand, req)
	}
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
	_, now, err := d.Door.Access.Current(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
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
	if version == 0 {
		version = now
	}
	out.Version, err = d.acts.policy.Do(ctx, v, "", policyGiven{Brand: v.Brand.ID, Text: text, Version: version})
	out.Applied = err == nil
	return out, err
}

// policyGiven is a policy in the place of a version.
type policyGiven struct {
	Brand   record.BrandID `json:"brand"`
	Text    string         `json:"text"`
	Version int            `json:"version"` // in force when it was asked for
}

// policyGains is what a policy gives over the one in force.
func (d *Desk) policyGains(ctx context.Context, p policyGiven) (lines []string, need change.Need, err error) {
	after, err := access.Load(p.Text)
	if err != nil {
		return nil, need, err
	}
	before, _, err := d.Door.Access.Current(ctx, p.Brand)
	if err != nil {
		return nil, need, err
	}
	names, err := d.purposes(ctx, p.Brand)
	if err != nil {
		return nil, need, err
	}
	for _, c := range access.Diff(before, after, names) {
		lines = append(lines, c.String())
		if c.Gained != 0 {
			need.Two = true
			need.Widens = need.Widens || access.Reads(c.Action)
		}
	}
	return lines, need, nil
}

func (d *Desk) policyNeeds(ctx context.Context, _ change.Order, p policyGiven) (change.Need, error) {
	_, need, err := d.policyGains(ctx, p)
	return need, err
}

func (d *Desk) policyText(ctx context.Context, _ change.Order, p policyGiven) (change.Text, error) {
	lines, _, err := d.policyGains(ctx, p)
	return change.Text{Title: fmt.Sprintf("Apply another policy in the place of version %d (sha256 %s)", p.Version, digest(p.Text)), Lines: lines}, err
}

func (d *Desk) policyFits(ctx context.Context, _ change.Order, p policyGiven) error {
	_, now, err := d.Door.Access.Current(ctx, p.Brand)
	if err == nil && now != p.Version {
		err = fmt.Errorf("%w: version %d of the policy is in force by now, and this was written for version %d", change.ErrChanged, now, p.Version)
	}
	return err
}

func (d *Desk) givePolicy(ctx context.Context, o change.Order, p policyGiven) (version int, err error) {
	policy, err := access.Load(p.Text)
	if err != nil {
		return 0, err
	}
	err = d.changeAs(ctx, o.Who, entry.KindPolicy, entry.PolicyActivated{SHA256: digest(p.Text)}, func(q db.Queryer, at time.Time) (err error) {
		version, err = d.Door.Access.Put(ctx, q, p.Brand, policy, o.Who.Principal, at)
		if err == nil && version != p.Version+1 {
			err = change.ErrChanged
		}
		return err
	})
	return version, err
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
	return &api.BudgetRules{Rules: string(r.Encode()), Version: budgetVersion(r)}, nil
}

// SetRules says how the loss bounds change under other budgets, and with apply set makes
// them those that hold, in the place of the version that the request names, or of those in
// force. No rules at all are refused: they are a lost file, not a wish. Where anybody gains,
// it takes a second person.
func (d *Desk) SetRules(ctx context.Context, c identity.Caller, brand string, in api.BudgetRules, apply bool) (*api.BudgetsSet, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err == nil && apply {
		err = d.Door.Present(ctx, c, "budget-set", brand, in)
	}
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
		if r, err = budget.ParseRules([]byte(in.Rules)); err != nil {
			return nil, err
		}
	}
	out := &api.BudgetsSet{Rules: string(r.Encode())}
	if out.Bounds, err = d.Exposure.Change(ctx, v, r, nil); err != nil || !apply {
		return out, err
	}
	if in.Version == "" {
		now, err := d.Ledger.Rules(ctx, v.Brand.ID)
		if err != nil {
			return nil, err
		}
		in.Version = budgetVersion(now)
	}
	_, err = d.acts.budgets.Do(ctx, v, "", budgetsGiven{Brand: v.Brand.ID, Rules: out.Rules, Version: in.Version})
	out.Applied = err == nil
	out.Version = budgetVersion(r)
	return out, err
}

// budgetVersion names a set of budgets: it is the same for the same set.
func budgetVersion(r *budget.Rules) string { return digest(string(r.Encode()))[:16] }

// budgetsGiven are budgets in the place of others.
type budgetsGiven struct {
	Brand   record.BrandID `json:"brand"`
	Rules   string         `json:"rules"`
	Version string         `json:"version"` // in force when it was asked for
}

func (d *Desk) budgetGains(ctx context.Context, p budgetsGiven) ([]budget.Gain, error) {
	after, err := budget.DecodeRules([]byte(p.Rules))
	if err != nil {
		return nil, err
	}
	before, err := d.Ledger.Rules(ctx, p.Brand)
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the database's clock: %w", err)
	}
	return budget.Gains(before, after, access.Roles(), budget.DateOf(now)), nil
}

func (d *Desk) budgetsNeed(ctx context.Context, _ change.Order, p budgetsGiven) (change.Need, error) {
	gains, err := d.budgetGains(ctx, p)
	return change.Need{Two: len(gains) > 0, Widens: len(gains) > 0}, err
}

// maxGains bounds how many lines an officer reads of one change of budgets.
const maxGains = 50

func (d *Desk) budgetsText(ctx context.Context, _ change.Order, p budgetsGiven) (change.Text, error) {
	gains, err := d.budgetGains(ctx, p)
	t := change.Text{Title: fmt.Sprintf("Set other budgets: %d limits rise", len(gains))}
	for i, g := range gains {
		if i == maxGains {
			t.Lines = append(t.Lines, fmt.Sprintf("and %d more", len(gains)-i))
			break
		}
		t.Lines = append(t.Lines, g.String())
	}
	return t, err
}

func (d *Desk) budgetsFit(ctx context.Context, _ change.Order, p budgetsGiven) error {
	now, err := d.Ledger.Rules(ctx, p.Brand)
	if err == nil && budgetVersion(now) != p.Version {
		err = fmt.Errorf("%w: other budgets are in force by now", change.ErrChanged)
	}
	return err
}

func (d *Desk) giveBudgets(ctx context.Context, o change.Order, p budgetsGiven) (bool, error) {
	parts := budget.Cut(p.Rules)
	if parts == nil {
		_, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: o.Who, Detail: entry.BudgetRules{Rules: p.Rules}})
		return err == nil, err
	}
	for _, x := range parts {
		_, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: o.Who, Detail: x})
		if err != nil {
			return false, err
		}
	}
	// Parts that somebody else wrote between these put neither into force, or theirs.
	now, err := d.Ledger.Rules(ctx, p.Brand)
	if err == nil && string(now.Encode()) != p.Rules {
		err = fmt.Errorf("%w: somebody else set budgets at the same moment", change.ErrChanged)
	}
	return err == nil, err
}

// purposeGiven is a purpose that is not registered yet.
type purposeGiven struct {
	Brand       record.BrandID `json:"brand"`
	Name        string         `json:"name"`
	LegalBasis  string         `json:"legal_basis"`
	Description string         `json:"description"`
}

// purposeGains is what roles may do for a purpose once it is registered: rules of the
// policy may name it already.
func (d *Desk) purposeGains(ctx context.Context, p purposeGiven) (lines []string, need change.Need, err error) {
	policy, _, err := d.Door.Access.Current(ctx, p.Brand)
	if err != nil {
		return nil, need, err
	}
	for _, c := range policy.For(p.Name) {
		need.Two = true
		need.Widens = need.Widens || access.Reads(c.Action)
		lines = append(lines, c.String())
	}
	return lines, need, nil
}

func (d *Desk) purposeNeeds(ctx context.Context, _ change.Order, p purposeGiven) (change.Need, error) {
	_, need, err := d.purposeGains(ctx, p)
	return need, err
}

func (d *Desk) purposeText(ctx context.Context, _ change.Order, p purposeGiven) (change.Text, error) {
	lines, _, err := d.purposeGains(ctx, p)
	return change.Text{Title: "Register the purpose " + p.Name, Lines: lines}, err
}

func (d *Desk) givePurpose(ctx context.Context, o change.Order, p purposeGiven) (bool, error) {
	detail := entry.PurposeCreated{Purpose: p.Name, LegalBasis: p.LegalBasis}
	err := d.changeAs(ctx, o.Who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) error {
		return d.Door.Brands.AddPurpose(ctx, q, p.Brand, brands.Purpose{Name: p.Name, LegalBasis: p.LegalBasis, Description: p.Description}, at)
	})
	return err == nil, err
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
