package signin_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
	"github.com/cloakroom/cloakroom/internal/vault/signin/signintest"
)

const origin = "https://vault.example.com"

// house is a vault at which people sign in.
type house struct {
	*apptest.House
	t *testing.T
}

func open(t *testing.T, h *apptest.House) *house {
	t.Helper()
	h.Must(h.SignIn.Use(signin.Config{URLs: []string{origin}}))
	return &house{h, t}
}

// code invites somebody in the time when one hand acts alone.
func (h *house) code(name string, roles map[string]string) string {
	h.t.Helper()
	out, err := h.Admin.Invite(h.t.Context(), h.Local, api.InviteRequest{People: []api.Invitee{{Name: name}}, Roles: roles})
	h.Must(err)
	return out.Codes[0].Code
}

// join registers a passkey with a code.
func (h *house) join(code string) (*signintest.Authenticator, *signin.Signed) {
	h.t.Helper()
	ctx := h.t.Context()
	step, err := h.SignIn.BeginInvited(ctx, code)
	h.Must(err)
	a := signintest.New(h.t, origin)
	s, err := h.SignIn.Register(ctx, identity.Caller{}, step.Ticket, "laptop", a.Create(step.Options))
	h.Must(err)
	return a, s
}

func (h *house) signIn(a *signintest.Authenticator) (*signin.Signed, error) {
	h.t.Helper()
	step, err := h.SignIn.BeginSignIn(h.t.Context())
	h.Must(err)
	return h.SignIn.SignIn(h.t.Context(), step.Ticket, a.Get(step.Options))
}

func (h *house) again(a *signintest.Authenticator) *signin.Signed {
	h.t.Helper()
	s, err := h.signIn(a)
	h.Must(err)
	return s
}

func (h *house) caller(s *signin.Signed) identity.Caller {
	h.t.Helper()
	c, err := h.Identity.AuthenticateSession(h.t.Context(), s.Secret)
	h.Must(err)
	return c
}

// proof shows a passkey for an act.
func (h *house) proof(a *signintest.Authenticator, c identity.Caller, act string) string {
	h.t.Helper()
	step, err := h.SignIn.BeginStepUp(h.t.Context(), c, act)
	h.Must(err)
	p, err := h.SignIn.StepUp(h.t.Context(), c, step.Ticket, a.Get(step.Options))
	h.Must(err)
	return p.Proof
}

// Somebody who was invited registers a passkey in the place of a key, gets recovery codes,
// and signs in with it: each session is a credential of the passkey's lineage, in the log.
func TestAnInvitedPersonSignsInWithAPasskey(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, at *apptest.House) {
		h, ctx := open(t, at), t.Context()
		code := h.code("nina", map[string]string{"gucci": access.SupportAgent})
		from := h.Size("group")
		nina, first := h.join(code)
		if len(first.Recovery) != identity.RecoveryCodes {
			t.Errorf("%d recovery codes", len(first.Recovery))
		}
		if _, err := h.SignIn.BeginInvited(ctx, code); !errors.Is(err, identity.ErrCode) {
			t.Errorf("the code works twice: %v", err)
		}
		second, err := h.signIn(nina)
		h.Must(err)
		if len(second.Recovery) != 0 || second.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the second session has recovery codes or the secret of the first")
		}
		a, b := h.caller(first), h.caller(second)
		if a.Lineage != b.Lineage || a.Credential == b.Credential || a.Session != a.Credential || a.Name != "nina" {
			t.Errorf("sessions %+v and %+v", a, b)
		}
		v, err := h.Disclose.Door.Enter(ctx, b, "gucci")
		if err != nil || v.Who.Role != access.SupportAgent {
			t.Errorf("in the role %v: %v", v, err)
		}
		log := strings.Join(h.Logged("group", from), "\n")
		for _, want := range []string{
			"administration by=invitation change=passkey-create made-by=local-administrator principal=nina recovery=true",
			"change=session-begin", "method=passkey principal=nina",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %q:\n%s", want, log)
			}
		}
		list, err := h.Identity.Credentials(ctx, a.Principal)
		h.Must(err)
		var kinds []string
		for _, c := range list {
			kinds = append(kinds, string(c.Kind))
		}
		if !slices.Equal(kinds, []string{"passkey", "session", "session"}) {
			t.Errorf("credentials %v", kinds)
		}
	})
}

// What an attacker brings in the place of a signature is refused, all in the same words, and
// begins no session.
func TestForgedSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	nina, _ := h.join(h.code("nina", map[string]string{"gucci": access.SupportAgent}))
	other, _ := h.join(h.code("omar", map[string]string{"gucci": access.SupportAgent}))
	from := h.Size("group")
	for name, spoil := range map[string]func(a *signintest.Authenticator){
		"a page of another origin":  func(a *signintest.Authenticator) { a.Origin = "https://vau1t.example.com" },
		"the same host without TLS": func(a *signintest.Authenticator) { a.Origin = "http://vault.example.com" },
		"another port":              func(a *signintest.Authenticator) { a.Origin = origin + ":8443" },
		"another relying party":     func(a *signintest.Authenticator) { a.RPID = "example.com" },
		"nobody verified":           func(a *signintest.Authenticator) { a.Unverified = true },
	} {
		a := nina.Clone()
		spoil(a)
		if _, err := h.signIn(a); !errors.Is(err, identity.ErrNoPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A signature once more, and one of another ticket.
	one, err := h.SignIn.BeginSignIn(ctx)
	h.Must(err)
	two, err := h.SignIn.BeginSignIn(ctx)
	h.Must(err)
	signed := nina.Get(one.Options)
	if _, err := h.SignIn.SignIn(ctx, two.Ticket, signed); !errors.Is(err, identity.ErrNoPasskey) {
		t.Errorf("the signature of another challenge: %v", err)
	}
	if got := h.Size("group"); got != from {
		t.Errorf("%d entries of refusals", got-from)
	}
	if _, err := h.SignIn.SignIn(ctx, one.Ticket, signed); err != nil {
		t.Errorf("the right one: %v", err)
	}
	if _, err := h.SignIn.SignIn(ctx, one.Ticket, signed); !errors.Is(err, signin.ErrReplay) {
		t.Errorf("a replay: %v", err)
	}
	// A ticket is for one purpose, of this vault, and for minutes.
	c := h.caller(h.again(nina))
	step, err := h.SignIn.BeginStepUp(ctx, c, "contain gucci")
	h.Must(err)
	if _, err := h.SignIn.SignIn(ctx, step.Ticket, nina.Get(step.Options)); !errors.Is(err, signin.ErrTicket) {
		t.Errorf("a ticket of another purpose: %v", err)
	}
	if _, err := h.SignIn.StepUp(ctx, c, step.Ticket, other.Get(step.Options)); !errors.Is(err, identity.ErrNoPasskey) {
		t.Errorf("somebody else's passkey for an act: %v", err)
	}
	b := []byte(step.Ticket)
	b[len(b)/2] ^= 1
	if _, err := h.SignIn.StepUp(ctx, c, string(b), nina.Get(step.Options)); !errors.Is(err, signin.ErrTicket) {
		t.Errorf("a changed ticket: %v", err)
	}
	h.Later(6 * time.Minute)
	if _, err := h.SignIn.StepUp(ctx, c, step.Ticket, nina.Get(step.Options)); !errors.Is(err, signin.ErrTicket) {
		t.Errorf("after six minutes: %v", err)
	}
	for _, junk := range []string{"", "{}", "null", `{"id":"","rawId":"","type":"public-key","response":{}}`, strings.Repeat("[", 10_000)} {
		step, err := h.SignIn.BeginSignIn(ctx)
		h.Must(err)
		if _, err := h.SignIn.SignIn(ctx, step.Ticket, json.RawMessage(junk)); !errors.Is(err, identity.ErrNoPasskey) {
			t.Errorf("junk: %v", err)
		}
	}
}

// A device that counts back is refused, and the security team is told. The one that counts on
// signs in still.
func TestACopyOfADeviceIsNoticed(t *testing.T) {
	t.Parallel()
	h := open(t, apptest.Open(t))
	step, err := h.SignIn.BeginInvited(t.Context(), h.code("nina", map[string]string{"gucci": access.SupportAgent}))
	h.Must(err)
	nina := signintest.New(t, origin)
	nina.Counts = true
	_, err = h.SignIn.Register(t.Context(), identity.Caller{}, step.Ticket, "", nina.Create(step.Options))
	h.Must(err)
	copied := nina.Clone()
	for range 3 {
		_, err := h.signIn(nina)
		h.Must(err)
	}
	from := h.Size("group")
	if _, err := h.signIn(copied); !errors.Is(err, signin.ErrCloned) {
		t.Fatalf("the copy signs in: %v", err)
	}
	if log := h.Logged("group", from); len(log) != 1 || !strings.Contains(log[0], "change=passkey-clone") {
		t.Errorf("the log says %q", log)
	}
	if _, err := h.signIn(nina); err != nil {
		t.Errorf("its holder is kept out: %v", err)
	}
}

// A session ends by itself: at its time, when it rests, with its passkey, with its principal,
// and on every server when it is revoked.
func TestASessionEnds(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, at *apptest.House) {
		h, ctx := open(t, at), t.Context()
		nina, s := h.join(h.code("nina", map[string]string{"gucci": access.SupportAgent}))
		alive := func(s *signin.Signed) error {
			_, err := h.Identity.AuthenticateSession(ctx, s.Secret)
			return err
		}
		for range 30 {
			h.Later(25 * time.Minute)
			if err := alive(s); err != nil {
				if !errors.Is(err, identity.ErrNoSession) {
					t.Fatalf("used every 25 minutes: %v", err)
				}
				break
			}
		}
		if err := alive(s); !errors.Is(err, identity.ErrNoSession) {
			t.Errorf("after more than twelve hours: %v", err)
		}
		s, err := h.signIn(nina)
		h.Must(err)
		h.Must(alive(s))
		h.Later(31 * time.Minute)
		for range 2 { // trying does not wake it
			if err := alive(s); !errors.Is(err, identity.ErrIdle) {
				t.Errorf("after half an hour's rest: %v", err)
			}
		}
		s, err = h.signIn(nina)
		h.Must(err)
		c := h.caller(s)
		child, err := h.Admin.ConnectApp(ctx, c, api.CredentialRequest{Label: "cli", ValidFor: "720h"})
		h.Must(err)
		key, err := identity.ParseKey(child.Key)
		h.Must(err)
		if got, err := h.Identity.Authenticate(ctx, key); err != nil || got.Session != c.Session || child.Expires.After(s.Expires) {
			t.Errorf("a key made through it: %+v until %v, %v", got, child.Expires, err)
		}
		if h.DB.Engine() == db.Postgres {
			beside := h.Beside()
			if _, err := beside.Identity.AuthenticateSession(ctx, s.Secret); err != nil {
				t.Errorf("another server does not know it: %v", err)
			}
			_, err := h.Admin.RevokeCredential(ctx, h.Local, c.Lineage)
			h.Must(err)
			err = beside.Revisions.Decide(ctx, func(ctx context.Context) error {
				_, err := beside.Identity.AuthenticateSession(ctx, s.Secret)
				return err
			})
			if !errors.Is(err, identity.ErrRevoked) {
				t.Errorf("another server lets it in after its passkey ended: %v", err)
			}
		} else {
			_, err := h.Admin.RevokeCredential(ctx, h.Local, c.Lineage)
			h.Must(err)
		}
		if err := alive(s); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("after its passkey ended: %v", err)
		}
		if _, err := h.Identity.Authenticate(ctx, key); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("a key made through it, after its passkey ended: %v", err)
		}
		if _, err := h.signIn(nina); !errors.Is(err, identity.ErrNoPasskey) {
			t.Errorf("the passkey, after it ended: %v", err)
		}
	})
}

// Sessions that ended a week ago leave the database and the rights that the log says; their
// numbers are not given again, and what may still be used stays.
func TestSessionsThatEndedAreRemoved(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	nina, s := h.join(h.code("nina", map[string]string{"gucci": access.SupportAgent}))
	last := h.caller(s)
	for range 3 {
		last = h.caller(h.again(nina))
	}
	h.Later(9 * 24 * time.Hour)
	s = h.again(nina)
	list, err := h.Identity.Credentials(ctx, last.Principal)
	h.Must(err)
	if len(list) != 2 || list[1].ID != s.Session || s.Session <= last.Session {
		t.Errorf("%d credentials after the last was %d: %+v", len(list), last.Session, list)
	}
	h.Restart()
	h.Must(h.SignIn.Use(signin.Config{URLs: []string{origin}}))
	if got := h.caller(s); got.Session != s.Session {
		t.Errorf("after a restart it is %+v", got)
	}
	h.again(nina)
}

// Who writes the database signs nobody in: neither by a row of a session, nor by a longer one,
// a public key of their own, or a used code.
func TestRowsOfTheDatabaseSignNobodyIn(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	nina, s := h.join(h.code("nina", map[string]string{"gucci": access.SupportAgent}))
	omar, o := h.join(h.code("omar", map[string]string{"gucci": access.SupportAgent}))
	lineage := h.caller(o).Lineage
	void := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, rights.ErrVoid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	session := func(s *signin.Signed) error {
		_, err := h.Identity.AuthenticateSession(ctx, s.Secret)
		return err
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if n, err := h.DB.Exec(ctx, sql, args...); err != nil || n == 0 {
			t.Fatalf("%s: %d rows, %v", sql, n, err)
		}
	}
	exec(`UPDATE sessions SET idle = idle * 1000 WHERE credential = $1`, int64(s.Session))
	void("a session that may rest for longer", session(s))
	exec(`UPDATE sessions SET idle = idle / 1000 WHERE credential = $1`, int64(s.Session))
	h.Must(session(s))
	exec(`DELETE FROM sessions WHERE credential = $1`, int64(s.Session))
	if err := session(s); err == nil {
		t.Error("a session without its row")
	}
	exec(`UPDATE credentials SET expires = 0 WHERE id = $1`, int64(o.Session))
	void("a session without an end", session(o))
	exec(`UPDATE passkeys SET record = (SELECT min(record) FROM passkeys WHERE credential <> $1) WHERE credential = $1`, int64(lineage))
	_, err := h.signIn(omar)
	void("a public key from elsewhere", err)
	_, err = h.signIn(nina)
	h.Must(err)
}

// An act that a stolen session must not do waits for the passkey: for that act, of that
// session, once asked and five minutes young.
func TestAStolenSessionDoesNotDecide(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	everywhere := map[string]string{"gucci": access.IncidentResponder, "balenciaga": access.IncidentResponder}
	rosa, _ := h.join(h.code("rosa", everywhere))
	ines, _ := h.join(h.code("ines", everywhere))
	adam, _ := h.join(h.code("adam", map[string]string{"group": access.Administrator}))
	h.Person("sleeper", map[string]string{"gucci": access.Marketing})
	h.Later(change.Seasoned + time.Hour)
	c, admin, second := h.caller(h.again(rosa)), h.caller(h.again(adam)), h.caller(h.again(ines))
	rules, err := h.Admin.Rules(ctx, admin, "gucci")
	h.Must(err)
	_, err = h.Admin.SetRole(ctx, admin, "sleeper", "gucci", access.DataProtectionOfficer)
	var waits *change.PendingError
	if !errors.As(err, &waits) {
		t.Fatalf("a wider role by one hand: %v", err)
	}
	thief, err := h.Admin.ConnectApp(ctx, second, api.CredentialRequest{Label: "thief"})
	h.Must(err)
	key, err := identity.ParseKey(thief.Key)
	h.Must(err)
	byKey, err := h.Identity.Authenticate(ctx, key)
	h.Must(err)
	acts := []struct {
		what string
		who  identity.Caller
		a    *signintest.Authenticator
		do   func(ctx context.Context, c identity.Caller) error
	}{
		{"contain", c, rosa, func(ctx context.Context, c identity.Caller) error {
			_, err := h.Contain.Contain(ctx, c, "gucci", api.ContainRequest{Principal: "sleeper"})
			return err
		}},
		{"a policy", admin, adam, func(ctx context.Context, c identity.Caller) error {
			_, err := h.Admin.ApplyPolicy(ctx, c, "gucci", api.Policy{Text: access.DefaultText()}, true)
			return err
		}},
		{"budgets", admin, adam, func(ctx context.Context, c identity.Caller) error {
			_, err := h.Admin.SetRules(ctx, c, "gucci", api.BudgetRules{Rules: rules.Rules}, true)
			return err
		}},
		{"an approval", second, ines, func(ctx context.Context, c identity.Caller) error {
			_, err := h.Changes.Approve(ctx, c, waits.ID)
			return err
		}},
	}
	for _, x := range acts {
		err := x.do(ctx, x.who)
		var absent *door.AbsentError
		if !errors.As(err, &absent) {
			t.Errorf("%s by a session alone: %v", x.what, err)
			continue
		}
		// A proof of another act, of another session of the same person, and an old one.
		again := h.again(x.a)
		for what, proof := range map[string]string{
			"of another act":     h.proof(x.a, x.who, absent.Act+" more"),
			"of another session": h.proof(x.a, h.caller(again), absent.Act),
			"of nothing":         "proof",
		} {
			if err := x.do(door.WithProof(ctx, proof), x.who); !errors.As(err, new(*door.AbsentError)) {
				t.Errorf("%s with a proof %s: %v", x.what, what, err)
			}
		}
		old := h.proof(x.a, x.who, absent.Act)
		h.Later(signin.PresenceValid + time.Second)
		if err := x.do(door.WithProof(ctx, old), x.who); !errors.As(err, new(*door.AbsentError)) {
			t.Errorf("%s with an old proof: %v", x.what, err)
		}
		if x.what == "an approval" {
			if err := x.do(door.WithProof(ctx, h.proof(x.a, x.who, absent.Act)), byKey); !errors.As(err, new(*door.AbsentError)) {
				t.Errorf("%s by a key that was made through the session: %v", x.what, err)
			}
		}
		if err := x.do(door.WithProof(ctx, h.proof(x.a, x.who, absent.Act)), x.who); err != nil && !errors.As(err, new(*change.PendingError)) {
			t.Errorf("%s with the passkey: %v", x.what, err)
		}
	}
	if _, err := h.SignIn.BeginAnother(ctx, c); !errors.As(err, new(*door.AbsentError)) {
		t.Errorf("another passkey by a session alone: %v", err)
	}
	if _, err := h.SignIn.MakeRecovery(ctx, c); !errors.As(err, new(*door.AbsentError)) {
		t.Errorf("recovery codes by a session alone: %v", err)
	}
}

// A recovery code lets its holder register another passkey, once, and everybody is told. It
// gives nobody the age that a second person has to have.
func TestARecoveryCodeWorksOnce(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	_, s := h.join(h.code("adam", map[string]string{"group": access.Administrator}))
	code := s.Recovery[3]
	h.Later(48 * time.Hour)
	step, err := h.SignIn.BeginRecovery(ctx, strings.ToUpper(code[:9]+" - "+code[9:]), "192.0.2.1/32")
	h.Must(err)
	if step.Name != "adam" {
		t.Errorf("it is of %q", step.Name)
	}
	from := h.Size("group")
	phone := signintest.New(t, origin)
	again, err := h.SignIn.Register(ctx, identity.Caller{}, step.Ticket, "phone", phone.Create(step.Options))
	h.Must(err)
	if len(again.Recovery) != identity.RecoveryCodes || slices.Contains(again.Recovery, code) {
		t.Error("no new codes")
	}
	if log := strings.Join(h.Logged("group", from), "\n"); !strings.Contains(log, "by=recovery change=passkey-create principal=adam recovery=true") {
		t.Errorf("the log says %s", log)
	}
	keyed, err := h.Identity.Keyed(ctx, h.caller(again).Credential)
	if now, _ := h.DB.Now(ctx); err != nil || now.Sub(keyed) > time.Hour {
		t.Errorf("a key since %v: %v", keyed, err)
	}
	for _, used := range s.Recovery { // the used one, and those that were replaced
		if _, err := h.SignIn.BeginRecovery(ctx, used, "192.0.2.1/32"); !errors.Is(err, identity.ErrRecovery) && !errors.Is(err, signin.ErrSlow) {
			t.Errorf("an old code: %v", err)
		}
	}
	// The same ticket twice.
	if _, err := h.SignIn.Register(ctx, identity.Caller{}, step.Ticket, "", signintest.New(t, origin).Create(step.Options)); err == nil {
		t.Error("a ticket of a registration works twice")
	}
}

// Wrong codes make the next wrong ones slower, for the network they come from and for that
// code: its holder is let in from elsewhere, and neighbours with other codes from there.
func TestASlowDownKeepsNobodyElseOut(t *testing.T) {
	t.Parallel()
	h, ctx := open(t, apptest.Open(t)), t.Context()
	_, nina := h.join(h.code("nina", map[string]string{"gucci": access.SupportAgent}))
	_, omar := h.join(h.code("omar", map[string]string{"gucci": access.SupportAgent}))
	code := nina.Recovery[0]
	guess := code[:14] + strings.Repeat("a", len(code)-14)
	slow := false
	for range 10 {
		_, err := h.SignIn.BeginRecovery(ctx, guess, "192.0.2.1/32")
		slow = slow || errors.Is(err, signin.ErrSlow)
		if !errors.Is(err, signin.ErrSlow) && !errors.Is(err, identity.ErrRecovery) {
			t.Fatalf("a guess: %v", err)
		}
	}
	if !slow {
		t.Error("ten guesses were as fast as one")
	}
	if _, err := h.SignIn.BeginRecovery(ctx, code, "198.51.100.7/32"); err != nil {
		t.Errorf("the holder is kept out: %v", err)
	}
	if _, err := h.SignIn.BeginRecovery(ctx, omar.Recovery[0], "192.0.2.1/32"); err != nil {
		t.Errorf("a neighbour is kept out: %v", err)
	}
	h.Later(2 * time.Minute)
	if _, err := h.SignIn.BeginRecovery(ctx, code, "192.0.2.1/32"); err != nil {
		t.Errorf("two minutes later: %v", err)
	}
}

// Passkeys are bound to a host name: without one, or with an address that is none, there are
// no passkeys.
func TestPasskeysNeedAnAddress(t *testing.T) {
	t.Parallel()
	h := apptest.Open(t)
	if _, err := h.SignIn.BeginSignIn(t.Context()); !errors.Is(err, signin.ErrOff) {
		t.Errorf("without an address: %v", err)
	}
	for _, bad := range [][]string{
		{"vault.example.com"}, {"http://vault.example.com"}, {"https://vault.example.com/console"}, {"https://u:p@vault.example.com"},
		{"https://vault.example.com", "https://other.example.com"}, {"https://192.0.2.1"}, {"ftp://vault.example.com"},
	} {
		if err := h.SignIn.Use(signin.Config{URLs: bad}); !errors.Is(err, signin.ErrURL) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	h.Must(h.SignIn.Use(signin.Config{URLs: []string{"http://localhost:7460", "https://localhost:8443"}}))
}
