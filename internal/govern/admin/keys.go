package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrTheirKey is returned where somebody would be answered another person's key.
var ErrTheirKey = fault.New(fault.Denied, "a person's key is made by that person alone: `cloakroom principal invite` sends them a code, and `cloakroom principal redeem` makes the key")

// Mailer sends one mail to somebody who is no receiver of alarms.
type Mailer interface {
	// Write sends a text to an address. It is not tried again.
	Write(ctx context.Context, to, subject, text string) error
}

// keyGiven asks for a key that the requester is answered: a service's, or in the alone phase
// anybody's.
type keyGiven struct {
	Principal  uint64        `json:"principal"`
	Label      string        `json:"label"`
	Valid      time.Duration `json:"valid"`
	Credential uint64        `json:"credential"` // whose key is replaced; 0: a new one
}

// strong reports whether a principal may do, anywhere, something that takes two people to
// give.
func (d *Desk) strong(ctx context.Context, principal uint64) (gained, error) {
	var g gained
	roles, err := d.Door.Identity.Roles(ctx, principal)
	if err != nil {
		return g, err
	}
	none := func(record.BrandID) string { return "" }
	for _, r := range roles {
		if err := d.gainsOfRole(ctx, &g, principal, none, r.Brand, r.Role); err != nil {
			return g, err
		}
	}
	return g, nil
}

func (d *Desk) keyNeeds(ctx context.Context, o change.Order, p keyGiven) (change.Need, error) {
	who, err := d.Door.Identity.Get(ctx, p.Principal)
	if err != nil {
		return change.Need{}, err
	}
	if who.ID == o.Who.Principal {
		return change.Need{}, nil
	}
	g, err := d.strong(ctx, p.Principal)
	if who.Kind == identity.Person {
		g.need.Two = true
	}
	return g.need, err
}

func (d *Desk) keyText(ctx context.Context, _ change.Order, p keyGiven) (change.Text, error) {
	who, err := d.Door.Identity.Get(ctx, p.Principal)
	if err != nil {
		return change.Text{}, err
	}
	g, err := d.strong(ctx, p.Principal)
	t := change.Text{Title: fmt.Sprintf("Make a key of %s (%s): a code that makes it is shown to the person who approves", who.Name, who.Kind), Lines: g.lines}
	if p.Credential != 0 {
		t.Title = fmt.Sprintf("Replace the key of credential %d of %s (%s): a code that makes it is shown to the person who approves", p.Credential, who.Name, who.Kind)
	}
	return t, err
}

// giveKey makes the key at once where one hand acts, and else a code that makes it.
func (d *Desk) giveKey(ctx context.Context, o change.Order, p keyGiven) (*api.Credential, error) {
	who, err := d.Door.Identity.Get(ctx, p.Principal)
	if err != nil {
		return nil, err
	}
	if o.ID != "" && !strings.Contains(o.Mark, change.MarkAlone) {
		return d.code(ctx, o, p, who, 0)
	}
	if p.Credential != 0 {
		return d.replace(ctx, o.Who, p.Credential)
	}
	req := api.CredentialRequest{Label: p.Label}
	if p.Valid > 0 {
		req.ValidFor = p.Valid.String()
	}
	return d.credential(ctx, o.Who, who, 0, req, entry.CredentialCreated{Principal: who.Name})
}

// code makes a code in the place of a key.
func (d *Desk) code(ctx context.Context, o change.Order, p keyGiven, who identity.Principal, owner uint64) (*api.Credential, error) {
	out := &api.Credential{Label: p.Label}
	by := "code"
	if owner != 0 {
		by = "owner"
	}
	err := d.changeAs(ctx, o.Who, entry.KindAdministration, entry.Invited{Principal: who.Name, Credential: p.Credential, By: by}, func(q db.Queryer, at time.Time) (err error) {
		i := identity.Invitation{Principal: p.Principal, Credential: p.Credential, Owner: owner, Label: p.Label, MadeBy: o.Who.Principal}
		if p.Valid > 0 {
			i.KeyExpires = at.Add(p.Valid)
		}
		out.Expires = at.Add(identity.CodeValid)
		out.Code, err = d.Door.Identity.Invite(ctx, q, i, at)
		return err
	})
	return out, err
}

// replace gives a credential another key, and answers it.
func (d *Desk) replace(ctx context.Context, who identity.Who, credential uint64) (*api.Credential, error) {
	out := &api.Credential{ID: credential}
	detail := entry.CredentialRenewed{Credential: credential}
	err := d.changeAs(ctx, who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) error {
		lineage, key, err := d.Door.Identity.Renew(ctx, q, credential, at)
		if err == nil {
			err = d.Door.Identity.SetMaker(ctx, q, credential, who.Principal)
		}
		out.Lineage, out.Created, out.Key = lineage, at, key.Reveal()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CreateCredential makes a key of a principal: the caller's own is answered, once. Nobody
// is answered another person's, once two people exist. Of a service that sees customers, a
// code is made that its owner redeems; without an owner it takes a second person.
func (d *Desk) CreateCredential(ctx context.Context, c identity.Caller, name string, req api.CredentialRequest) (*api.Credential, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("label", req.Label); err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	valid, err := validFor(req.ValidFor)
	if err != nil {
		return nil, err
	}
	in := keyGiven{Principal: p.ID, Label: req.Label, Valid: valid}
	if out, done, err := d.notTheirs(ctx, c, p, in, change.Order{Who: v.Who}); done || err != nil {
		return out, err
	}
	return d.acts.key.Do(ctx, v, "", in)
}

// notTheirs refuses another person's key, and hands a service's to its owner, once two
// people exist.
func (d *Desk) notTheirs(ctx context.Context, c identity.Caller, p identity.Principal, in keyGiven, o change.Order) (*api.Credential, bool, error) {
	alone, err := d.people.Alone(ctx)
	if err != nil || alone || p.ID == c.Principal {
		return nil, false, err
	}
	if p.Kind == identity.Person {
		return nil, true, ErrTheirKey
	}
	owner, err := d.Door.Identity.Owner(ctx, p.ID)
	if err != nil || owner == 0 || owner == c.Principal {
		return nil, false, err
	}
	g, err := d.strong(ctx, p.ID)
	if err != nil || !g.need.Two {
		return nil, false, err
	}
	out, err := d.code(ctx, o, in, p, owner)
	return out, true, err
}

func validFor(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	valid, err := time.ParseDuration(text)
	if err != nil || valid <= 0 {
		return 0, fmt.Errorf("%w: valid_for is a length of time such as 720h", ErrRequest)
	}
	return valid, nil
}

// RenewKey gives a credential another key, and ends the one that it had: what a changed
// password is to a person. What was made through the credential goes on: only revoking
// the lineage ends it. Whose it is follows the rules of CreateCredential.
func (d *Desk) RenewKey(ctx context.Context, c identity.Caller, credential uint64) (*api.Credential, error) {
	lineage, owner, err := d.Door.Identity.Lineage(ctx, credential)
	if err == nil && lineage == c.Lineage { // one's own
		if stopped, err := d.Door.Stopped(ctx, c); err != nil {
			return nil, err
		} else if stopped {
			return nil, containment.ErrContained
		}
		return d.replace(ctx, identity.Who{Caller: c, Brand: record.Group}, credential)
	}
	v, adminErr := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if adminErr != nil {
		return nil, adminErr
	}
	if err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.Get(ctx, owner)
	if err != nil {
		return nil, err
	}
	if err := d.Door.Identity.Live(ctx, credential); errors.Is(err, identity.ErrRevoked) {
		return nil, identity.ErrNoCredential
	}
	in := keyGiven{Principal: p.ID, Credential: credential}
	if out, done, err := d.notTheirs(ctx, c, p, in, change.Order{Who: v.Who}); done || err != nil {
		return out, err
	}
	return d.acts.key.Do(ctx, v, "", in)
}

// invited is a list of people to invite.
type invited struct {
	People []api.Invitee             `json:"people"`
	Roles  map[record.BrandID]string `json:"roles"`
	Until  time.Time                 `json:"until"`
	Label  string                    `json:"label"`
}

// Invite asks that people make their own keys. The codes go to them by mail, or are shown
// to the person who approves; never to the inviter, once two people exist.
func (d *Desk) Invite(ctx context.Context, c identity.Caller, req api.InviteRequest) (*api.Invitations, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("label", req.Label); err != nil {
		return nil, err
	}
	in := invited{People: req.People, Until: req.Until, Label: req.Label, Roles: map[record.BrandID]string{}}
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
	seen := map[string]bool{}
	for i := range in.People {
		p := &in.People[i]
		if p.Kind == "" {
			p.Kind = identity.Person
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("%w: one name stands twice in the list", ErrRequest)
		}
		seen[p.Name] = true
		if err := ledger.CheckText("name", p.Name); err != nil {
			return nil, err
		}
		if _, err := profileOf(p.Profile); err != nil {
			return nil, fmt.Errorf("person %d: %w", i+1, err)
		}
		if p.Mail != "" && (!strings.Contains(p.Mail, "@") || strings.ContainsAny(p.Mail, " \r\n\t<>,;")) {
			return nil, fmt.Errorf("%w: person %d: mail is one address", ErrRequest, i+1)
		}
	}
	alone, err := d.people.Alone(ctx)
	if err != nil {
		return nil, err
	}
	byHand := d.Mail == nil || slices.ContainsFunc(in.People, func(p api.Invitee) bool { return p.Mail == "" })
	if alone && byHand && c.Name != identity.LocalAdministrator {
		return nil, fmt.Errorf("%w: without a second person and a mail server, codes are shown at the vault's own machine alone: run `cloakroom principal invite` there", ErrRequest)
	}
	return d.acts.invite.Do(ctx, v, "", in)
}

// inviteNeeds: an invitation always takes two. It widens reading by the roles of those who
// are new; who has a role already had a key.
func (d *Desk) inviteNeeds(ctx context.Context, _ change.Order, in invited) (change.Need, error) {
	g, err := d.newGains(ctx, in.Roles)
	return change.Need{Two: true, Widens: g.need.Widens}, err
}

func (d *Desk) inviteText(ctx context.Context, _ change.Order, in invited) (change.Text, error) {
	t := change.Text{Title: fmt.Sprintf("Invite %d to make their own keys", len(in.People))}
	if len(in.People) == 1 {
		t.Title = "Invite " + in.People[0].Name + " to make their own key"
	}
	if !in.Until.IsZero() {
		t.Title += ", which ends " + in.Until.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	for _, p := range in.People {
		line := p.Name
		who, err := d.Door.Identity.ByName(ctx, p.Name)
		switch {
		case errors.Is(err, identity.ErrNoPrincipal):
			line += " (new " + p.Kind + ")"
		case err != nil:
			return t, err
		default:
			g, err := d.strong(ctx, who.ID)
			if err != nil {
				return t, err
			}
			line += " (registered " + who.Kind + ")"
			if len(g.lines) > 0 {
				line += ": " + strings.Join(g.lines, "; ")
			}
		}
		if p.Credential != 0 {
			line += fmt.Sprintf(", in the place of the key of credential %d", p.Credential)
		}
		if p.Mail != "" && d.Mail != nil {
			line += ", code by mail to " + p.Mail
		} else {
			line += ", code shown to the person who approves"
		}
		t.Lines = append(t.Lines, line)
	}
	g, err := d.newGains(ctx, in.Roles)
	t.Lines = append(t.Lines, g.lines...)
	return t, err
}

// newGains is what somebody new gains by roles.
func (d *Desk) newGains(ctx context.Context, roles map[record.BrandID]string) (g gained, err error) {
	for b, role := range roles {
		if err := d.gainsOfRole(ctx, &g, 0, func(record.BrandID) string { return "" }, b, role); err != nil {
			return g, err
		}
	}
	slices.Sort(g.lines)
	return g, nil
}

func (d *Desk) inviteFits(ctx context.Context, o change.Order, in invited) error {
	for i, p := range in.People {
		who, err := d.Door.Identity.ByName(ctx, p.Name)
		if errors.Is(err, identity.ErrNoPrincipal) {
			if p.Credential != 0 {
				return identity.ErrNoCredential
			}
			if !identity.ValidName(p.Name) {
				return identity.ErrName
			}
			continue
		}
		if err != nil {
			return err
		}
		if p.Profile != (api.Profile{}) {
			return fmt.Errorf("%w: person %d is registered: use `cloakroom principal describe`", ErrRequest, i+1)
		}
		if len(in.Roles) > 0 {
			return fmt.Errorf("%w: person %d is registered: roles are for new ones, use `cloakroom principal role`", ErrRequest, i+1)
		}
		if p.Credential != 0 {
			_, owner, err := d.Door.Identity.Lineage(ctx, p.Credential)
			if err == nil && owner != who.ID {
				err = identity.ErrNoCredential
			}
			if err == nil {
				err = d.Door.Identity.Live(ctx, p.Credential)
			}
			if err != nil {
				return err
			}
		}
		if who.ID == o.Second.Principal {
			return fmt.Errorf("%w: nobody approves an invitation of their own", ErrRequest)
		}
	}
	return nil
}

func (d *Desk) invite(ctx context.Context, o change.Order, in invited) (*api.Invitations, error) {
	out := &api.Invitations{}
	var names []string
	for _, p := range in.People {
		names = append(names, p.Name)
	}
	var codes []string
	var err error
	for i, p := range in.People {
		by := "code"
		if p.Mail != "" && d.Mail != nil {
			by = "mail"
		}
		var code string
		err = d.changeAs(ctx, o.Who, entry.KindAdministration, entry.Invited{Principal: names[i], Credential: p.Credential, By: by, Profile: entry.Profile{Display: p.DisplayName, Team: p.Team, Place: p.Place}}, func(q db.Queryer, at time.Time) error {
			id, err := d.inviteOne(ctx, q, p, in.Roles, at)
			if err != nil {
				return err
			}
			out.Expires = at.Add(identity.CodeValid)
			code, err = d.Door.Identity.Invite(ctx, q, identity.Invitation{Principal: id, Credential: p.Credential, Label: in.Label, KeyExpires: in.Until, MadeBy: o.Who.Principal}, at)
			return err
		})
		if err != nil {
			break
		}
		codes = append(codes, code)
	}
	for i, code := range codes { // those that were made hold, whatever else failed
		p := in.People[i]
		if p.Mail != "" && d.Mail != nil {
			text := fmt.Sprintf("You are invited to make your own key for Cloakroom, as %s.\n\n  cloakroom principal redeem %s\n\nThe code works once, until %s. Nobody else may see it.\n", p.Name, code, out.Expires.UTC().Format("2006-01-02 15:04 UTC"))
			if werr := d.Mail.Write(ctx, p.Mail, "Your invitation to Cloakroom", text); werr == nil {
				out.Mailed = append(out.Mailed, p.Name)
				continue
			}
		}
		out.Codes = append(out.Codes, api.InviteCode{Name: p.Name, Code: code})
	}
	if len(codes) > 0 && err == nil {
		return out, nil
	}
	return nil, err
}

func (d *Desk) inviteOne(ctx context.Context, q db.Queryer, p api.Invitee, roles map[record.BrandID]string, at time.Time) (uint64, error) {
	who, err := d.Door.Identity.ByName(ctx, p.Name)
	if err == nil {
		return who.ID, nil
	}
	if !errors.Is(err, identity.ErrNoPrincipal) {
		return 0, err
	}
	id, err := d.Door.Identity.CreatePrincipal(ctx, q, p.Name, p.Kind, at)
	for b, role := range roles {
		if err == nil {
			err = d.Door.Identity.FirstRole(ctx, q, id, b, role, at)
		}
	}
	if err == nil && p.Profile != (api.Profile{}) {
		profile, perr := profileOf(p.Profile)
		if err = perr; err == nil {
			err = d.Door.Identity.SetProfile(ctx, q, id, profile)
		}
	}
	return id, err
}

// Redeem makes the key of an invitation for the holder of its code. The owner of a service
// redeems a code for its key with a key of their own.
func (d *Desk) Redeem(ctx context.Context, c identity.Caller, req api.RedeemRequest) (*api.Credential, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	i, err := d.Door.Identity.Invited(ctx, d.DB, req.Code, now)
	if err != nil {
		return nil, err
	}
	if i.Owner != 0 && i.Owner != c.Principal {
		return nil, identity.ErrCode
	}
	p, err := d.Door.Identity.Get(ctx, i.Principal)
	if err != nil {
		return nil, err
	}
	if !p.Disabled.IsZero() {
		return nil, identity.ErrCode
	}
	maker := ""
	if by, err := d.Door.Identity.Get(ctx, i.MadeBy); err == nil {
		maker = by.Name
	}
	who := identity.Who{Caller: identity.Caller{Principal: p.ID, Name: p.Name}, Brand: record.Group}
	if i.Owner != 0 {
		who.Caller = c
	}
	out := &api.Credential{Label: i.Label, Expires: i.KeyExpires, MadeBy: maker}
	err = d.changeAs(ctx, who, entry.KindAdministration, entry.Redeemed{Principal: p.Name, Credential: i.Credential, MadeBy: maker}, func(q db.Queryer, at time.Time) error {
		id, lineage, key, err := d.Door.Identity.Redeem(ctx, q, req.Code, at)
		if err == nil {
			err = d.Door.Identity.SetMaker(ctx, q, id, i.MadeBy)
		}
		out.ID, out.Lineage, out.Created, out.Key = id, lineage, at, key.Reveal()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
