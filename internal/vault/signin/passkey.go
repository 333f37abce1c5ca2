package signin

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Step is the first half of what takes two requests.
type Step struct {
	// Options are for the browser's navigator.credentials, as JSON.
	Options json.RawMessage `json:"options"`
	// Ticket comes back with the answer.
	Ticket string `json:"ticket"`
	// Name of the person, where the code said who they are.
	Name string `json:"name,omitempty"`
}

// Signed is a session that has just begun.
type Signed struct {
	Secret  identity.Secret // for the cookie
	Name    string
	Session uint64
	Expires time.Time
	// Recovery are new recovery codes, shown once.
	Recovery []string
}

// user is a principal with passkeys, as the library wants one.
type user struct {
	id          uint64
	name        string
	credentials []webauthn.Credential
}

// WebAuthnID implements webauthn.User: the principal's number, which says nothing of them.
func (u *user) WebAuthnID() []byte { return binary.BigEndian.AppendUint64(nil, u.id) }

// WebAuthnName implements webauthn.User.
func (u *user) WebAuthnName() string { return u.name }

// WebAuthnDisplayName implements webauthn.User.
func (u *user) WebAuthnDisplayName() string { return u.name }

// WebAuthnCredentials implements webauthn.User.
func (u *user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func (u *user) add(x identity.Passkey) error {
	var c webauthn.Credential
	if err := json.Unmarshal([]byte(x.Record), &c); err != nil {
		return fmt.Errorf("reading a passkey: %w", err)
	}
	c.Authenticator.SignCount = x.Counter
	u.credentials = append(u.credentials, c)
	return nil
}

// step seals the ticket of a first half.
func (d *Desk) step(ctx context.Context, purpose string, options any, t ticket) (*Step, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("writing the options of a passkey: %w", err)
	}
	text, _, err := d.give(ctx, purpose, t, ticketValid)
	return &Step{Options: b, Ticket: text}, err
}

// BeginSignIn begins a sign-in with a passkey. It says nothing of anybody: the authenticator
// offers whose passkeys it has.
func (d *Desk) BeginSignIn(ctx context.Context) (*Step, error) {
	web, err := d.passkeys()
	if err != nil {
		return nil, err
	}
	options, session, err := web.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("beginning a sign-in: %w", err)
	}
	return d.step(ctx, forSignIn, options, ticket{Session: *session})
}

// assertion checks the answer of an authenticator against a ticket. It returns the passkey and
// what that counts now. allowed is whose it has to be; 0: anybody's.
func (d *Desk) assertion(ctx context.Context, t *ticket, response []byte, allowed uint64) (x identity.Passkey, p identity.Principal, counter uint32, err error) {
	web, err := d.passkeys()
	if err != nil {
		return x, p, 0, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return x, p, 0, identity.ErrNoPasskey
	}
	if x, p, err = d.Door.Identity.Passkey(ctx, parsed.RawID); err != nil {
		return x, p, 0, err
	}
	if allowed != 0 && x.Principal != allowed {
		return x, p, 0, identity.ErrNoPasskey
	}
	u := &user{id: p.ID, name: p.Name}
	if err := u.add(x); err != nil {
		return x, p, 0, err
	}
	var c *webauthn.Credential
	if allowed != 0 {
		c, err = web.ValidateLogin(u, t.Session, parsed)
	} else {
		c, err = web.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return u, nil }, t.Session, parsed)
	}
	if err != nil { // which check failed helps only who tries
		return x, p, 0, identity.ErrNoPasskey
	}
	if c.Authenticator.CloneWarning {
		who := identity.Who{Caller: caller(p, x), Brand: record.Group}
		_, lerr := d.Ledger.Record(revision.Unbound(ctx), ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: entry.PasskeyCloned{Principal: p.Name, Credential: x.Credential}})
		return x, p, 0, errors.Join(ErrCloned, lerr)
	}
	return x, p, c.Authenticator.SignCount, nil
}

// caller is a principal who has just shown a passkey.
func caller(p identity.Principal, x identity.Passkey) identity.Caller {
	return identity.Caller{Principal: p.ID, Credential: x.Credential, Lineage: x.Lineage, Name: p.Name, Country: p.Country, Entity: p.Entity}
}

// SignIn ends a sign-in with a passkey, and begins a session.
func (d *Desk) SignIn(ctx context.Context, ticketText string, response []byte) (*Signed, error) {
	t, err := d.take(ctx, forSignIn, ticketText)
	if err != nil {
		return nil, err
	}
	x, p, counter, err := d.assertion(ctx, &t, response, 0)
	if err != nil {
		return nil, err
	}
	c := caller(p, x)
	if stopped, err := d.Door.Stopped(ctx, c); err != nil {
		return nil, err
	} else if stopped {
		return nil, containment.ErrContained
	}
	return d.begin(ctx, c, identity.Session{Method: identity.ProofPasskey}, func(q db.Queryer, at time.Time) error {
		if err := d.spend(ctx, q, &t, at); err != nil {
			return err
		}
		return d.Door.Identity.Counted(ctx, q, x, counter)
	})
}

// begin begins a session of a caller, through the credential that they have just shown. first
// runs in its transaction, before.
func (d *Desk) begin(ctx context.Context, c identity.Caller, x identity.Session, first func(q db.Queryer, at time.Time) error) (*Signed, error) {
	now, err := d.DB.Estimate(ctx)
	if err != nil {
		return nil, err
	}
	latest, err := d.Door.Identity.Latest(ctx, d.DB, c.Credential)
	if err != nil {
		return nil, err
	}
	x.Idle = d.config.Idle
	out := &Signed{Name: c.Name, Expires: identity.Earlier(now.Add(d.config.Length), latest)}
	detail := entry.SessionBegun{Principal: c.Name, Method: string(x.Method), Ends: out.Expires.UTC().Format(time.RFC3339)}
	_, err = d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Caller: c, Brand: record.Group}, Detail: detail}, func(q db.Queryer, at time.Time) error {
		if err := first(q, at); err != nil {
			return err
		}
		made, secret, err := d.Door.Identity.BeginSession(ctx, q, c.Principal, c.Credential, x, out.Expires, at)
		if err == nil {
			err = d.Door.Identity.SetMaker(ctx, q, made.Credential, c.Principal)
		}
		out.Session, out.Secret = made.Credential, secret
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// BeginStepUp asks the caller's passkey for an act, as an [door.AbsentError] names it.
func (d *Desk) BeginStepUp(ctx context.Context, c identity.Caller, act string) (*Step, error) {
	web, err := d.passkeys()
	if err != nil {
		return nil, err
	}
	if len(act) == 0 || len(act) > 1024 {
		return nil, ErrTicket
	}
	list, err := d.Door.Identity.Passkeys(ctx, c.Principal)
	if err != nil {
		return nil, err
	}
	u := &user{id: c.Principal, name: c.Name}
	for _, x := range list {
		if err := u.add(x); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, identity.ErrNoPasskey
	}
	options, session, err := web.BeginLogin(u, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("asking for a passkey: %w", err)
	}
	session.AllowedCredentialIDs = nil // the principal in the ticket says whose it has to be
	return d.step(ctx, forStepUp, options, ticket{Session: *session, Principal: c.Principal, Caller: c.Credential, Act: act})
}

// Proof is what a passkey gave for an act.
type Proof struct {
	Proof   string    `json:"proof"`
	Act     string    `json:"act"`
	Expires time.Time `json:"expires"`
}

// StepUp ends what BeginStepUp began, for the same caller.
func (d *Desk) StepUp(ctx context.Context, c identity.Caller, ticketText string, response []byte) (*Proof, error) {
	t, err := d.take(ctx, forStepUp, ticketText)
	if err == nil && (t.Principal != c.Principal || t.Caller != c.Credential) {
		err = ErrTicket
	}
	if err != nil {
		return nil, err
	}
	x, _, counter, err := d.assertion(ctx, &t, response, c.Principal)
	if err != nil {
		return nil, err
	}
	detail := entry.SteppedUp{Act: t.Act, Credential: x.Credential}
	_, err = d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Caller: c, Brand: record.Group}, Detail: detail}, func(q db.Queryer, at time.Time) error {
		if err := d.spend(ctx, q, &t, at); err != nil {
			return err
		}
		return d.Door.Identity.Counted(ctx, q, x, counter)
	})
	if err != nil {
		return nil, err
	}
	out := &Proof{Act: t.Act}
	out.Proof, out.Expires, err = d.give(ctx, forPresence, ticket{Principal: c.Principal, Caller: c.Credential, Act: t.Act}, PresenceValid)
	return out, err
}

// Present implements door.Presence.
func (d *Desk) Present(ctx context.Context, c identity.Caller, act, proof string) (bool, error) {
	t, err := d.take(ctx, forPresence, proof)
	if errors.Is(err, ErrTicket) {
		return false, nil
	}
	return err == nil && t.Principal == c.Principal && t.Caller == c.Credential && t.Act == act, err
}

var _ door.Presence = (*Desk)(nil)
