// Package apptest opens a real vault within a test of one of its packages: embedded
// database, sealing, policy, budgets and log, without a server before it. Tests of the
// API use package cloakroomtest.
package apptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// House is an open vault with the brands gucci and balenciaga.
type House struct {
	*app.Vault
	// Local is the local administrator.
	Local identity.Caller
	// Dir is the data directory.
	Dir   string
	t     testing.TB
	ahead atomic.Int64 // of the machine's clock, in nanoseconds
	// second are the people of TwoPeople.
	second [2]identity.Caller
	opts   app.Options
}

// Open opens a vault until the test ends.
func Open(t testing.TB) *House {
	t.Helper()
	return open(t, "")
}

// OpenAt opens a vault until the test ends, on a database; empty is the embedded one.
func OpenAt(t testing.TB, dsn string) *House {
	t.Helper()
	return open(t, dsn)
}

// Each runs a test on a vault of each engine.
func Each(t *testing.T, test func(t *testing.T, h *House)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, dbtest.VaultDSN(t))) })
}

func open(t testing.TB, dsn string) *House {
	t.Helper()
	h := &House{t: t, Dir: t.TempDir()}
	// Each refusal is logged by itself, so that a test sees it at once.
	h.opts = app.Options{Database: dsn, Ledger: ledger.Options{RefusalWindow: -1}, DB: db.Options{Clock: h.now}}
	var err error
	h.Vault, err = app.Open(t.Context(), h.Dir, h.opts)
	h.Must(err)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	h.Local, err = h.Identity.EnsureLocal(t.Context(), access.Administrator)
	h.Must(err)
	for _, b := range []string{"gucci", "balenciaga"} {
		_, err := h.Admin.CreateBrand(t.Context(), h.Local, api.Brand{Name: b})
		h.Must(err)
	}
	return h
}

// Restart closes the vault and opens it again.
func (h *House) Restart() {
	h.t.Helper()
	h.Must(h.Close())
	v, err := app.Open(h.t.Context(), h.Dir, h.opts)
	h.Must(err)
	h.Vault = v
}

// Cut cuts the vault off from its database, as a kill does, and opens it again. What was in
// flight commits nothing more.
func (h *House) Cut(inFlight <-chan error) {
	h.t.Helper()
	_ = h.DB.Close() // the files stay as they are
	<-inFlight
	_ = h.Close() // what it would have written, it cannot
	v, err := app.Open(h.t.Context(), h.Dir, h.opts)
	h.Must(err)
	h.Vault = v
}

// Beside opens the vault a second time, as another server does, until the test ends.
func (h *House) Beside() *app.Vault {
	h.t.Helper()
	v, err := app.Open(h.t.Context(), h.Dir, h.opts)
	h.Must(err)
	h.t.Cleanup(func() {
		if err := v.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return v
}

func (h *House) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

// Later moves the vault's clock forward.
func (h *House) Later(d time.Duration) { h.ahead.Add(int64(d)) }

// TwoPeople ends the time in which one hand acts alone: it makes a data protection officer
// and an incident responder at every brand, and moves the clock on until they may be
// second.
func (h *House) TwoPeople() (officer, responder identity.Caller) {
	h.t.Helper()
	everywhere := func(role string) map[string]string {
		return map[string]string{"gucci": role, "balenciaga": role}
	}
	officer = h.Person("second-officer", everywhere(access.DataProtectionOfficer))
	responder = h.Person("second-responder", everywhere(access.IncidentResponder))
	h.second = [2]identity.Caller{officer, responder}
	h.Later(change.Seasoned + time.Hour)
	alone, err := h.Changes.Alone(h.t.Context())
	h.Must(err)
	if alone {
		h.t.Fatal("two people exist, and one hand still acts alone")
	}
	return officer, responder
}

// Must ends the test at an error.
func (h *House) Must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// Person registers somebody with roles by brand, and returns them with a key.
func (h *House) Person(name string, roles map[string]string) identity.Caller {
	h.t.Helper()
	ctx := h.t.Context()
	_, err := h.Admin.CreatePrincipal(ctx, h.Local, api.Principal{Name: name, Kind: "person", Roles: roles})
	h.Must(err)
	return h.Key(name)
}

// Key makes another key of a principal, and returns the caller who shows it.
func (h *House) Key(name string) identity.Caller {
	h.t.Helper()
	ctx := h.t.Context()
	cr, err := h.Admin.CreateCredential(ctx, h.Local, name, api.CredentialRequest{})
	if errors.Is(err, admin.ErrTheirKey) { // two people exist: by invitation, as their tests approve it
		cr, err = h.invited(name, 0)
	}
	h.Must(err)
	key, err := identity.ParseKey(cr.Key)
	h.Must(err)
	c, err := h.Identity.Authenticate(ctx, key)
	h.Must(err)
	return c
}

// Renewed replaces a key of a principal by an invitation, and returns the caller who shows
// the new one.
func (h *House) Renewed(name string, credential uint64) identity.Caller {
	h.t.Helper()
	cr, err := h.invited(name, credential)
	h.Must(err)
	key, err := identity.ParseKey(cr.Key)
	h.Must(err)
	c, err := h.Identity.Authenticate(h.t.Context(), key)
	h.Must(err)
	return c
}

// invited makes a key of a principal by two people: the local administrator asks, and of
// TwoPeople the one that the key is not for approves.
func (h *House) invited(name string, credential uint64) (*api.Credential, error) {
	h.t.Helper()
	ctx := h.t.Context()
	_, err := h.Admin.Invite(ctx, h.Local, api.InviteRequest{People: []api.Invitee{{Name: name, Credential: credential}}})
	var waits *change.PendingError
	if !errors.As(err, &waits) {
		return nil, err
	}
	second := h.second[0]
	if second.Name == name {
		second = h.second[1]
	}
	x, err := h.Changes.Approve(ctx, second, waits.ID)
	if err != nil {
		return nil, err
	}
	var out api.Invitations
	if err := json.Unmarshal(x.Answer, &out); err != nil {
		return nil, err
	}
	return h.Admin.Redeem(ctx, identity.Caller{}, api.RedeemRequest{Code: out.Codes[0].Code})
}

// Approve approves the change that an act waits as, and returns it.
func (h *House) Approve(err error) *api.Change {
	h.t.Helper()
	var waits *change.PendingError
	if !errors.As(err, &waits) {
		h.t.Fatalf("it does not wait for a second person: %v", err)
	}
	x, err := h.Changes.Approve(h.t.Context(), h.second[0], waits.ID)
	h.Must(err)
	return x
}

// Brand returns the number of a brand.
func (h *House) Brand(name string) record.BrandID {
	h.t.Helper()
	b, err := h.Disclose.Door.Brands.ByName(h.t.Context(), name)
	h.Must(err)
	return b.ID
}

// Put writes customers and returns their tokens.
func (h *House) Put(brand string, customers ...api.Fields) []string {
	h.t.Helper()
	w, err := h.Intake.Put(h.t.Context(), h.Local, brand, api.PutRequest{Customers: customers})
	h.Must(err)
	var tokens []string
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	return tokens
}

// Logged returns the entries of a brand's log from an index on, each in a line such as
// "containment change=contain kind=lineage".
func (h *House) Logged(brand string, from uint64) []string {
	h.t.Helper()
	var lines []string
	h.Must(h.Ledger.Scan(h.t.Context(), h.Brand(brand), from, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		words := []string{e.Kind.String()}
		texts := e.Texts()
		for _, k := range slices.Sorted(maps.Keys(texts)) {
			words = append(words, fmt.Sprintf("%s=%s", k, texts[k]))
		}
		lines = append(lines, strings.Join(words, " "))
		return nil
	}))
	return lines
}

// Size returns how many entries a brand's log has.
func (h *House) Size(brand string) uint64 {
	h.t.Helper()
	n, err := h.Ledger.Size(h.t.Context(), h.Brand(brand))
	h.Must(err)
	return n
}
