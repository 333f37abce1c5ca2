// Package admin administers: brands, principals, credentials, purposes, policies and
// budgets. It shows nothing of any customer.
//
// Each change is an entry of the log of the brand that it concerns, or of the
// group's, before it is made.
package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
)

// ErrRequest is joined to errors that the request itself is to blame for.
var ErrRequest = fault.New(fault.Invalid, "invalid request")

// Desk administers.
type Desk struct {
	DB      *db.DB
	Ring    *keys.Ring
	Door    *door.Door
	Ledger  *ledger.Ledger
	Changes *change.Maker
	// Exposure says how the loss bounds change with what is administered.
	Exposure *exposure.Desk
	// Signer makes the signer of a new brand's log from the seed that its keys hold.
	Signer func(brand string, seed []byte) (note.Signer, error)

	// Mail sends invitations. Nil: their codes are shown to the person who approves.
	Mail Mailer

	people *change.Desk // set with the acts, by Register
	acts   acts
}

// Begin makes what a brand's log needs: keys, and the log, empty. The group's own is begun
// the same way. The first entry of the log is [Desk.Equip]'s.
func (d *Desk) Begin(ctx context.Context, q db.Queryer, b brands.Brand, at time.Time) error {
	if err := d.Ring.Create(ctx, q, b.ID, at); err != nil {
		return err
	}
	seed, err := d.Ring.CurrentIn(ctx, q, b.ID, keys.Log)
	if err != nil {
		return err
	}
	signer, err := d.Signer(b.Name, seed.Bytes())
	if err != nil {
		return err
	}
	return ledger.Create(ctx, q, b.ID, signer, at)
}

// BeginLocal makes the local administrator with its entry: see identity.Store.Begin.
func (d *Desk) BeginLocal(ctx context.Context, role string, fn func(q db.Queryer, at time.Time) error) error {
	detail := entry.PrincipalCreated{Principal: identity.LocalAdministrator, Roles: map[string]string{brands.GroupName: role}}
	_, _, err := d.Ledger.Change(revision.Unbound(ctx), ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: record.Group}, Detail: detail}, fn)
	return err
}

// errEquipped ends the equipping of a brand that has what it needs.
var errEquipped = fault.New(fault.Conflict, "the brand is equipped already")

// Equip gives a brand whose log is empty the default policy, and one with customers its
// default purposes and budgets. Its entry is the first of the log.
func (d *Desk) Equip(ctx context.Context, who identity.Who, b brands.Brand) error {
	p, err := access.Load(access.DefaultText())
	if err != nil {
		return err
	}
	who.Brand = b.ID
	ev := ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: entry.BrandCreated{Brand: b.Name}}
	if b.ID != record.Group {
		ev.Kind, ev.Detail = entry.KindBudget, entry.BudgetRules{Rules: string(budget.DefaultRules().Encode())}
	}
	_, _, err = d.Ledger.Change(ctx, ev, func(q db.Queryer, at time.Time) error {
		if size, err := d.Ledger.SizeIn(ctx, q, b.ID); err != nil || size > 0 {
			return cmp.Or(err, errEquipped)
		}
		if n, err := d.Door.Access.Put(ctx, q, b.ID, p, who.Principal, at); err != nil || n > 1 {
			return cmp.Or(err, errEquipped) // by an earlier release
		}
		if b.ID == record.Group {
			return nil
		}
		for _, p := range brands.DefaultPurposes() {
			if err := d.Door.Brands.AddPurpose(ctx, q, b.ID, p, at); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errEquipped) {
		return nil
	}
	return err
}

// Finish equips brands whose making was cut short.
func (d *Desk) Finish(ctx context.Context) error {
	sizes, err := d.Ledger.Sizes(ctx)
	if err != nil {
		return err
	}
	for id, size := range sizes {
		if size > 0 {
			continue
		}
		b, err := d.Door.Brands.Get(ctx, id)
		if err == nil {
			err = d.Equip(ctx, identity.Who{}, b)
		}
		if err != nil {
			return fmt.Errorf("finishing the brand %d: %w", id, err)
		}
	}
	return nil
}

// change logs a change and makes it. After it, no server logs anything that was
// allowed before it: at the visit's brand, or after a change of the group's at any.
func (d *Desk) change(ctx context.Context, v *door.Visit, kind entry.Kind, detail entry.Detail, fn func(q db.Queryer, at time.Time) error) error {
	return d.changeAs(ctx, v.Who, kind, detail, fn)
}

func (d *Desk) changeAs(ctx context.Context, who identity.Who, kind entry.Kind, detail entry.Detail, fn func(q db.Queryer, at time.Time) error) error {
	moved, err := d.Changes.Make(ctx, ledger.Event{Kind: kind, Who: who, Detail: detail}, fn)
	if err != nil || !moved {
		return err
	}
	if err := d.Changes.Pass(ctx, who.Brand, 0); err != nil {
		return fmt.Errorf("the change is in force, but requests in flight may still be answered for %s: %w", ledger.DefaultTimeout, err)
	}
	return nil
}

// CreateBrand registers a brand, with the default policy, purposes and budgets.
func (d *Desk) CreateBrand(ctx context.Context, c identity.Caller, req api.Brand) (*api.Brand, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if !brands.ValidName(req.Name) {
		return nil, brands.ErrName
	}
	if err := ledger.CheckText("title", req.Title); err != nil {
		return nil, err
	}
	var b brands.Brand
	err = d.change(ctx, v, entry.KindAdministration, entry.BrandCreated{Brand: req.Name}, func(q db.Queryer, at time.Time) (err error) {
		if b, err = d.Door.Brands.Create(ctx, q, req.Name, req.Title, at); err != nil {
			return err
		}
		return d.Begin(ctx, q, b, at)
	})
	if err != nil {
		return nil, err
	}
	if err := d.Equip(revision.Unbound(ctx), v.Who, b); err != nil {
		return nil, fmt.Errorf("the brand is there, and its policy and budgets are not, so that nothing leaves it; a server that starts completes it: %w", err)
	}
	return brandOf(b), nil
}

func brandOf(b brands.Brand) *api.Brand {
	return &api.Brand{Name: b.Name, Title: b.Title, Created: b.Created}
}

// Brands lists the brands at which the caller has a role.
func (d *Desk) Brands(ctx context.Context, c identity.Caller) ([]api.Brand, error) {
	list, err := d.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Brand{}
	for _, b := range list {
		_, err := d.Door.Identity.Who(ctx, c, b.ID)
		if errors.Is(err, identity.ErrNoRole) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *brandOf(b))
	}
	return out, nil
}

// CreatePrincipal registers a principal with its roles.
func (d *Desk) CreatePrincipal(ctx context.Context, c identity.Caller, req api.Principal) (*api.Principal, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("entity", req.Entity); err != nil {
		return nil, err
	}
	profile, err := profileOf(req.Profile)
	if err != nil {
		return nil, err
	}
	in := newPrincipal{Profile: profile, Name: req.Name, Kind: req.Kind, Country: req.Country, Entity: req.Entity, Owner: req.Owner, Roles: map[record.BrandID]string{}}
	for brand, role := range req.Roles {
		b, err := d.Door.Brands.ByName(ctx, brand)
		if err != nil {
			return nil, err
		}
		if err := knownRole(role); err != nil {
			return nil, err
		}
		in.Roles[b.ID] = role
	}
	return d.acts.principal.Do(ctx, v, "", in)
}

func knownRole(role string) error {
	if !slices.Contains(access.Roles(), role) {
		return fmt.Errorf("%w: no such role: use %v", ErrRequest, access.Roles())
	}
	return nil
}

func (d *Desk) principal(ctx context.Context, name string) (*api.Principal, error) {
	return d.among(ctx, name, map[uint64]string{0: ""})
}

// among is principal for one of a list, in which many were made by the same few: names has
// those that were read.
func (d *Desk) among(ctx context.Context, name string, names map[uint64]string) (*api.Principal, error) {
	p, err := d.Door.Identity.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	out := &api.Principal{Name: p.Name, Kind: p.Kind, ID: p.ID, Country: p.Country, Entity: p.Entity, Disabled: p.Disabled}
	profile, err := d.Door.Identity.Profile(ctx, p.ID)
	if err != nil && !errors.Is(err, rights.ErrVoid) { // one that nobody logged is shown to nobody
		return nil, err
	}
	if err == nil {
		out.Profile = shownProfile(profile)
	}
	if out.Roles, err = d.roles(ctx, p.ID); err != nil {
		return nil, err
	}
	creds, err := d.Door.Identity.Credentials(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	names[p.ID] = p.Name
	for _, c := range creds {
		if _, ok := names[c.MadeBy]; !ok {
			by, err := d.Door.Identity.Get(ctx, c.MadeBy)
			if err != nil && !errors.Is(err, identity.ErrNoPrincipal) && !errors.Is(err, rights.ErrVoid) {
				return nil, err
			}
			names[c.MadeBy] = cmp.Or(by.Name, fmt.Sprintf("principal %d", c.MadeBy))
		}
		out.Credentials = append(out.Credentials, api.Credential{
			ID: c.ID, Lineage: c.Lineage, Kind: string(c.Kind), Label: c.Label, Export: c.Export, Created: c.Created, Expires: c.Expires, Revoked: c.Revoked, MadeBy: names[c.MadeBy],
		})
	}
	return out, nil
}

// roles returns a principal's roles, by the name of the brand.
func (d *Desk) roles(ctx context.Context, principal uint64) (map[string]string, error) {
	list, err := d.Door.Identity.Roles(ctx, principal)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range list {
		b, err := d.Door.Brands.Get(ctx, r.Brand)
		if err != nil {
			return nil, err
		}
		out[b.Name] = r.Role
	}
	return out, nil
}

// maxPrincipals bounds one listing.
const maxPrincipals = 1000

// Principals lists principals after a number, with roles and credentials.
func (d *Desk) Principals(ctx context.Context, c identity.Caller, after uint64) ([]api.Principal, error) {
	if _, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister); err != nil {
		return nil, err
	}
	list, err := d.Door.Identity.List(ctx, after, maxPrincipals)
	if err != nil {
		return nil, err
	}
	out, names := []api.Principal{}, map[uint64]string{0: ""}
	for _, p := range list {
		full, err := d.among(ctx, p.Name, names)
		if err != nil {
			return nil, err
		}
		out = append(out, *full)
	}
	return out, nil
}

// SetRole gives a principal its role at a brand; an empty role takes it.
func (d *Desk) SetRole(ctx context.Context, c identity.Caller, name, brand, role string) (*api.Principal, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	b, err := d.Door.Brands.ByName(ctx, brand)
	if err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	if role != "" {
		if err := knownRole(role); err != nil {
			return nil, err
		}
	}
	if p.ID == v.Who.Principal && b.ID == record.Group && role != v.Who.Role {
		return nil, fmt.Errorf("%w: you would take your own right to administer: let another administrator do it", ErrRequest)
	}
	return d.setRole(ctx, v, p.ID, b.ID, role)
}

// ConnectApp makes a credential through the caller's own: a session, or an application
// that the caller lets act for it. It is of the caller's lineage: it shares its budgets,
// is revoked with it, and ends with the caller's own at the latest.
func (d *Desk) ConnectApp(ctx context.Context, c identity.Caller, req api.CredentialRequest) (*api.Credential, error) {
	p, err := d.Door.Identity.Get(ctx, c.Principal)
	if err != nil {
		return nil, err
	}
	who := identity.Who{Caller: c, Brand: record.Group}
	if stopped, err := d.Door.Stopped(ctx, c); err != nil {
		return nil, err
	} else if stopped {
		return nil, containment.ErrContained
	}
	out, err := d.credential(ctx, who, p, c.Credential, req, entry.CredentialConnected{Principal: p.Name})
	if err != nil {
		return nil, err
	}
	out.Lineage = c.Lineage
	return out, nil
}

func (d *Desk) credential(ctx context.Context, who identity.Who, p identity.Principal, parent uint64, req api.CredentialRequest, detail entry.Detail) (*api.Credential, error) {
	if err := ledger.CheckText("label", req.Label); err != nil {
		return nil, err
	}
	var valid time.Duration
	var err error
	if req.ValidFor != "" {
		if valid, err = time.ParseDuration(req.ValidFor); err != nil || valid <= 0 {
			return nil, fmt.Errorf("%w: valid_for is a length of time such as 720h", ErrRequest)
		}
	}
	out := &api.Credential{Label: req.Label}
	err = d.changeAs(ctx, who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) error {
		out.Created, out.Expires = at, time.Time{}
		if valid > 0 {
			out.Expires = at.Add(valid)
		}
		if parent != 0 {
			latest, err := d.Door.Identity.Latest(ctx, q, parent)
			if err != nil {
				return err
			}
			out.Expires = identity.Earlier(out.Expires, latest)
		}
		id, key, err := d.Door.Identity.CreateCredential(ctx, q, p.ID, parent, req.Label, out.Expires, at)
		if err == nil {
			err = d.Door.Identity.SetMaker(ctx, q, id, who.Principal)
		}
		out.ID, out.Lineage, out.Key = id, id, key.Reveal()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Revoke ends a lineage of credentials.
func (d *Desk) Revoke(ctx context.Context, c identity.Caller, lineage uint64) (int, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return 0, err
	}
	if ids, err := d.Door.Identity.Through(ctx, lineage); err == nil && len(ids) > 0 {
		d.Changes.Stop(ctx, v.Who, "", record.Group, ledger.Stop{Cause: "revoked", Kind: ledger.StopLineage, Target: lineage})
	}
	n := 0
	detail := entry.CredentialRevoked{Lineage: lineage}
	err = d.change(ctx, v, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) (err error) {
		n, err = d.Door.Identity.Revoke(ctx, q, lineage, at)
		return err
	})
	switch {
	case err == nil && n == 0:
		err = identity.ErrNoLineage // a wrong number must not look like a thief stopped
	case change.Unstored(err):
		err = fmt.Errorf("%w: %w", change.ErrStoppedOnly, err)
	}
	return n, err
}

// RevokeCredential ends one credential and all made through it, on every server, and
// returns how many those were. A caller may end their own and those made through it;
// every other one needs the right to administer.
func (d *Desk) RevokeCredential(ctx context.Context, c identity.Caller, credential uint64) (int, error) {
	own, err := d.Door.Identity.Made(ctx, credential, c.Credential)
	if err != nil {
		return 0, err
	}
	who := identity.Who{Caller: c, Brand: record.Group}
	if !own {
		v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
		if errors.Is(err, brands.ErrNoBrand) { // no role at the group: as for an unknown credential
			err = identity.ErrNoCredential
		}
		if err != nil {
			return 0, err
		}
		who = v.Who
	} else if stopped, err := d.Door.Stopped(ctx, c); err != nil {
		return 0, err
	} else if stopped {
		return 0, containment.ErrContained
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return 0, err
	}
	may := func(q db.Queryer, at time.Time) error {
		if !own {
			return nil
		}
		return d.Door.Identity.MayRevoke(ctx, q, c.Lineage, at)
	}
	// Checked before the entry is written: the entry stays where the change fails.
	switch err := d.Door.Identity.Live(ctx, credential); {
	case errors.Is(err, identity.ErrRevoked):
		return 0, identity.ErrNoCredential
	case err != nil && !errors.Is(err, identity.ErrDisabled):
		return 0, err
	}
	if err := may(d.DB, now); err != nil {
		return 0, err
	}
	through, err := d.Door.Identity.Through(ctx, credential)
	if err != nil {
		return 0, err
	}
	for _, id := range through {
		d.Changes.Stop(ctx, who, "", record.Group, ledger.Stop{Cause: "revoked", Kind: ledger.StopCredential, Target: id})
	}
	n := 0
	detail := entry.CredentialRevoked{Credential: credential}
	err = d.changeAs(ctx, who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) (err error) {
		if err = may(q, at); err == nil {
			n, err = d.Door.Identity.RevokeOne(ctx, q, credential, at)
		}
		return err
	})
	if change.Unstored(err) {
		err = fmt.Errorf("%w: %w", change.ErrStoppedOnly, err)
	}
	return n, err
}

// AddPurpose registers a purpose at a brand.
func (d *Desk) AddPurpose(ctx context.Context, c identity.Caller, brand string, req api.Purpose) error {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return err
	}
	if !brands.ValidName(req.Name) {
		return brands.ErrName
	}
	if err := ledger.CheckText("description", req.Description); err != nil {
		return err
	}
	_, err = d.acts.purpose.Do(ctx, v, "", purposeGiven{Brand: v.Brand.ID, Name: req.Name, LegalBasis: req.LegalBasis, Description: req.Description})
	return err
}

// RetirePurpose ends a purpose at a brand.
func (d *Desk) RetirePurpose(ctx context.Context, c identity.Caller, brand, name string) error {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return err
	}
	if _, err := d.Door.Brands.Purpose(ctx, v.Brand.ID, name); err != nil {
		return err
	}
	return d.change(ctx, v, entry.KindAdministration, entry.PurposeRetired{Purpose: name}, func(q db.Queryer, at time.Time) error {
		return d.Door.Brands.RetirePurpose(ctx, q, v.Brand.ID, name, at)
	})
}

// Purposes lists a brand's purposes, to anybody with a role there.
func (d *Desk) Purposes(ctx context.Context, c identity.Caller, brand string) ([]api.Purpose, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	list, err := d.Door.Brands.Purposes(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := []api.Purpose{}
	for _, p := range list {
		out = append(out, api.Purpose{Name: p.Name, LegalBasis: p.LegalBasis, Description: p.Description, Created: p.Created, Retired: p.Retired})
	}
	return out, nil
}

func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
