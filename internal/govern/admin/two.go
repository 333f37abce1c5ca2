package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// acts are the acts of administration that may need a second person.
type acts struct {
	role      *change.Handle[roleGiven, *api.Principal]
	principal *change.Handle[newPrincipal, *api.Principal]
	key       *change.Handle[keyGiven, *api.Credential]
	invite    *change.Handle[invited, *api.Invitations]
	policy    *change.Handle[policyGiven, int]
	budgets   *change.Handle[budgetsGiven, bool]
	purpose   *change.Handle[purposeGiven, bool]
	settings  *change.Handle[settingsGiven, int]
}

// Register registers the acts of administration that may need a second person.
func (d *Desk) Register(c *change.Desk) {
	d.people = c
	d.acts = acts{
		role: change.Register(c, change.Act[roleGiven, *api.Principal]{
			Name: "role-set", Action: access.ActAdminister,
			Need: d.roleNeeds, Text: d.roleText, Check: d.roleFits, Apply: d.giveRole,
			Brands: func(p roleGiven) []record.BrandID { return []record.BrandID{p.Brand} },
		}),
		policy: change.Register(c, change.Act[policyGiven, int]{
			Name: "policy-apply", Action: access.ActAdminister,
			Need: d.policyNeeds, Text: d.policyText, Check: d.policyFits, Apply: d.givePolicy,
		}),
		budgets: change.Register(c, change.Act[budgetsGiven, bool]{
			Name: "budget-set", Action: access.ActAdminister,
			Need: d.budgetsNeed, Text: d.budgetsText, Check: d.budgetsFit, Apply: d.giveBudgets,
		}),
		purpose: change.Register(c, change.Act[purposeGiven, bool]{
			Name: "purpose-create", Action: access.ActAdminister,
			Need: d.purposeNeeds, Text: d.purposeText, Apply: d.givePurpose,
		}),
		principal: change.Register(c, change.Act[newPrincipal, *api.Principal]{
			Name: "principal-create", Action: access.ActAdminister,
			Need: d.newNeeds, Text: d.newText, Check: d.newFits, Apply: d.createPrincipal,
			Brands: func(p newPrincipal) []record.BrandID { return slices.Collect(maps.Keys(p.Roles)) },
		}),
		key: change.Register(c, change.Act[keyGiven, *api.Credential]{
			Name: "credential-create", Action: access.ActAdminister,
			Need: d.keyNeeds, Text: d.keyText, Apply: d.giveKey, Answers: true,
		}),
		invite: change.Register(c, change.Act[invited, *api.Invitations]{
			Name: "principal-invite", Action: access.ActAdminister,
			Need: d.inviteNeeds, Text: d.inviteText, Check: d.inviteFits, Apply: d.invite, Answers: true,
			Brands: func(p invited) []record.BrandID { return slices.Collect(maps.Keys(p.Roles)) },
		}),
		settings: change.Register(c, change.Act[settingsGiven, int]{
			Name: "settings-set", Action: access.ActAdminister,
			Need: d.settingsNeed, Text: d.settingsText, Check: d.settingsFit, Apply: d.giveSettings,
		}),
	}
}

// gained adds up what an act gives to whom.
type gained struct {
	need  change.Need
	lines []string
}

// add notes a gain, at a brand by name.
func (g *gained) add(brand string, list []access.Change) {
	for _, c := range list {
		if !access.Guarded(c.Action) || c.Gained == 0 {
			continue
		}
		g.need.Two = true
		g.need.Widens = g.need.Widens || access.Reads(c.Action)
		g.lines = append(g.lines, "at "+brand+": "+gainLine(c))
	}
}

// gainLine says a gain in words.
func gainLine(c access.Change) string {
	s := "role " + c.Role
	if c.Principal != 0 {
		s = fmt.Sprintf("principal %d as %s", c.Principal, c.Role)
	}
	s += " may " + string(c.Action)
	if c.Gained != record.AllFields {
		s += " " + c.Gained.String()
	}
	if c.Purpose != "" {
		s += " for " + c.Purpose
	}
	return s
}

// reach returns the brands at which a role at a brand counts: it, or for the group also
// every brand.
func (d *Desk) reach(ctx context.Context, brand record.BrandID) ([]brands.Brand, error) {
	b, err := d.Door.Brands.Get(ctx, brand)
	if err != nil || brand != record.Group {
		return []brands.Brand{b}, err
	}
	every, err := d.Door.Brands.List(ctx)
	return append([]brands.Brand{b}, every...), err
}

// purposes are those of a brand, and the empty one of actions on the brand.
func (d *Desk) purposes(ctx context.Context, brand record.BrandID) ([]string, error) {
	list, err := d.Door.Brands.Purposes(ctx, brand)
	names := []string{""}
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names, err
}

// gainsOfRole adds what a principal gains by a role at a brand, over the one it has.
func (d *Desk) gainsOfRole(ctx context.Context, g *gained, principal uint64, had func(record.BrandID) string, brand record.BrandID, role string) error {
	at, err := d.reach(ctx, brand)
	if err != nil {
		return err
	}
	for _, b := range at {
		p, _, err := d.Door.Access.Current(ctx, b.ID)
		if errors.Is(err, access.ErrNoPolicy) {
			continue
		}
		if err != nil {
			return err
		}
		names, err := d.purposes(ctx, b.ID)
		if err != nil {
			return err
		}
		g.add(b.Name, p.Gains(principal, had(b.ID), role, names))
	}
	return nil
}

// roleGiven is a principal's role at a brand, where it had another or none.
type roleGiven struct {
	Principal uint64         `json:"principal"`
	Brand     record.BrandID `json:"brand"`
	Role      string         `json:"role"`
	Was       string         `json:"was"`
}

func (d *Desk) roleGains(ctx context.Context, p roleGiven) (g gained, err error) {
	roles, err := d.Door.Identity.Roles(ctx, p.Principal)
	if err != nil {
		return g, err
	}
	had := func(b record.BrandID) string { // the role that counts there now
		role := ""
		for _, r := range roles {
			if r.Brand == b {
				return r.Role
			}
			if r.Brand == record.Group {
				role = r.Role
			}
		}
		return role
	}
	role := p.Role
	if role == "" { // what is left without the role is the group's, perhaps a wider one
		for _, r := range roles {
			if r.Brand == record.Group && p.Brand != record.Group {
				role = r.Role
			}
		}
	}
	return g, d.gainsOfRole(ctx, &g, p.Principal, had, p.Brand, role)
}

func (d *Desk) roleNeeds(ctx context.Context, _ change.Order, p roleGiven) (change.Need, error) {
	g, err := d.roleGains(ctx, p)
	if err != nil {
		return g.need, err
	}
	last, err := d.lastContainer(ctx, p)
	g.need.Two = g.need.Two || last
	return g.need, err
}

// lastContainer reports whether nobody could contain a group administrator after a change of
// a role: the last person at the group who may contain would lose that.
func (d *Desk) lastContainer(ctx context.Context, p roleGiven) (bool, error) {
	if p.Brand != record.Group || p.Was == "" {
		return false, nil
	}
	policy, _, err := d.Door.Access.Current(ctx, record.Group)
	if err != nil {
		return false, err
	}
	contains := func(id uint64, role string) bool {
		who := identity.Who{Caller: identity.Caller{Principal: id}, Role: role, Brand: record.Group}
		_, err := policy.Authorize(who, access.ActContain, "", 0)
		return err == nil
	}
	if !contains(p.Principal, p.Was) || p.Role != "" && contains(p.Principal, p.Role) {
		return false, nil
	}
	left := false
	err = d.Door.Identity.People(ctx, record.Group, func(id uint64, role string) error {
		left = left || id != p.Principal && contains(id, role)
		return nil
	})
	return !left, err
}

func (d *Desk) roleText(ctx context.Context, _ change.Order, p roleGiven) (change.Text, error) {
	who, err := d.Door.Identity.Get(ctx, p.Principal)
	if err != nil {
		return change.Text{}, err
	}
	b, err := d.Door.Brands.Get(ctx, p.Brand)
	if err != nil {
		return change.Text{}, err
	}
	g, err := d.roleGains(ctx, p)
	t := change.Text{Title: fmt.Sprintf("Give %s (%s) the role %s at %s", who.Name, who.Kind, p.Role, b.Name), Lines: g.lines}
	if p.Role == "" {
		t.Title = fmt.Sprintf("Take the role %s at %s from %s (%s)", p.Was, b.Name, who.Name, who.Kind)
	}
	if p.Was != "" && p.Role != "" {
		t.Title += ", in the place of " + p.Was
	}
	if last, lerr := d.lastContainer(ctx, p); lerr == nil && last {
		t.Lines = append(t.Lines, "after this, nobody can contain an administrator of the group")
	}
	return t, err
}

// roleFits refuses a role where the principal's role is not the one any more that the
// request was made for.
func (d *Desk) roleFits(ctx context.Context, _ change.Order, p roleGiven) error {
	is, err := d.roleAt(ctx, p.Principal, p.Brand)
	if err == nil && is != p.Was {
		err = fmt.Errorf("%w: the principal has another role there by now", change.ErrChanged)
	}
	return err
}

func (d *Desk) roleAt(ctx context.Context, principal uint64, brand record.BrandID) (string, error) {
	roles, err := d.Door.Identity.Roles(ctx, principal)
	if err != nil {
		return "", err
	}
	for _, r := range roles {
		if r.Brand == brand {
			return r.Role, nil
		}
	}
	return "", nil
}

func (d *Desk) giveRole(ctx context.Context, o change.Order, p roleGiven) (*api.Principal, error) {
	who, err := d.Door.Identity.Get(ctx, p.Principal)
	if err != nil {
		return nil, err
	}
	b, err := d.Door.Brands.Get(ctx, p.Brand)
	if err != nil {
		return nil, err
	}
	was := ledger.Stop{Cause: "role-taken", Kind: ledger.StopRoleOf, Target: p.Principal, Role: p.Was}
	if p.Was != "" && p.Was != p.Role {
		d.Changes.Stop(ctx, o.Who, "", p.Brand, was)
	}
	detail := entry.RoleSet{Principal: who.Name, Brand: b.Name, Role: p.Role}
	err = d.changeAs(ctx, o.Who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) error {
		if p.Role == "" {
			return d.Door.Identity.RemoveRole(ctx, q, p.Principal, p.Brand)
		}
		return d.Door.Identity.SetRole(ctx, q, p.Principal, p.Brand, p.Role, at)
	})
	switch {
	case change.Unstored(err) && p.Was != "" && p.Was != p.Role:
		return nil, fmt.Errorf("%w: %w", change.ErrStoppedOnly, err)
	case err != nil:
		if p.Was != "" && p.Was != p.Role { // refused: the role stays
			was.Over = true
			d.Changes.Stop(ctx, o.Who, "", p.Brand, was)
		}
		return nil, err
	case p.Role != "":
		d.Changes.Stop(ctx, o.Who, "", p.Brand, ledger.Stop{Cause: "role-taken", Kind: ledger.StopRoleOf, Target: p.Principal, Role: p.Role, Over: true})
	}
	return d.principal(ctx, who.Name)
}

// setRole asks for a role at a brand, or with an empty one takes it.
func (d *Desk) setRole(ctx context.Context, v *door.Visit, principal uint64, brand record.BrandID, role string) (*api.Principal, error) {
	was, err := d.roleAt(ctx, principal, brand)
	if err != nil {
		return nil, err
	}
	// The phase is looked at before anybody is taken away who ends it.
	if _, err := d.people.Alone(ctx); err != nil {
		return nil, err
	}
	return d.acts.role.Do(ctx, v, "", roleGiven{Principal: principal, Brand: brand, Role: role, Was: was})
}

// newPrincipal is a principal who is not registered yet.
type newPrincipal struct {
	Name    string                    `json:"name"`
	Kind    string                    `json:"kind"`
	Roles   map[record.BrandID]string `json:"roles"`
	Country string                    `json:"country"`
	Entity  string                    `json:"entity"`
	Owner   string                    `json:"owner"`
	Profile identity.Profile          `json:"profile"`
}

func (d *Desk) newNeeds(ctx context.Context, _ change.Order, p newPrincipal) (change.Need, error) {
	g, err := d.newGains(ctx, p.Roles)
	return g.need, err
}

func (d *Desk) newText(ctx context.Context, _ change.Order, p newPrincipal) (change.Text, error) {
	g, err := d.newGains(ctx, p.Roles)
	t := change.Text{Title: fmt.Sprintf("Register %s (%s)", p.Name, p.Kind), Lines: g.lines}
	if p.Owner != "" {
		t.Title += ", whose keys " + p.Owner + " holds"
	}
	return t, err
}

func (d *Desk) newFits(ctx context.Context, _ change.Order, p newPrincipal) error {
	if p.Owner != "" {
		if _, err := d.ownerOf(ctx, p); err != nil {
			return err
		}
	}
	_, err := d.Door.Identity.ByName(ctx, p.Name)
	switch {
	case errors.Is(err, identity.ErrNoPrincipal):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s: %w", p.Name, identity.ErrExists)
}

// ownerOf returns the person who holds the keys of a new service.
func (d *Desk) ownerOf(ctx context.Context, p newPrincipal) (identity.Principal, error) {
	who, err := d.Door.Identity.ByName(ctx, p.Owner)
	if err == nil && (p.Kind != identity.Service || who.Kind != identity.Person || !who.Disabled.IsZero()) {
		err = fmt.Errorf("%w: the owner is a person, of a service", ErrRequest)
	}
	return who, err
}

func (d *Desk) createPrincipal(ctx context.Context, o change.Order, p newPrincipal) (*api.Principal, error) {
	roles := map[string]string{}
	for id, role := range p.Roles {
		b, err := d.Door.Brands.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		roles[b.Name] = role
	}
	detail := entry.PrincipalCreated{Principal: p.Name, Roles: roles, Profile: logged(p.Profile)}
	err := d.changeAs(ctx, o.Who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) error {
		id, err := d.Door.Identity.CreatePrincipal(ctx, q, p.Name, p.Kind, at)
		for b, role := range p.Roles {
			if err == nil {
				err = d.Door.Identity.FirstRole(ctx, q, id, b, role, at)
			}
		}
		if err == nil && p.Country+p.Entity != "" {
			err = d.Door.Identity.SetParty(ctx, q, id, p.Country, p.Entity)
		}
		if err == nil && !p.Profile.Empty() {
			err = d.Door.Identity.SetProfile(ctx, q, id, p.Profile)
		}
		if err == nil && p.Owner != "" {
			owner, oerr := d.ownerOf(ctx, p)
			if err = oerr; err == nil {
				err = d.Door.Identity.SetOwner(ctx, q, id, owner.ID)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.principal(ctx, p.Name)
}
