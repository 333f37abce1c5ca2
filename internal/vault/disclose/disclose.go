// Package disclose is the one way to a customer's data. Console, API, command, exports
// and mail all come here: nobody else has an opened customer in hand.
//
// The way is a staircase. Each step takes the value that only the step before can make:
//
//	access.Grant    the policy: may they, for this purpose, which fields, at which mask
//	ledger.Hold     the budgets: refused early where there is no room
//	ledger.Receipt  decided and logged, durably, in one transaction
//	seal.Profile    opened: the customers and fields that the receipt covers
//	api.Customer    shown, each field as the grant allows
//
// The rows are read, and customers' own keys unwrapped, before the log and not after it:
// the entry carries a commitment for each customer, made with a key that derives from
// theirs. So this process holds the keys of customers whose release is then refused.
// Their records stay closed; those open with the receipt.
package disclose

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

var (
	// ErrOtherBrand is returned for a token of another brand: the whole request fails.
	ErrOtherBrand = fault.Typed(fault.Denied, api.TypeOtherBrand, "this token belongs to another brand: send one request per brand")
	// ErrField is returned for a field that there is not.
	ErrField = fault.New(fault.Invalid, "among the fields asked for")
)

// Desk discloses.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
	Seal   *seal.Store
}

// Reveal shows fields of customers in clear: all that is asked for, or nothing.
func (d *Desk) Reveal(ctx context.Context, c identity.Caller, brand string, req api.RevealRequest) (*api.Disclosed, error) {
	fields, err := record.ParseFields(req.Fields)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrField, err)
	}
	v, err := d.enter(ctx, c, brand, req.Purpose, req.Ticket)
	if err != nil {
		return nil, err
	}
	g, err := v.Authorize(ctx, access.ActClear, req.Purpose, fields)
	if err != nil {
		return nil, err
	}
	ords, err := d.Resolve(ctx, v, req.Tokens)
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.Fetch(ctx, v.Brand.ID, ords, g.Fields())
	if err != nil {
		return nil, err
	}
	out, err := d.release(ctx, v, u, ledger.Release{Grant: g, Class: budget.Clear, Ticket: req.Ticket})
	if err != nil {
		return nil, err
	}
	return inOrder(out, u.Ords(), ords, req.Tokens), nil
}

// View shows one customer masked, as far as the caller may see.
func (d *Desk) View(ctx context.Context, c identity.Caller, brand, token, purpose, ticket string, fields record.FieldSet) (*api.Disclosed, error) {
	v, err := d.enter(ctx, c, brand, purpose, ticket)
	if err != nil {
		return nil, err
	}
	g, err := v.View(ctx, purpose, fields)
	if err != nil {
		return nil, err
	}
	ords, err := d.Resolve(ctx, v, []string{token})
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.Fetch(ctx, v.Brand.ID, ords, g.Fields())
	if err != nil {
		return nil, err
	}
	out, err := d.release(ctx, v, u, ledger.Release{Grant: g, Class: budget.Masked, Ticket: ticket})
	if err != nil {
		return nil, err
	}
	return inOrder(out, u.Ords(), ords, []string{token}), nil
}

// Search shows those who have a value, masked. One that finds nobody is logged, and
// counted against the search budget, as one that finds a customer: so whoever tries
// addresses from a list is stopped as early as whoever takes customers.
//
// The budget must have room for one before anything is looked up, so that a caller whose
// budget is exhausted is refused alike whoever has the value, and learns nothing by trying.
func (d *Desk) Search(ctx context.Context, c identity.Caller, brand string, req api.SearchRequest) (*api.Disclosed, error) {
	by, err := record.ParseField(req.By)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrField, err)
	}
	v, err := d.enter(ctx, c, brand, req.Purpose, req.Ticket)
	if err != nil {
		return nil, err
	}
	if _, err := v.Authorize(ctx, access.ActSearch, req.Purpose, record.Fields(by)); err != nil {
		return nil, err
	}
	g, err := v.View(ctx, req.Purpose, record.AllFields)
	if err != nil {
		return nil, err
	}
	nobody, err := d.Ledger.Hold(ctx, ledger.Release{Grant: g, Class: budget.Search, Ticket: req.Ticket, Absent: true,
		Detail: entry.Search{By: by.String(), Found: "nobody"}})
	if err != nil {
		return nil, err
	}
	ords, err := d.Seal.Lookup(ctx, v.Brand.ID, by, req.Value, req.Country)
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.There(ctx, v.Brand.ID, ords, g.Fields()) // an index can outlive an erasure
	if err != nil {
		return nil, err
	}
	if err := u.Confirm(by, req.Value, req.Country); err != nil {
		return nil, err
	}
	if len(u.Ords()) == 0 {
		// The log keeps nothing of the value that was searched for, so the same search
		// costs again.
		r, err := d.Ledger.Append(ctx, nobody, nil)
		if err != nil {
			return nil, err
		}
		return &api.Disclosed{Receipt: receipt(v, r), Customers: []api.Customer{}}, nil
	}
	out, err := d.release(ctx, v, u, ledger.Release{Grant: g, Class: budget.Search, Ticket: req.Ticket, Detail: entry.Search{By: by.String()}, Rows: 1})
	if ledger.Refused(err) {
		// Several have the value, and there is not room for all: the refusal tells that
		// somebody has it, and costs as much as a search that finds nobody.
		if _, err := d.Ledger.Append(ctx, nobody, nil); err != nil {
			return nil, err
		}
	}
	return out, err
}

func (d *Desk) enter(ctx context.Context, c identity.Caller, brand, purpose, ticket string) (*door.Visit, error) {
	if err := door.Ticket(ticket); err != nil {
		return nil, err
	}
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if err := v.Ticket(ticket); err != nil {
		return nil, err
	}
	return v, v.Purpose(ctx, purpose)
}

// Resolve returns the ordinals that tokens of the visited brand stand for. It is a
// fence, not a filter: one token of another brand fails all, and is logged.
func (d *Desk) Resolve(ctx context.Context, v *door.Visit, tokens []string) ([]record.Ordinal, error) {
	ords, err := d.Seal.Resolve(ctx, v.Brand.ID, tokens)
	var unknown *seal.TokenError
	if !errors.As(err, &unknown) {
		return ords, err
	}
	all, lerr := d.Door.Brands.List(ctx)
	if lerr != nil {
		return nil, lerr
	}
	for _, b := range all {
		if b.ID == v.Brand.ID {
			continue
		}
		if _, rerr := d.Seal.Resolve(ctx, b.ID, tokens[unknown.Index:unknown.Index+1]); rerr == nil {
			v.Refuse(ctx, "other-brand")
			return nil, fmt.Errorf("token %d: %w", unknown.Index+1, ErrOtherBrand)
		}
	}
	v.Refuse(ctx, "unknown-token")
	return nil, err
}

// Released are customers whose release is logged and who are not opened yet.
type Released struct {
	store   *seal.Store
	receipt ledger.Receipt
	grant   access.Grant
	extract *seal.Extract
}

// Release is the staircase up to the receipt: the budgets' hold, then the log. The
// export is the one whose pseudonyms stand for customers in an extract, else nil.
func (d *Desk) Release(ctx context.Context, u *seal.Unopened, export *seal.Extract, rel ledger.Release) (*Released, error) {
	rel.Ords = u.Ords()
	hold, err := d.Ledger.Hold(ctx, rel)
	if err != nil {
		return nil, err
	}
	r, err := d.Ledger.Append(ctx, hold, u.Commitment(rel.Grant.Fields()))
	if err != nil {
		return nil, err
	}
	return &Released{d.Seal, r, rel.Grant, export}, nil
}

// Open is the rest: it opens customers of the release, all or some, and shows each as the
// grant allows.
func (r *Released) Open(ctx context.Context, u *seal.Unopened) ([]api.Customer, error) {
	profiles, err := r.store.Open(ctx, opener.Allow(), r.receipt, u)
	if err != nil {
		return nil, err
	}
	out := make([]api.Customer, len(profiles))
	for i := range profiles {
		out[i] = r.show(&profiles[i])
	}
	return out, nil
}

func (d *Desk) release(ctx context.Context, v *door.Visit, u *seal.Unopened, rel ledger.Release) (*api.Disclosed, error) {
	r, err := d.Release(ctx, u, nil, rel)
	if err != nil {
		return nil, err
	}
	customers, err := r.Open(ctx, u)
	if err != nil {
		return nil, err
	}
	return &api.Disclosed{Receipt: receipt(v, r.receipt), Customers: customers}, nil
}

func receipt(v *door.Visit, r ledger.Receipt) *api.Receipt {
	return &api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}
}

// inOrder gives the customers in the order in which they were asked for, each with the
// token that it was asked for with: a token from before a rotation still stands for its
// customer, and the caller knows no other.
func inOrder(out *api.Disclosed, have, want []record.Ordinal, tokens []string) *api.Disclosed {
	sorted := out.Customers
	out.Customers = make([]api.Customer, len(want))
	for i, ord := range want {
		j, _ := slices.BinarySearch(have, ord)
		out.Customers[i] = sorted[j]
		out.Customers[i].Token = tokens[i]
	}
	return out
}

// Resume returns a release that was logged before, so that what waited leaves under its
// entry: where the policy still allows its requester the same. Customers who are
// erased since are not opened: see [seal.Store.There].
func (d *Desk) Resume(ctx context.Context, g access.Grant, entryIndex uint64) (*Released, entry.Entry, error) {
	r, e, err := d.Ledger.Released(ctx, g.Who().Brand, entryIndex)
	if err != nil {
		return nil, e, err
	}
	if !g.Valid() || e.Fields&^g.Fields() != 0 || e.Purpose != g.Purpose() {
		return nil, e, ledger.ErrNotLogged
	}
	return &Released{d.Seal, r, g, nil}, e, nil
}

// Entry is the index of the entry that says so.
func (r *Released) Entry() uint64 { return r.receipt.Entry() }

// CheckpointSize is the size of the first checkpoint that includes the entry.
func (r *Released) CheckpointSize() uint64 { return r.receipt.CheckpointSize() }
