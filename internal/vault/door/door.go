// Package door is the door of a brand: it says which role a caller has there, and
// asks the brand's policy. What it turns away is in the brand's log.
package door

import (
	"context"
	"errors"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrTicket is returned for a ticket that cannot stand in the log.
var ErrTicket = fault.New(fault.Invalid, "a ticket is a case number of up to 64 letters, digits, dots, hyphens and underscores: no name or address")

// Ticket refuses a ticket that cannot stand in the log. Whatever acts on a request with a
// ticket calls it first.
func Ticket(ticket string) error {
	if !entry.ValidTicket(ticket) {
		return ErrTicket
	}
	return ledger.CheckText("ticket", ticket)
}

// Ticket refuses a ticket that does not fit the brand's pattern. Requests that disclose,
// write, export or erase call it; what stops somebody or tells of an alarm does not: in a
// hurry, a ticket of another kind is better than none.
func (v *Visit) Ticket(ticket string) error { return v.Brand.Ticket(ticket) }

// Door lets callers in.
type Door struct {
	Brands   *brands.Store
	Identity *identity.Store
	Access   *access.Store
	Ledger   *ledger.Ledger
	// Contained tells what was stopped.
	Contained *containment.Store
	// Revisions tells whether what somebody was refused by still holds.
	Revisions *revision.Tracker
	// Presence asks sessions for a passkey; nil: no session gets an act that wants one.
	Presence Presence
}

// Visit is a caller at one brand, under the policy that held when they came.
type Visit struct {
	Who    identity.Who
	Brand  brands.Brand
	Policy *access.Policy
	door   *Door
	stop   containment.Stop
}

// Enter returns a caller's visit to a brand. For a caller without a role there, the
// brand is as unknown as one that does not exist.
func (d *Door) Enter(ctx context.Context, c identity.Caller, brand string) (*Visit, error) {
	b, err := d.Brands.ByName(ctx, brand)
	if err != nil {
		return nil, err
	}
	who, err := d.Identity.Who(ctx, c, b.ID)
	if errors.Is(err, identity.ErrNoRole) {
		return nil, brands.ErrNoBrand
	}
	if err != nil {
		return nil, err
	}
	p, _, err := d.Access.Current(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	stop, err := d.Contained.Of(ctx, who)
	if err != nil {
		return nil, err
	}
	v := &Visit{who, b, p, d, stop}
	if stop.All {
		v.Refuse(ctx, "contained")
		return nil, containment.Refused(b.Name)
	}
	return v, nil
}

// Admit is Enter for a request whose whole right is one action on no customer's fields.
// Without that right there is no visit.
func (d *Door) Admit(ctx context.Context, c identity.Caller, brand string, action access.Action) (*Visit, error) {
	v, err := d.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if _, err := v.Authorize(ctx, action, "", 0); err != nil {
		return nil, err
	}
	return v, nil
}

// AdmitEither is Admit for a request that either of two actions is enough for. A refusal
// names the first.
func (d *Door) AdmitEither(ctx context.Context, c identity.Caller, brand string, action, or access.Action) (*Visit, error) {
	v, err := d.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if _, err := v.Policy.Authorize(v.Who, or, "", 0); err == nil {
		action = or
	}
	if _, err := v.Authorize(ctx, action, "", 0); err != nil {
		return nil, err
	}
	return v, nil
}

// Stopped reports whether a caller is stopped by the group, or wherever they have a role.
func (d *Door) Stopped(ctx context.Context, c identity.Caller) (bool, error) {
	who := identity.Who{Caller: c, Brand: record.Group}
	stop, err := d.Contained.Of(ctx, who)
	if err != nil || stop.All {
		return true, err
	}
	roles, err := d.Identity.Roles(ctx, c.Principal)
	if err != nil {
		return true, err
	}
	for _, r := range roles {
		who.Brand, who.Role = r.Brand, r.Role
		if stop, err = d.Contained.Of(ctx, who); err != nil || !stop.All {
			return stop.All, err
		}
	}
	return len(roles) > 0, nil
}

// stopped refuses what a containment of the role, the brand or its files stops.
func (v *Visit) stopped(ctx context.Context, action access.Action, purpose string, fields record.FieldSet) error {
	files := action == access.ActExport || action == access.ActExtract || action == access.ActApprove
	clear := files || action == access.ActClear || action == access.ActSearch || action == access.ActMessage
	if v.stop.Clear && clear || v.stop.Files && files || v.stop.Masked && action == access.ActMasked ||
		v.stop.Writes && (action == access.ActWrite || action == access.ActErase) {
		v.refused(ctx, string(action), purpose, fields, "contained")
		return containment.Refused(v.Brand.Name)
	}
	return nil
}

// FilesStopped reports whether a containment lets no file of the brand leave, for anybody
// or for the caller's role.
func (v *Visit) FilesStopped() bool { return v.stop.Files || v.stop.Clear }

// Purpose checks that a purpose is registered at the brand.
func (v *Visit) Purpose(ctx context.Context, name string) error {
	_, err := v.door.Brands.Purpose(ctx, v.Brand.ID, name)
	if errors.Is(err, brands.ErrNoPurpose) {
		v.refused(ctx, "", "", 0, "unknown-purpose")
	}
	return err
}

// Authorize asks the policy for an action on all of the fields.
func (v *Visit) Authorize(ctx context.Context, action access.Action, purpose string, fields record.FieldSet) (access.Grant, error) {
	if err := v.stopped(ctx, action, purpose, fields); err != nil {
		return access.Grant{}, err
	}
	g, err := v.Policy.Authorize(v.Who, action, purpose, fields)
	v.note(ctx, err)
	return g, err
}

// View asks the policy for what may be shown masked.
func (v *Visit) View(ctx context.Context, purpose string, fields record.FieldSet) (access.Grant, error) {
	if err := v.stopped(ctx, access.ActMasked, purpose, fields); err != nil {
		return access.Grant{}, err
	}
	g, err := v.Policy.View(v.Who, purpose, fields)
	v.note(ctx, err)
	return g, err
}

func (v *Visit) note(ctx context.Context, err error) {
	var denied *access.DeniedError
	if errors.As(err, &denied) {
		denied.Brand = v.Brand.Name
		denied.May = v.Policy.RolesFor(denied.Action, denied.Purpose, denied.Fields)
		v.refused(ctx, string(denied.Action), denied.Purpose, denied.Fields, "policy-denied")
	}
}

func (v *Visit) refused(ctx context.Context, action, purpose string, fields record.FieldSet, reason string) {
	if v.door.Revisions.Moved(ctx) {
		return // the request starts over, and may be let in
	}
	if !entry.ValidTicket(purpose) {
		purpose = ""
	}
	v.door.Ledger.Refused(ctx, ledger.Refusal{Who: v.Who, Action: action, Purpose: purpose, Fields: fields, Reason: reason})
}

// Refuse logs that the caller was turned away for another reason than the policy.
func (v *Visit) Refuse(ctx context.Context, reason string) { v.refused(ctx, "", "", 0, reason) }
