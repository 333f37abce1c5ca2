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
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/budget"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/disclose"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/mask"
	"github.com/cloakroom/cloakroom/internal/record"
	"github.com/cloakroom/cloakroom/internal/seal"
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
	// gatherCustomers is how many customers one step of a filter looks at.
	gatherCustomers = 20_000
)

var (
	// ErrRequest is joined to errors that the request itself is to blame for.
	ErrRequest = errors.New("the export cannot be asked for")
	// ErrNoExport is returned for an id that names none, or one that the caller may not see.
	ErrNoExport = errors.New("no such export")
	// ErrOwn is returned where the one who asked would approve.
	ErrOwn = errors.New("whoever asked for an export does not decide on it, by no credential: another person approves or refuses; `cloakroom export stop` withdraws it")
	// ErrNotYours is returned for a download by another lineage.
	ErrNotYours = errors.New("an export is downloaded with the credential that asked for it, or one made through that: ask for your own")
	// ErrExpired is returned after an export's time.
	ErrExpired = errors.New("the export has expired: ask for it again")
	// ErrState is returned for what an export's state does not allow.
	ErrState = errors.New("not in this state of the export")
	// ErrFrozen is returned while a brand's exports are frozen.
	ErrFrozen = errors.New("exports are frozen: nothing is asked for, approved or downloaded until the incident responders let them go on")
	// ErrTooMany is returned for too many open exports of one lineage.
	ErrTooMany = fmt.Errorf("a credential has up to %d exports open: stop some, or wait until they expire", MaxOpen)
)

// The reasons of refusals in the log.
const (
	reasonOwn      = "export-own"
	reasonNotYours = "export-of-another"
	reasonExpired  = "export-expired"
	reasonFrozen   = "exports-frozen"
)

// Decoys makes decoy customers for one export, by which its file is known again.
type Decoys interface {
	// ForExport returns up to n decoys that no other export has.
	ForExport(ctx context.Context, brand record.BrandID, export string, n int) ([]record.Ordinal, error)
}

// Canaries knows which customers are decoys: filters leave them out.
type Canaries interface {
	// Refresh reads anew which they are.
	Refresh(ctx context.Context, brand record.BrandID) error
	Contains(brand record.BrandID, ord record.Ordinal) bool
}

// Desk takes requests for exports, decisions about them, and hands out their files.
type Desk struct {
	Door     *admit.Door
	Ledger   *ledger.Ledger
	Seal     *seal.Store
	Disclose *disclose.Desk
	DB       *db.DB
	Store    *Store
	Decoys   Decoys   // may be nil
	Canaries Canaries // may be nil

	mu     sync.Mutex
	orders map[string][]record.Ordinal // of exports downloaded lately; owned by order
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

// asked is a request that was checked.
type asked struct {
	req    api.ExportRequest
	fields record.FieldSet
	filter *seal.Filter
	valid  time.Duration
}

func check(req api.ExportRequest) (*asked, error) {
	if req.Form == "" {
		req.Form = formExtract
	}
	if req.Format == "" {
		req.Format = formatCSV
	}
	a := &asked{req: req, valid: DefaultValid}
	var err error
	if a.fields, err = record.ParseFields(req.Fields); err != nil {
		return nil, fmt.Errorf("%w: %w", disclose.ErrField, err)
	}
	if more := a.fields &^ mask.Extractable; req.Form == formExtract && more != 0 {
		return nil, bad("an extract has no %s: it has %s", more, mask.Extractable)
	}
	switch {
	case a.fields == 0:
		return nil, bad("name the fields")
	case !slices.Contains([]string{formExtract, formMasked, formClear}, req.Form):
		return nil, bad("the form is extract, masked or clear")
	case !slices.Contains([]string{formatCSV, formatJSONL, formatParquet}, req.Format):
		return nil, bad("the format is csv, jsonl or parquet")
	case len(req.Tokens) > api.MaxExportTokens:
		return nil, bad("at most %d tokens", api.MaxExportTokens)
	case (len(req.Tokens) == 0) == (req.Filter == nil):
		return nil, bad("name the customers by their tokens or by a filter, one of the two")
	}
	if _, err := recipient(req.Recipient); err != nil {
		return nil, err
	}
	if req.ValidFor != "" {
		if a.valid, err = time.ParseDuration(req.ValidFor); err != nil || a.valid <= 0 || a.valid > MaxValid {
			return nil, bad("valid_for is a length of time such as 72h, at most %s", MaxValid)
		}
	}
	if req.Filter != nil {
		a.filter, err = filterOf(req.Filter)
	}
	return a, err
}

func recipient(text string) (age.Recipient, error) {
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(list) != 1 || strings.ContainsAny(text, "\n#") {
		return nil, bad("the recipient is one age public key: `age-keygen` prints one that begins with age1")
	}
	return list[0], nil
}

func filterOf(in *api.ExportFilter) (*seal.Filter, error) {
	f := &seal.Filter{Countries: in.Countries, Regions: in.Regions, CreatedFrom: in.CreatedFrom, CreatedBefore: in.CreatedBefore}
	for _, c := range in.Countries {
		if len(c) != 2 || strings.ToUpper(c) != c {
			return nil, bad("a country is an ISO 3166-1 code such as FR")
		}
	}
	var err error
	for _, day := range []string{in.CreatedFrom, in.CreatedBefore, in.BoughtSince} {
		if day == "" {
			continue
		}
		if f.BoughtSince, err = time.Parse(time.DateOnly, day); err != nil {
			return nil, bad("a day is one such as 2025-05-31")
		}
	}
	if in.BoughtSince == "" {
		f.BoughtSince = time.Time{}
	}
	if in.Sample < 0 || in.Sample > MaxCustomers {
		return nil, bad("a sample has at most %d customers", MaxCustomers)
	}
	return f, nil
}

// authorize asks the policy for fields in a form. Masked values leave by the right that
// clear ones do, and show less.
func authorize(ctx context.Context, v *admit.Visit, form, purpose string, fields record.FieldSet) (access.Grant, error) {
	if form == formExtract {
		return v.Authorize(ctx, access.ActExtract, purpose, fields)
	}
	g, err := v.Authorize(ctx, access.ActExport, purpose, fields)
	if err == nil && form == formMasked {
		g, err = v.Authorize(ctx, access.ActMasked, purpose, fields)
	}
	return g, err
}

func (d *Desk) enter(ctx context.Context, c identity.Caller, brand string) (*admit.Visit, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	frozen, err := d.Store.Frozen(ctx, d.DB, v.Brand.ID)
	if err == nil && frozen {
		v.Refuse(ctx, reasonFrozen)
		err = ErrFrozen
	}
	return v, err
}

// Request asks for an export. With a filter it has to be gathered before it can be
// approved.
func (d *Desk) Request(ctx context.Context, c identity.Caller, brand string, req api.ExportRequest) (*api.Export, error) {
	if !entry.ValidTicket(req.Ticket) {
		return nil, admit.ErrTicket
	}
	a, err := check(req)
	if err != nil {
		return nil, err
	}
	v, err := d.enter(ctx, c, brand)
	if err == nil {
		err = v.Purpose(ctx, req.Purpose)
	}
	if err != nil {
		return nil, err
	}
	fields := a.fields
	if a.filter != nil {
		fields |= a.filter.Fields()
	}
	if _, err := authorize(ctx, v, a.req.Form, req.Purpose, fields); err != nil {
		return nil, err
	}
	var ords []record.Ordinal
	if a.filter == nil {
		if ords, err = d.Disclose.Resolve(ctx, v, req.Tokens); err != nil {
			return nil, err
		}
		slices.Sort(ords)
		ords = slices.Compact(ords)
		if err := enough(a.req.Form, len(ords)); err != nil {
			return nil, err
		}
	}
	x := &Export{
		Brand: v.Brand.ID, ID: "exp-" + strings.ToLower(rand.Text()[:16]), State: Requested, Who: v.Who,
		Form: a.req.Form, Format: a.req.Format, Fields: a.fields, Purpose: req.Purpose, Ticket: req.Ticket, Recipient: a.req.Recipient,
		Customers: len(ords),
	}
	if a.filter != nil {
		x.State = Gathering
	}
	if req.DryRun {
		x.State = DryRun
		return d.shown(ctx, v, x)
	}
	if open, err := d.Store.open(ctx, v.Who.Lineage); err != nil {
		return nil, err
	} else if open >= MaxOpen {
		return nil, ErrTooMany
	}
	if err := d.Seal.EnsureExtracts(ctx, x.Brand); err != nil {
		return nil, err
	}
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	if a.filter != nil {
		x.Filter, err = sealFilter(own, req.Filter)
	} else {
		x.Cohort, err = own.Seal(sealedCohort, entry.EncodeSubjects(ords))
	}
	if err != nil {
		return nil, err
	}
	detail := x.detail("request")
	detail["form"], detail["format"], detail["recipient"] = x.Form, x.Format, x.Recipient
	r, err := d.record(ctx, v, x, detail)
	if err != nil {
		return nil, err
	}
	x.Created, x.Expires = r.At(), r.At().Add(a.valid)
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		if x.State == Gathering {
			next, err := d.Seal.NextOrdinal(ctx, q)
			if err != nil {
				return err
			}
			x.Bound = next
		}
		return d.Store.insert(ctx, q, x)
	})
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, v, x)
}

func enough(form string, n int) error {
	if form == formExtract && n < MinExtract {
		return bad("an extract has at least %d customers: of fewer the pseudonyms would say who it is", MinExtract)
	}
	if n > MaxCustomers {
		return bad("an export has at most %d customers: narrow the filter, or take a sample", MaxCustomers)
	}
	return nil
}

// detail begins what an entry says of an export.
func (x *Export) detail(change string) map[string]string {
	out := map[string]string{"change": change, "export": x.ID, "customers": strconv.Itoa(x.Customers)}
	if len(x.Cohort) > 0 {
		out["cohort"] = x.digest()
	}
	return out
}

// digest names the frozen list. It is of what is sealed: of the list itself, it could be
// tried.
func (x *Export) digest() string {
	h := sha256.Sum256(x.Cohort)
	return hex.EncodeToString(h[:])
}

func (d *Desk) record(ctx context.Context, v *admit.Visit, x *Export, detail map[string]string) (ledger.Receipt, error) {
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindExport, Who: v.Who, Purpose: x.Purpose, Ticket: x.Ticket, Fields: x.Fields, Detail: detail})
}

// live refuses an export that is over, and says in the log that its time ended when
// somebody first comes too late.
func (d *Desk) live(ctx context.Context, v *admit.Visit, x *Export) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if !now.Before(x.Expires) && x.State.open() {
		v.Refuse(ctx, reasonExpired)
		if _, err := d.record(ctx, v, x, x.detail("expire")); err != nil {
			return err
		}
		if _, err := d.Store.move(ctx, d.DB, x, Expired, 0, now); err != nil {
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
	return d.decide(ctx, c, brand, id, Approved, "approve")
}

// Refuse ends an export that was asked for.
func (d *Desk) Refuse(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	return d.decide(ctx, c, brand, id, Refused, "refuse")
}

func (d *Desk) decide(ctx context.Context, c identity.Caller, brand, id string, to State, change string) (*api.Export, error) {
	v, err := d.enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if _, err := v.Authorize(ctx, access.ActApprove, "", 0); err != nil {
		return nil, err
	}
	x, err := d.Store.get(ctx, d.DB, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if x.Who.Principal == v.Who.Principal || x.Who.Lineage == v.Who.Lineage {
		v.Refuse(ctx, reasonOwn)
		return nil, ErrOwn
	}
	if err := d.live(ctx, v, x); err != nil {
		return nil, err
	}
	if x.State != Requested {
		return nil, fmt.Errorf("%w: it is %s", ErrState, x.State)
	}
	r, err := d.record(ctx, v, x, x.detail(change))
	if err != nil {
		return nil, err
	}
	var decoys []byte
	if to == Approved && d.Decoys != nil {
		if decoys, err = d.decoys(ctx, x); err != nil {
			return nil, err
		}
	}
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		if frozen, err := d.Store.Frozen(ctx, q, x.Brand); err != nil {
			return err
		} else if frozen {
			return ErrFrozen
		}
		n, err := d.Store.decide(ctx, q, x, to, decoys, v.Who.Principal, r.At())
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: somebody else decided, or stopped it, meanwhile", ErrState)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.Show(ctx, c, brand, id)
}

// decoyEvery is for how many customers there is a decoy, and decoysLeast and decoysMost
// how many there are in any case: enough that a piece of a file has one.
const (
	decoyEvery  = 1000
	decoysLeast = 3
	decoysMost  = 100
)

func (d *Desk) decoys(ctx context.Context, x *Export) ([]byte, error) {
	n := min(max(x.Customers/decoyEvery, decoysLeast), decoysMost)
	ords, err := d.Decoys.ForExport(ctx, x.Brand, x.ID, n)
	if err != nil {
		return nil, fmt.Errorf("making the export's decoys: %w", err)
	}
	if len(ords) == 0 {
		return nil, nil
	}
	slices.Sort(ords)
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	return own.Seal(sealedDecoys, entry.EncodeSubjects(ords))
}

// Stop ends an export for whoever asked for it, and for those who approve or contain.
func (d *Desk) Stop(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	v, err := d.Door.Enter(ctx, c, brand) // also while exports are frozen
	if err != nil {
		return nil, err
	}
	x, err := d.Store.get(ctx, d.DB, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if x.Who.Principal != v.Who.Principal && !d.may(v, access.ActApprove) {
		if _, err := v.Authorize(ctx, access.ActContain, "", 0); err != nil {
			return nil, err
		}
	}
	if !x.State.open() {
		return nil, fmt.Errorf("%w: it is %s", ErrState, x.State)
	}
	r, err := d.record(ctx, v, x, x.detail("stop"))
	if err != nil {
		return nil, err
	}
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		_, err := d.Store.Stop(ctx, q, Which{Brand: x.Brand, ID: x.ID, By: v.Who.Principal}, r.At())
		return err
	})
	if err == nil {
		err = d.Ledger.Fence(ctx, x.Brand)
	}
	if err != nil {
		return nil, err
	}
	return d.Show(ctx, c, brand, id)
}

func (d *Desk) may(v *admit.Visit, a access.Action) bool {
	_, err := v.Policy.Authorize(v.Who, a, "", 0)
	return err == nil
}

// sees reports whether a visitor may see an export: whoever asked for it, and those who
// approve or audit.
func (d *Desk) sees(v *admit.Visit, x *Export) bool {
	return x.Who.Principal == v.Who.Principal || d.may(v, access.ActApprove) || d.may(v, access.ActAudit)
}

// find returns an export, and ErrNoExport also for one that the visitor may not see.
func (d *Desk) find(ctx context.Context, v *admit.Visit, id string) (*Export, error) {
	x, err := d.Store.get(ctx, d.DB, v.Brand.ID, id)
	if err == nil && !d.sees(v, x) {
		err = ErrNoExport
	}
	return x, err
}

// own returns an export that is not over to the lineage that asked for it.
func (d *Desk) own(ctx context.Context, c identity.Caller, brand, id string) (*admit.Visit, *Export, error) {
	v, err := d.enter(ctx, c, brand)
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

// Show returns one export.
func (d *Desk) Show(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	x, err := d.find(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, v, x)
}

// List returns the newest exports of a brand that the caller may see.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) (*api.Exports, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	out := &api.Exports{Exports: []api.Export{}}
	if out.Frozen, err = d.Store.Frozen(ctx, d.DB, v.Brand.ID); err != nil {
		return nil, err
	}
	of := v.Who.Principal
	if d.may(v, access.ActApprove) || d.may(v, access.ActAudit) {
		of = 0
	}
	list, err := d.Store.list(ctx, v.Brand.ID, of)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		out.Exports = append(out.Exports, d.show(ctx, x))
	}
	return out, nil
}

func (d *Desk) show(ctx context.Context, x *Export) api.Export {
	out := api.Export{
		ID: x.ID, State: string(x.State), Form: x.Form, Format: x.Format, Fields: x.Fields.Names(), Purpose: x.Purpose, Ticket: x.Ticket,
		Recipient: x.Recipient, Role: x.Who.Role, Created: x.Created, Expires: x.Expires, Customers: x.Customers, DecidedAt: x.DecidedAt,
		Gathered: 100, Files: files(x.Fields), Requester: d.name(ctx, x.Who.Principal),
	}
	if x.State == DryRun {
		out.ID = ""
	}
	switch {
	case x.State == Gathering:
		out.Customers = 0 // it is nobody's yet
		out.Gathered = int(100 * uint64(x.Position) / uint64(max(x.Bound, 1)))
	case len(x.Cohort) > 0:
		out.Cohort = x.digest()
	}
	if x.DecidedBy != 0 {
		out.DecidedBy = d.name(ctx, x.DecidedBy)
	}
	return out
}

func (d *Desk) name(ctx context.Context, principal uint64) string {
	if p, err := d.Door.Identity.Get(ctx, principal); err == nil {
		return p.Name
	}
	return strconv.FormatUint(principal, 10)
}

// shown adds what one export alone is shown with: its parts, and what the budgets leave
// to who asked for it.
func (d *Desk) shown(ctx context.Context, v *admit.Visit, x *Export) (*api.Export, error) {
	out := d.show(ctx, x)
	if x.State == Approved {
		order, err := d.order(ctx, x)
		if err != nil {
			return nil, err
		}
		out.Parts = parts(len(order))
	}
	room, err := d.room(ctx, v.Brand.ID, x.Who)
	if err != nil {
		return nil, err
	}
	out.Room = api.ExportRoom{Hour: room[budget.Hour], Day: room[budget.Day], Month: room[budget.Month]}
	return &out, nil
}

// room returns how many customers more the budgets let somebody export in each window.
// Those who left in it already cost nothing again.
func (d *Desk) room(ctx context.Context, brand record.BrandID, who identity.Who) ([3]uint64, error) {
	rules, err := d.Ledger.Rules(ctx, brand)
	if err != nil {
		return [3]uint64{}, err
	}
	out := [3]uint64{^uint64(0) >> 1, ^uint64(0) >> 1, ^uint64(0) >> 1}
	for _, h := range []budget.Holder{{Kind: budget.Lineage, ID: who.Lineage}, {Kind: budget.Principal, ID: who.Principal}, {Kind: budget.Role, Role: who.Role}, {Kind: budget.Brand}} {
		limits := rules.Resolve(h.Kind, who.Principal, who.Role, budget.Export)
		if limits == (budget.Limits{}) {
			return [3]uint64{}, nil // refused
		}
		used, err := d.Ledger.Usage(ctx, brand, h)
		if err != nil {
			return out, err
		}
		for _, u := range used {
			if l := limits[u.Window]; u.Class == budget.Export && l.Set {
				out[u.Window] = min(out[u.Window], uint64(max(int64(l.Limit)-int64(u.Count), 0)))
			}
		}
	}
	return out, nil
}
