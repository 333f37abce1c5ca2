package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// The acts that this package asks a passkey for.
const (
	ActAddPasskey   = "passkey-add"
	ActMakeRecovery = "recovery-make"
)

// ErrPeople is returned where a service would get a passkey.
var ErrPeople = fault.New(fault.Invalid, "passkeys are for people: a service's code makes a key, with `cloakroom principal redeem --own`")

// BeginInvited begins the registration of a passkey with the code of an invitation.
func (d *Desk) BeginInvited(ctx context.Context, code string) (*Step, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	i, err := d.Door.Identity.Invited(ctx, d.DB, code, now)
	if err == nil && i.Owner != 0 {
		err = identity.ErrCode
	}
	if err != nil {
		return nil, err
	}
	return d.beginPasskey(ctx, i.Principal, ticket{By: entry.ByInvitation, Code: []byte(code)})
}

// BeginRecovery begins the registration of a passkey with a recovery code. network is where
// the request comes from.
func (d *Desk) BeginRecovery(ctx context.Context, text, network string) (*Step, error) {
	code, err := identity.ParseRecovery(text)
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Estimate(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.slow.may(network, code.Selector(), now); err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.Recovers(ctx, code)
	if errors.Is(err, identity.ErrRecovery) {
		d.slow.wrong(network, code.Selector(), now)
	}
	if err != nil {
		return nil, err
	}
	d.slow.right(network, code.Selector())
	return d.beginPasskey(ctx, p.ID, ticket{By: entry.ByRecovery, Code: []byte(code.Selector())})
}

// BeginAnother begins the registration of another passkey of a caller, who has to be there.
func (d *Desk) BeginAnother(ctx context.Context, c identity.Caller) (*Step, error) {
	if c.Session == 0 {
		return nil, identity.ErrNoSession
	}
	if err := d.Door.Present(ctx, c, ActAddPasskey); err != nil {
		return nil, err
	}
	return d.beginPasskey(ctx, c.Principal, ticket{By: entry.BySession, Caller: c.Credential})
}

func (d *Desk) beginPasskey(ctx context.Context, principal uint64, t ticket) (*Step, error) {
	web, err := d.passkeys()
	if err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.Get(ctx, principal)
	if err != nil {
		return nil, err
	}
	if p.Kind != identity.Person {
		return nil, ErrPeople
	}
	if !p.Disabled.IsZero() {
		return nil, identity.ErrDisabled
	}
	list, err := d.Door.Identity.Passkeys(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	u := &user{id: p.ID, name: p.Name}
	for _, x := range list {
		if err := u.add(x); err != nil {
			return nil, err
		}
	}
	var have []protocol.CredentialDescriptor
	for _, c := range u.credentials {
		have = append(have, c.Descriptor())
	}
	options, session, err := web.BeginRegistration(u, webauthn.WithExclusions(have))
	if err != nil {
		return nil, fmt.Errorf("beginning to register a passkey: %w", err)
	}
	t.Session, t.Principal = *session, p.ID
	step, err := d.step(ctx, forRegister, options, t)
	if err == nil {
		step.Name = p.Name
	}
	return step, err
}

// Register ends the registration of a passkey, and begins a session by it. c is the caller
// who began it where that was somebody signed in. With the first passkey, and in the place of
// a recovery code that was used, come new recovery codes.
func (d *Desk) Register(ctx context.Context, c identity.Caller, ticketText, label string, response []byte) (*Signed, error) {
	t, err := d.take(ctx, forRegister, ticketText)
	if err == nil && t.By == entry.BySession && (c.Principal != t.Principal || c.Credential != t.Caller) {
		err = ErrTicket
	}
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("label", label); err != nil {
		return nil, err
	}
	web, err := d.passkeys()
	if err != nil {
		return nil, err
	}
	p, err := d.Door.Identity.Get(ctx, t.Principal)
	if err == nil && !p.Disabled.IsZero() {
		err = identity.ErrDisabled
	}
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, identity.ErrNoPasskey
	}
	made, err := web.CreateCredential(&user{id: p.ID, name: p.Name}, t.Session, parsed)
	if err != nil {
		return nil, identity.ErrNoPasskey
	}
	x := identity.Passkey{Label: label, Counter: made.Authenticator.SignCount}
	if label == "" {
		x.Label = "passkey"
	}
	made.Attestation, made.Authenticator.SignCount = webauthn.CredentialAttestation{}, 0 // neither is asked again
	record, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("writing a passkey: %w", err)
	}
	x.Record = string(record)
	x, codes, err := d.register(ctx, p, &t, made.ID, x)
	if err != nil {
		return nil, err
	}
	// What was registered holds, also where its holder may not sign in now.
	if stopped, err := d.Door.Stopped(ctx, caller(p, x)); err != nil {
		return nil, err
	} else if stopped {
		return nil, containment.ErrContained
	}
	out, err := d.begin(revision.Unbound(ctx), caller(p, x), identity.Session{Method: identity.ProofPasskey}, func(db.Queryer, time.Time) error { return nil })
	if err != nil {
		return nil, err
	}
	out.Recovery = codes
	return out, nil
}

// register stores a passkey, and uses up what gave the right to it.
func (d *Desk) register(ctx context.Context, p identity.Principal, t *ticket, raw []byte, x identity.Passkey) (_ identity.Passkey, codes []string, err error) {
	detail := entry.PasskeyCreated{Principal: p.Name, By: t.By}
	var invited identity.Invitation
	now, err := d.DB.Now(ctx)
	if err != nil {
		return x, nil, err
	}
	if t.By == entry.ByInvitation {
		if invited, err = d.Door.Identity.Invited(ctx, d.DB, string(t.Code), now); err != nil {
			return x, nil, err
		}
		if by, err := d.Door.Identity.Get(ctx, invited.MadeBy); err == nil {
			detail.MadeBy = by.Name
		}
		detail.Credential = invited.Credential
	}
	left, err := d.Door.Identity.RecoveryLeft(ctx, p.ID)
	if err != nil {
		return x, nil, err
	}
	var fresh identity.Recovery
	if detail.Recovery = left == 0 || t.By == entry.ByRecovery; detail.Recovery {
		fresh = identity.PrepareRecovery()
	}
	who := identity.Who{Caller: identity.Caller{Principal: p.ID, Name: p.Name}, Brand: record.Group}
	moved, err := d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: detail}, func(q db.Queryer, at time.Time) (err error) {
		if err := d.spend(ctx, q, t, at); err != nil {
			return err
		}
		made := p.ID
		switch t.By {
		case entry.ByInvitation:
			made = invited.MadeBy
			err = d.Door.Identity.UseCode(ctx, q, string(t.Code), at)
			if err == nil && invited.Credential != 0 {
				_, err = d.Door.Identity.RevokeOne(ctx, q, invited.Credential, at)
			}
		case entry.ByRecovery:
			err = d.Door.Identity.UseRecovery(ctx, q, string(t.Code), at)
		}
		if err != nil {
			return err
		}
		if x, err = d.Door.Identity.AddPasskey(ctx, q, p.ID, raw, x, invited.KeyExpires, at); err != nil {
			return err
		}
		if err = d.Door.Identity.SetMaker(ctx, q, x.Credential, made); err != nil || !detail.Recovery {
			return err
		}
		return d.Door.Identity.MakeRecovery(ctx, q, p.ID, fresh, at)
	})
	if err == nil && moved {
		err = d.Changes.Pass(ctx, record.Group, 0)
	}
	return x, fresh.Codes, err
}

// MakeRecovery makes new recovery codes of a caller, who has to be there, and ends those that
// they had.
func (d *Desk) MakeRecovery(ctx context.Context, c identity.Caller) ([]string, error) {
	if c.Session == 0 {
		return nil, identity.ErrNoSession
	}
	if err := d.Door.Present(ctx, c, ActMakeRecovery); err != nil {
		return nil, err
	}
	fresh := identity.PrepareRecovery()
	_, err := d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Caller: c, Brand: record.Group}, Detail: entry.RecoveryMade{Principal: c.Name}}, func(q db.Queryer, at time.Time) error {
		return d.Door.Identity.MakeRecovery(ctx, q, c.Principal, fresh, at)
	})
	if err != nil {
		return nil, err
	}
	return fresh.Codes, nil
}
