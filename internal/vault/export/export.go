// Package export is the one way to take many customers at once: somebody asks, another
// person approves, and whoever asked downloads files that only the named recipient can
// read.
//
// # What is approved
//
// The customers are fixed when an export is asked for: tokens are, and a filter is
// evaluated once, over those who were there then. The list is kept sealed, its digest is
// in the log, and what is approved is that list. Who came later never leaves with it;
// who was erased since is left out.
//
// # What leaves
//
// An export is cut into parts of [PartCustomers] customers, in an order that says
// nothing, and each part into files, one of customers and one of purchases. Each file is
// encrypted to the recipient by itself (age). Before the first byte of a file leaves,
// one entry of class export names all its customers, and decides the budgets. So a
// download that broke off goes on with the file that is missing; a file that is fetched
// again is logged again and costs no budget.
//
// # Who
//
// Neither the principal nor any credential of the lineage that asked may approve. Only
// the lineage that asked downloads: it dies with it.
package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Limits and defaults of an export.
const (
	// PartCustomers is how many customers a part has: few enough that their sealed
	// records fit in memory, many enough that the log has some bytes for each.
	PartCustomers = 5000
	// MaxCustomers bounds an export.
	MaxCustomers = 1_000_000
	// MinExtract is the fewest customers of an extract: of a list of one the pseudonym
	// would say who it is.
	MinExtract = 10
	// DefaultValid is how long an export can be approved and downloaded.
	DefaultValid = 72 * time.Hour
	// MaxValid bounds what may be asked for.
	MaxValid = 30 * 24 * time.Hour
	// MaxOpen bounds the exports of a lineage that are not ended.
	MaxOpen = 20
	// MaxFilters bounds the filters that a lineage has evaluated within a day: from many
	// counts of filters that differ a little, single customers could be told.
	MaxFilters = 20
	// countStep is to what the count of a filter is rounded up until a second person has
	// approved the export, so that one customer more or less does not show.
	countStep = 10
	// gatherCustomers is how many customers one step of a filter looks at.
	gatherCustomers = 20_000
)

var (
	// ErrRequest is joined to errors that the request itself is to blame for.
	ErrRequest = fault.New(fault.Invalid, "invalid export request")
	// ErrNoExport is returned for an id that names none, or one that the caller may not see.
	ErrNoExport = fault.New(fault.NotFound, "no such export")
	// ErrOwn is returned where the one who asked would approve.
	ErrOwn = fault.New(fault.Denied, "the requester of an export cannot approve or refuse it, with any credential: ask another person; `cloakroom export stop` withdraws it")
	// ErrNotYours is returned for a download by another lineage.
	ErrNotYours = fault.New(fault.Denied, "only the credential that requested an export, or one made through it, can download it: request your own")
	// ErrExpired is returned after an export's time.
	ErrExpired = fault.New(fault.Conflict, "the export has expired: request it again")
	// ErrState is returned for what an export's state does not allow.
	ErrState = fault.New(fault.Conflict, "the state of the export does not allow this")
	// ErrFilters is returned for too many filters of one lineage within a day.
	ErrFilters = fault.Newf(fault.Conflict, "a credential has up to %d filters evaluated within 24 hours: wait, or ask for an export by tokens", MaxFilters)
	// ErrTooMany is returned for too many open exports of one lineage.
	ErrTooMany = fault.Newf(fault.Conflict, "a credential has up to %d exports open: stop some, or wait until they expire", MaxOpen)
)

// The reasons of refusals in the log.
const (
	reasonOwn      = "export-own"
	reasonNotYours = "export-of-another"
	reasonExpired  = "export-expired"
)

// Marker gives canaries to one export, by which its file is known again.
type Marker interface {
	// ForExport returns up to n canaries that no other export has.
	ForExport(ctx context.Context, brand record.BrandID, export string, n int) ([]record.Ordinal, error)
}

// Canaries knows which customers are canaries: filters leave them out.
type Canaries interface {
	// Refresh reads anew which they are.
	Refresh(ctx context.Context, brand record.BrandID) error
	Contains(brand record.BrandID, ord record.Ordinal) bool
}

// Desk takes requests for exports, decisions about them, and hands out their files.
type Desk struct {
	Door     *door.Door
	Ledger   *ledger.Ledger
	Seal     *seal.Store
	Disclose *disclose.Desk
	DB       *db.DB
	Store    *Store
	// Second says who may approve what another asked for.
	Second   *change.Desk
	Marker   Marker   // may be nil
	Canaries Canaries // may be nil

	mu     sync.Mutex
	orders map[string][]record.Ordinal // of exports downloaded lately; owned by order
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

// authorize asks the policy for fields in a form. Masked values leave by the right that
// clear ones do, and show less.
func authorize(ctx context.Context, v *door.Visit, form, purpose string, fields record.FieldSet) (access.Grant, error) {
	if form == formExtract {
		return v.Authorize(ctx, access.ActExtract, purpose, fields)
	}
	g, err := v.Authorize(ctx, access.ActExport, purpose, fields)
	if err == nil && form == formMasked {
		g, err = v.Authorize(ctx, access.ActMasked, purpose, fields)
	}
	return g, err
}

// facts is what every step of an export says in its entry.
func (x *Export) facts() entry.ExportFacts {
	out := entry.ExportFacts{Export: x.ID, Customers: x.Customers}
	if len(x.Cohort) > 0 {
		out.Cohort = x.digest()
	}
	return out
}

// digest names the frozen list. It is of what is sealed: of the list itself, it could be
// tried.
func (x *Export) digest() string {
	h := sha256.Sum256(x.Cohort)
	return hex.EncodeToString(h[:])
}

func (x *Export) event(v *door.Visit, detail entry.Detail) ledger.Event {
	return ledger.Event{Kind: entry.KindExport, Who: v.Who, Purpose: x.Purpose, Ticket: x.Ticket, Fields: x.Fields, Detail: detail}
}

func (d *Desk) record(ctx context.Context, v *door.Visit, x *Export, detail entry.Detail) (ledger.Receipt, error) {
	return d.Ledger.Record(ctx, x.event(v, detail))
}

// change logs a step of an export and makes it, in one transaction.
func (d *Desk) change(ctx context.Context, v *door.Visit, x *Export, detail entry.Detail, fn func(q db.Queryer, at time.Time) error) error {
	_, _, err := d.Ledger.Change(ctx, x.event(v, detail), fn)
	return err
}

// errOvertaken ends a change that another request made before.
var errOvertaken = fmt.Errorf("%w: another request changed the export concurrently", ErrState)

// live refuses an export that is over, and says in the log that its time ended when
// somebody first comes too late.
func (d *Desk) live(ctx context.Context, v *door.Visit, x *Export) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if !now.Before(x.Expires) && x.State.open() {
		v.Refuse(ctx, reasonExpired)
		err := d.change(ctx, v, x, entry.ExportExpired{ExportFacts: x.facts()}, func(q db.Queryer, _ time.Time) error {
			n, err := d.Store.move(ctx, q, x, Expired, 0, now)
			if err == nil && n == 0 {
				err = errOvertaken
			}
			return err
		})
		if err != nil && !errors.Is(err, errOvertaken) {
			return err
		}
		return ErrExpired
	}
	if x.State == Expired {
		return ErrExpired
	}
	return nil
}

// Approve lets an export leave; Refuse does not. Both are by somebody else.
func (d *Desk) Approve(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	return d.decide(ctx, c, brand, id, Approved)
}

// Refuse ends an export that was asked for.
func (d *Desk) Refuse(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	return d.decide(ctx, c, brand, id, Refused)
}

func (d *Desk) decide(ctx context.Context, c identity.Caller, brand, id string, to State) (*api.Export, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActApprove)
	if err != nil {
		return nil, err
	}
	x, err := d.Store.get(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if x.Who.Principal == v.Who.Principal || x.Who.Lineage == v.Who.Lineage {
		v.Refuse(ctx, reasonOwn)
		return nil, ErrOwn
	}
	if to == Approved {
		if err := d.Door.Present(ctx, v.Who.Caller, "export-approve", brand, id); err != nil {
			return nil, err
		}
		if err := d.Second.Second(ctx, v, x.Who.Principal, x.Who.Lineage, x.Created); err != nil {
			return nil, err
		}
	}
	if err := d.live(ctx, v, x); err != nil {
		return nil, err
	}
	if x.State != Requested {
		return nil, fmt.Errorf("%w: the export is already %s", ErrState, x.State)
	}
	var detail entry.Detail = entry.ExportRefused{ExportFacts: x.facts()}
	if to == Approved {
		detail = entry.ExportApproved{ExportFacts: x.facts()}
	}
	var canaries []byte
	if to == Approved && d.Marker != nil {
		if canaries, err = d.canaries(ctx, x); err != nil {
			return nil, err
		}
	}
	err = d.change(ctx, v, x, detail, func(q db.Queryer, at time.Time) error {
		n, err := d.Store.decide(ctx, q, x, to, canaries, v.Who.Principal, at)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: another request decided or stopped the export concurrently", ErrState)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.Show(ctx, c, brand, id)
}

// canaryEvery is for how many customers there is a canary, and canariesLeast and canariesMost
// how many there are in any case: enough that a piece of a file has one.
const (
	canaryEvery   = 1000
	canariesLeast = 3
	canariesMost  = 100
)

func (d *Desk) canaries(ctx context.Context, x *Export) ([]byte, error) {
	n := min(max(x.Customers/canaryEvery, canariesLeast), canariesMost)
	ords, err := d.Marker.ForExport(ctx, x.Brand, x.ID, n)
	if err != nil {
		return nil, fmt.Errorf("making the export's canaries: %w", err)
	}
	if len(ords) == 0 {
		return nil, nil
	}
	slices.Sort(ords)
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	return own.Seal(sealedCanaries, entry.EncodeSubjects(ords))
}

// Stop ends an export for whoever asked for it, and for those who approve or contain.
func (d *Desk) Stop(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	v, err := d.Door.Enter(ctx, c, brand) // also while exports are contained
	if err != nil {
		return nil, err
	}
	x, err := d.Store.get(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if x.Who.Principal != v.Who.Principal && !d.may(v, access.ActApprove) {
		if _, err := v.Authorize(ctx, access.ActContain, "", 0); err != nil {
			return nil, err
		}
	}
	if !x.State.open() {
		return nil, fmt.Errorf("%w: the export is already %s", ErrState, x.State)
	}
	err = d.change(ctx, v, x, entry.ExportStopped{ExportFacts: x.facts()}, func(q db.Queryer, at time.Time) error {
		return d.Store.stop(ctx, q, x, v.Who.Principal, at)
	})
	if err == nil {
		err = d.Ledger.Fence(ctx, x.Brand)
	}
	if err != nil {
		return nil, err
	}
	return d.Show(ctx, c, brand, id)
}

func (d *Desk) may(v *door.Visit, a access.Action) bool {
	_, err := v.Policy.Authorize(v.Who, a, "", 0)
	return err == nil
}

// sees reports whether a visitor may see an export: whoever asked for it, and those who
// approve or audit.
func (d *Desk) sees(v *door.Visit, x *Export) bool {
	return x.Who.Principal == v.Who.Principal || d.may(v, access.ActApprove) || d.may(v, access.ActAudit)
}

// find returns an export, and ErrNoExport also for one that the visitor may not see.
func (d *Desk) find(ctx context.Context, v *door.Visit, id string) (*Export, error) {
	x, err := d.Store.get(ctx, v.Brand.ID, id)
	if err == nil && !d.sees(v, x) {
		err = ErrNoExport
	}
	return x, err
}

// own returns an export that is not over to the lineage that asked for it.
func (d *Desk) own(ctx context.Context, c identity.Caller, brand, id string) (*door.Visit, *Export, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, nil, err
	}
	x, err := d.find(ctx, v, id)
	if err != nil {
		return nil, nil, err
	}
	if x.Who.Lineage != v.Who.Lineage {
		v.Refuse(ctx, reasonNotYours)
		return nil, nil, ErrNotYours
	}
	return v, x, d.live(ctx, v, x)
}

// approved returns an export whose files may leave, to the lineage that asked for it.
func (d *Desk) approved(ctx context.Context, c identity.Caller, brand, id string) (*door.Visit, *Export, error) {
	v, x, err := d.own(ctx, c, brand, id)
	if err == nil && x.State != Approved {
		err = fmt.Errorf("%w: the export is %s, not approved", ErrState, x.State)
	}
	return v, x, err
}
