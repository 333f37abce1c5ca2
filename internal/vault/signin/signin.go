// Package signin lets people in: by a passkey that they registered with an invitation's
// code, or by an identity provider. What it gives is a session, a credential made through
// the passkey (or through the provider's subject): of its lineage, ended with it, and
// contained with it.
//
// # Two steps without memory
//
// Signing with a passkey takes two requests: the first gives a challenge, the second brings
// the signature. Between them the browser carries a ticket: the challenge and what it is for,
// sealed under a key of the vault. So any server takes the second request, and strangers who
// ask for challenges fill no memory and no table. Only a challenge whose signature held is
// written down, in the transaction of what it was for, so that it holds once.
//
// # Presence
//
// An act that a stolen session must not do asks for a signature once more, over a challenge
// whose ticket names the act. The answer is a proof: sealed too, of this session and this act
// alone, and five minutes old at most. See [door.Door.Present].
package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// DefaultLength is how long a session lasts at most.
	DefaultLength = 12 * time.Hour
	// DefaultIdle is how long a session may rest.
	DefaultIdle = 30 * time.Minute
	// PresenceValid is how old the passkey for an act may be.
	PresenceValid = 5 * time.Minute
	// ticketValid is how long somebody may take between two steps.
	ticketValid = 5 * time.Minute
	// maxTicket bounds a ticket.
	maxTicket = 16 << 10
)

var (
	// ErrOff is returned where no address of the console is configured that passkeys can be
	// bound to.
	ErrOff = fault.New(fault.Conflict, "passkeys are bound to the host name of the console's address, and this server was not given one: `cloakroom serve --sign-in-url https://...`")
	// ErrTicket is returned for the second step of something that was not begun, is over, or
	// was begun for something else.
	ErrTicket = fault.New(fault.Unauthenticated, "this took too long, or was begun elsewhere: begin again")
	// ErrReplay is returned for a signature that was used.
	ErrReplay = fault.New(fault.Unauthenticated, "this signature was used already: begin again")
	// ErrCloned is returned for a passkey that counted back.
	ErrCloned = fault.New(fault.Unauthenticated, "this passkey counted back, as one does of which there is a copy: it was refused, and your security team knows; use another passkey")
	// ErrURL is returned for an address that passkeys cannot be bound to.
	ErrURL = fault.New(fault.Invalid, "an address for signing in is https://HOST or https://HOST:PORT, with a host name and no path; http is for localhost alone. All addresses have one host name")
)

// Config says where people sign in, and for how long.
type Config struct {
	URLs   []string      // of the console, all on one host; empty: no passkeys
	Length time.Duration // of a session at most; 0: DefaultLength
	Idle   time.Duration // that a session may rest; 0: DefaultIdle
}

// Desk signs people in.
type Desk struct {
	DB      *db.DB
	Ring    *keys.Ring
	Ledger  *ledger.Ledger
	Door    *door.Door
	Changes *change.Maker

	web    *webauthn.WebAuthn // nil: passkeys are off
	config Config
	slow   slowDown
}

// Use configures the desk. It is called before the desk serves.
func (d *Desk) Use(c Config) error {
	if c.Length <= 0 {
		c.Length = DefaultLength
	}
	if c.Idle <= 0 {
		c.Idle = DefaultIdle
	}
	d.config, d.web = c, nil
	host := ""
	var origins []string
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" ||
			u.Scheme != "https" && !(u.Scheme == "http" && u.Hostname() == "localhost") || host != "" && u.Hostname() != host {
			return ErrURL
		}
		host = u.Hostname()
		origins = append(origins, u.Scheme+"://"+u.Host)
	}
	if len(origins) == 0 {
		return nil
	}
	web, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "Cloakroom", RPOrigins: origins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return ErrURL
	}
	d.web = web
	return nil
}

// passkeys returns what checks passkeys.
func (d *Desk) passkeys() (*webauthn.WebAuthn, error) {
	if d.web == nil {
		return nil, ErrOff
	}
	return d.web, nil
}

// The purposes of tickets. A ticket of one is none of another.
const (
	forSignIn   = "sign-in"
	forRegister = "register"
	forStepUp   = "step-up"
	forPresence = "presence"
)

// ticket is what a browser carries from one step to the next.
type ticket struct {
	Expires int64 `json:"e"` // microseconds
	// Session is the challenge and what the library holds against the answer.
	Session   webauthn.SessionData `json:"s,omitzero"`
	Principal uint64               `json:"p,omitempty"`
	By        string               `json:"b,omitempty"` // of a registration: what gives the right to it
	Code      []byte               `json:"c,omitempty"` // its invitation's code, or the selector of its recovery code
	Caller    uint64               `json:"k,omitempty"` // the credential that asked
	Act       string               `json:"a,omitempty"`
}

// key is the key of tickets, which is made with the first.
func (d *Desk) key(ctx context.Context) (keys.Key, error) {
	k, err := d.Ring.Current(ctx, record.Group, keys.SignIn)
	if !errors.Is(err, keys.ErrNoKey) {
		return k, err
	}
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		k, err = d.Ring.Ensure(ctx, q, record.Group, keys.SignIn, now)
		return err
	})
	return k, err
}

func additional(purpose string) []byte { return []byte("cloakroom sign-in 1\x00" + purpose) }

// give seals a ticket.
func (d *Desk) give(ctx context.Context, purpose string, t ticket, valid time.Duration) (string, time.Time, error) {
	now, err := d.DB.Estimate(ctx)
	if err != nil {
		return "", now, err
	}
	t.Expires = now.Add(valid).UnixMicro()
	plain, err := json.Marshal(t)
	if err != nil {
		return "", now, fmt.Errorf("writing a ticket: %w", err)
	}
	k, err := d.key(ctx)
	if err != nil {
		return "", now, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return "", now, err
	}
	b := aead.Seal(binary.BigEndian.AppendUint32(nil, uint32(k.Version)), nil, plain, additional(purpose))
	return base64.RawURLEncoding.EncodeToString(b), now.Add(valid), nil
}

// take opens a ticket of a purpose.
func (d *Desk) take(ctx context.Context, purpose, text string) (t ticket, err error) {
	if len(text) > maxTicket {
		return t, ErrTicket
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4 {
		return t, ErrTicket
	}
	k, err := d.Ring.Version(ctx, record.Group, keys.SignIn, int(binary.BigEndian.Uint32(b)))
	if errors.Is(err, keys.ErrNoKey) {
		return t, ErrTicket
	}
	if err != nil {
		return t, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return t, err
	}
	plain, err := aead.Open(nil, nil, b[4:], additional(purpose))
	if err != nil || json.Unmarshal(plain, &t) != nil {
		return t, ErrTicket
	}
	now, err := d.DB.Estimate(ctx)
	if err == nil && now.UnixMicro() >= t.Expires {
		err = ErrTicket
	}
	return t, err
}

const (
	sqlSpend      = `INSERT INTO spent_challenges (hash, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlDropSpent  = `DELETE FROM spent_challenges WHERE expires < $1`
	spentTogether = time.Minute // clocks of servers differ by less
)

// spend uses up the challenge of a ticket, inside the caller's transaction.
func (d *Desk) spend(ctx context.Context, q db.Queryer, t *ticket, at time.Time) error {
	h := sha256.Sum256([]byte(t.Session.Challenge))
	if _, err := q.Exec(ctx, sqlDropSpent, at.Add(-spentTogether).UnixMicro()); err != nil {
		return fmt.Errorf("forgetting challenges: %w", err)
	}
	n, err := q.Exec(ctx, sqlSpend, h[:], t.Expires)
	if err != nil {
		return fmt.Errorf("using a challenge: %w", err)
	}
	if n == 0 {
		return ErrReplay
	}
	return nil
}
