package export

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/mask"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

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
	case !slices.Contains([]string{formatCSV, formatSheet, formatJSONL, formatParquet}, req.Format):
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

// Request asks for an export. With a filter it has to be gathered before it can be
// approved.
func (d *Desk) Request(ctx context.Context, c identity.Caller, brand string, req api.ExportRequest) (*api.Export, error) {
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if req.Filter != nil {
		for _, r := range req.Filter.Regions { // kept with the export, in words of the caller
			if err := ledger.CheckText("filter.regions", r); err != nil {
				return nil, err
			}
		}
	}
	a, err := check(req)
	if err != nil {
		return nil, err
	}
	v, err := d.Door.Enter(ctx, c, brand)
	if err == nil {
		err = v.Ticket(req.Ticket)
	}
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
	if a.filter != nil {
		if err := d.mayCount(ctx, v.Who.Lineage); err != nil {
			return nil, err
		}
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
	if x.sealed, err = sealRecipient(own, x.Recipient); err != nil {
		return nil, err
	}
	detail := entry.ExportRequested{ExportFacts: x.facts(), Form: x.Form, Format: x.Format, Recipient: x.Recipient}
	err = d.change(ctx, v, x, detail, func(q db.Queryer, at time.Time) error {
		x.Created, x.Expires = at, at.Add(a.valid)
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

// mayCount refuses a filter of a lineage that had many counted within a day.
func (d *Desk) mayCount(ctx context.Context, lineage uint64) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	n, err := d.Store.filters(ctx, lineage, now.Add(-24*time.Hour))
	if err == nil && n >= MaxFilters {
		err = ErrFilters
	}
	return err
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
