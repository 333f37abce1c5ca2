// Package brands keeps the brands of the group, each a controller of its own (GDPR
// Art. 4(7)), and the purposes for which each may process its customers' data, with
// their legal basis (GDPR Art. 5(1)(b) and 6(1)).
package brands

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

var (
	// ErrNoBrand is returned for a brand that is not registered.
	ErrNoBrand = fault.Typed(fault.NotFound, api.TypeUnknownBrand, "no such brand: `cloakroom brand list` shows all")
	// ErrExists is returned for a brand or purpose that is registered already.
	ErrExists = fault.New(fault.Conflict, "is registered already")
	// ErrName is returned for a name that cannot be one.
	ErrName = fault.New(fault.Invalid, "a name is 1 to 40 lower-case letters, digits and hyphens and begins with a letter; group is taken")
	// ErrNoPurpose is returned for a purpose that is not registered, or retired.
	ErrNoPurpose = fault.Typed(fault.Denied, api.TypeUnknownPurpose, "no such purpose at this brand: `cloakroom purpose list` shows all")
	// ErrLegalBasis is returned for a legal basis that GDPR Art. 6(1) does not know.
	ErrLegalBasis = fault.New(fault.Invalid, "the legal basis is one of "+"consent, contract, legal-obligation, vital-interests, public-task, legitimate-interests (GDPR Art. 6(1))")
)

// GroupName is the name under which the group's own administration is addressed.
const GroupName = "group"

// Brand is one brand.
type Brand struct {
	ID      record.BrandID
	Name    string // in commands and requests
	Title   string // for people
	Created time.Time
	// Settings are those in force, and Version is theirs. Only ByName returns them; they
	// are shared: do not change their lists.
	Settings Settings
	Version  int
	// Own is what the settings say of the brand's own numbers that could be card numbers;
	// nil if nothing. It is shared: do not change it.
	Own     *cards.Own
	tickets *regexp.Regexp // nil: every ticket fits
	legacy  legacy
}

// legacy are settings as releases before the settings had versions stored them: version 1
// of a brand from then.
type legacy struct {
	own     string
	country string
	days    int64
}

// Purpose is what data may be processed for.
type Purpose struct {
	Name        string
	LegalBasis  string
	Description string
	Created     time.Time
	Retired     time.Time // zero: in use
}

// DefaultPurposes are those of a new brand, as the default policy names them.
func DefaultPurposes() []Purpose {
	return []Purpose{
		{Name: "order-fulfilment", LegalBasis: "contract", Description: "Deliver what the customer bought, and invoice it."},
		{Name: "customer-support", LegalBasis: "contract", Description: "Answer a customer who asked."},
		{Name: "store-service", LegalBasis: "contract", Description: "Serve a customer who is in the store, or was."},
		{Name: "marketing", LegalBasis: "consent", Description: "Send news to customers who agreed to it."},
		{Name: "analysis", LegalBasis: "legitimate-interests", Description: "Count and compare, without identifying customers."},
		{Name: "data-subject-request", LegalBasis: "legal-obligation", Description: "Answer a request under GDPR Art. 15 to 22."},
		{Name: "incident-response", LegalBasis: "legal-obligation", Description: "Find out what a breach touched, and notify (GDPR Art. 33, 34)."},
		{Name: "migration", LegalBasis: "legitimate-interests", Description: "Move data in or out, and check that all arrived."},
	}
}

func legalBases() []string {
	return []string{"consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"}
}

// ValidName reports whether a text can name a brand or purpose.
func ValidName(s string) bool {
	if s == "" || len(s) > 40 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	})
}

// Store reads and writes brands and purposes.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log

	db       *db.DB
	named    revision.Cache[string, Brand]
	purposes revision.Cache[purposeKey, Purpose]
}

type purposeKey struct {
	brand record.BrandID
	name  string
}

// New returns the store of a database.
func New(d *db.DB) *Store { return &Store{db: d} }

const (
	sqlNextBrand     = `SELECT coalesce(max(id), 0) + 1 FROM brands`
	sqlInsertBrand   = `INSERT INTO brands (id, name, title, created) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlBrandByName   = `SELECT id, name, title, created, loyalty, country, cooling FROM brands WHERE name = $1`
	sqlBrandByID     = `SELECT id, name, title, created, loyalty, country, cooling FROM brands WHERE id = $1`
	sqlListBrands    = `SELECT id, name, title, created, loyalty, country, cooling FROM brands ORDER BY id`
	sqlInsertPurpose = `INSERT INTO purposes (brand, name, legal_basis, description, created, retired) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT DO NOTHING`
	sqlRetirePurpose = `UPDATE purposes SET retired = $3 WHERE brand = $1 AND name = $2 AND retired = 0`
	sqlReadPurpose   = `SELECT name, legal_basis, description, created, retired FROM purposes WHERE brand = $1 AND name = $2`
	sqlAllPurposes   = `SELECT brand, name, legal_basis, description, created, retired FROM purposes ORDER BY brand, name`
	sqlMendPurpose   = `INSERT INTO purposes (brand, name, legal_basis, description, created, retired) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (brand, name) DO UPDATE SET legal_basis = excluded.legal_basis, description = excluded.description, created = excluded.created, retired = excluded.retired`
	sqlDropPurpose  = `DELETE FROM purposes WHERE brand = $1 AND name = $2`
	sqlMendBrand    = `UPDATE brands SET name = $2, title = $3, created = $4 WHERE id = $1`
	sqlMendSettings = `UPDATE brands SET loyalty = $2, country = $3, cooling = $4 WHERE id = $1`
	sqlDropBrand    = `DELETE FROM brands WHERE id = $1`
	sqlListPurposes = `SELECT name, legal_basis, description, created, retired FROM purposes WHERE brand = $1 ORDER BY name`
)

// Create registers a brand inside the caller's transaction. Two that create at once
// conflict on the number; the second is refused and may try again.
func (s *Store) Create(ctx context.Context, q db.Queryer, name, title string, at time.Time) (Brand, error) {
	if !ValidName(name) || name == GroupName {
		return Brand{}, fmt.Errorf("the brand %q: %w", name, ErrName)
	}
	if title == "" {
		title = name
	}
	var id int64
	if err := q.Row(ctx, sqlNextBrand).Scan(&id); err != nil {
		return Brand{}, fmt.Errorf("numbering a brand: %w", err)
	}
	if id > 1<<16-1 {
		return Brand{}, errors.New("the deployment has no numbers left for brands")
	}
	n, err := q.Exec(ctx, sqlInsertBrand, id, name, title, at.UnixMicro())
	if err != nil {
		return Brand{}, fmt.Errorf("registering the brand %s: %w", name, err)
	}
	if n == 0 {
		return Brand{}, fmt.Errorf("the brand %s %w", name, ErrExists)
	}
	b := Brand{ID: record.BrandID(id), Name: name, Title: title, Created: at}
	rights.Changed(q, b.row())
	return b, nil
}

func scanBrand(r db.Row) (Brand, error) {
	var b Brand
	var id, created int64
	if err := r.Scan(&id, &b.Name, &b.Title, &created, &b.legacy.own, &b.legacy.country, &b.legacy.days); err != nil {
		return b, err
	}
	b.ID, b.Created = record.BrandID(id), time.UnixMicro(created).UTC()
	return b, nil
}

// The tables whose rows logs have digests of: brands in the group's, purposes and settings
// in the brand's own. See package rights.
const (
	tableBrands   = "brands"
	tablePurposes = "purposes"
	// tableSettings are the settings of before they had versions, which are columns of brands.
	tableSettings = "settings"
	// tableVersions has the newest version of the settings, under the key newest.
	tableVersions = "brand-settings"
)

func (b *Brand) row() rights.Row {
	return rights.Row{Table: tableBrands, Key: rights.Key(uint16(b.ID)), Cells: []any{int64(b.ID), b.Name, b.Title, db.Micros(b.Created)}}
}

func (p *Purpose) row(brand record.BrandID) rights.Row {
	return rights.Row{Table: tablePurposes, Key: p.Name, Cells: []any{int64(brand), p.Name, p.LegalBasis, p.Description, db.Micros(p.Created), db.Micros(p.Retired)}}
}

func group() Brand { return Brand{ID: record.Group, Name: GroupName, Title: "The group"} }

// ByName returns a brand. The name group is the group's own administration.
func (s *Store) ByName(ctx context.Context, name string) (Brand, error) {
	if name == GroupName {
		return group(), nil
	}
	return s.named.Get(ctx, name, func() (Brand, error) {
		b, err := s.brand(ctx, sqlBrandByName, name)
		if err != nil {
			return b, err
		}
		err = rights.One(ctx, s.Rights, s.db, b.ID, func(q db.Queryer) ([]rights.Row, error) {
			var newest stored
			b, newest, err = settled(ctx, q, b.ID)
			return []rights.Row{b.legacy.row(), newest.row()}, err
		})
		return b, err
	})
}

// Whole returns a brand by its number, with its settings.
func (s *Store) Whole(ctx context.Context, id record.BrandID) (Brand, error) {
	b, err := s.Get(ctx, id)
	if err == nil {
		b, err = s.ByName(ctx, b.Name)
	}
	return b, err
}

// Get returns a brand by its number, without its settings.
func (s *Store) Get(ctx context.Context, id record.BrandID) (Brand, error) {
	if id == record.Group {
		return group(), nil
	}
	return s.brand(ctx, sqlBrandByID, int64(id))
}

// brand reads one, and refuses one that the log does not know so.
func (s *Store) brand(ctx context.Context, sql string, by any) (b Brand, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) (_ []rights.Row, err error) {
		b, err = scanBrand(q.Row(ctx, sql, by))
		return []rights.Row{b.row()}, found(err)
	})
	return b, err
}

// found never repeats the name that was asked for: it comes from a request's path.
func found(err error) error {
	if errors.Is(err, db.ErrNoRows) {
		return ErrNoBrand
	}
	if err != nil {
		return fmt.Errorf("reading a brand: %w", err)
	}
	return nil
}

// List returns every brand, without the group.
func (s *Store) List(ctx context.Context) (out []Brand, err error) {
	void, err := rights.Hold(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) (f rights.Found, err error) {
		out = nil
		err = q.Rows(ctx, func(r db.Row) error {
			b, err := scanBrand(r)
			out = append(out, b)
			f.Rows = append(f.Rows, b.row())
			return err
		}, sqlListBrands)
		if err != nil {
			return f, fmt.Errorf("listing brands: %w", err)
		}
		return f, nil
	})
	for _, v := range void { // a brand that nobody registered is none
		out = slices.DeleteFunc(out, func(b Brand) bool { return rights.Key(uint16(b.ID)) == v.Key })
	}
	return out, err
}

// Registered is List as the table has it, for who looks after logs: also while the group's
// log cannot be asked.
func (s *Store) Registered(ctx context.Context) ([]Brand, error) {
	var out []Brand
	err := s.db.Rows(ctx, func(r db.Row) error {
		b, err := scanBrand(r)
		out = append(out, b)
		return err
	}, sqlListBrands)
	if err != nil {
		return nil, fmt.Errorf("listing brands: %w", err)
	}
	return out, nil
}

// AddPurpose registers a purpose inside the caller's transaction.
func (s *Store) AddPurpose(ctx context.Context, q db.Queryer, brand record.BrandID, p Purpose, at time.Time) error {
	if !ValidName(p.Name) {
		return fmt.Errorf("the purpose %q: %w", p.Name, ErrName)
	}
	if !slices.Contains(legalBases(), p.LegalBasis) {
		return ErrLegalBasis
	}
	n, err := q.Exec(ctx, sqlInsertPurpose, int64(brand), p.Name, p.LegalBasis, p.Description, at.UnixMicro())
	if err != nil {
		return fmt.Errorf("registering the purpose %s: %w", p.Name, err)
	}
	if n == 0 {
		return fmt.Errorf("the purpose %s %w", p.Name, ErrExists)
	}
	p.Created, p.Retired = at, time.Time{}
	rights.Changed(q, p.row(brand))
	return nil
}

// RetirePurpose ends a purpose. It is kept, because old entries name it, and its
// name is not used again.
func (s *Store) RetirePurpose(ctx context.Context, q db.Queryer, brand record.BrandID, name string, at time.Time) error {
	n, err := q.Exec(ctx, sqlRetirePurpose, int64(brand), name, at.UnixMicro())
	if err != nil {
		return fmt.Errorf("retiring the purpose %s: %w", name, err)
	}
	if n == 0 {
		return ErrNoPurpose
	}
	p, err := scanPurpose(q.Row(ctx, sqlReadPurpose, int64(brand), name))
	if err != nil {
		return fmt.Errorf("retiring the purpose %s: %w", name, err)
	}
	rights.Changed(q, p.row(brand))
	return revision.Bump(ctx, q)
}

func scanPurpose(r db.Row) (Purpose, error) {
	var p Purpose
	var created, retired int64
	if err := r.Scan(&p.Name, &p.LegalBasis, &p.Description, &created, &retired); err != nil {
		return p, err
	}
	p.Created = time.UnixMicro(created).UTC()
	if retired != 0 {
		p.Retired = time.UnixMicro(retired).UTC()
	}
	return p, nil
}

// Purpose returns a purpose that is in use.
func (s *Store) Purpose(ctx context.Context, brand record.BrandID, name string) (Purpose, error) {
	return s.purposes.Get(ctx, purposeKey{brand, name}, func() (p Purpose, err error) {
		err = rights.One(ctx, s.Rights, s.db, brand, func(q db.Queryer) ([]rights.Row, error) {
			p, err = scanPurpose(q.Row(ctx, sqlReadPurpose, int64(brand), name))
			if errors.Is(err, db.ErrNoRows) {
				return nil, ErrNoPurpose
			}
			if err != nil {
				return nil, fmt.Errorf("reading a purpose: %w", err)
			}
			return []rights.Row{p.row(brand)}, nil
		})
		if err == nil && !p.Retired.IsZero() {
			err = ErrNoPurpose
		}
		if err != nil {
			return Purpose{}, err
		}
		return p, nil
	})
}

// Purposes returns every purpose of a brand, the retired ones too.
func (s *Store) Purposes(ctx context.Context, brand record.BrandID) ([]Purpose, error) {
	var out []Purpose
	err := s.db.Rows(ctx, func(r db.Row) error {
		p, err := scanPurpose(r)
		out = append(out, p)
		return err
	}, sqlListPurposes, int64(brand))
	if err != nil {
		return nil, fmt.Errorf("listing purposes: %w", err)
	}
	return out, nil
}

// Mend writes a row as the log has it, or removes one that is gone. It reports false for a
// table of another store, and for a brand whose whole row is missing.
func (s *Store) Mend(ctx context.Context, q db.Queryer, brand record.BrandID, r rights.Row) (bool, error) {
	var n int64
	var err error
	switch {
	case r.Table == tablePurposes && r.Gone:
		n, err = q.Exec(ctx, sqlDropPurpose, int64(brand), r.Key)
	case r.Table == tablePurposes:
		n, err = q.Exec(ctx, sqlMendPurpose, r.Cells...)
	case r.Table == tableBrands && r.Gone:
		id, perr := strconv.ParseInt(r.Key, 10, 64)
		if perr != nil {
			return true, fmt.Errorf("the key of a brand: %w", perr)
		}
		n, err = q.Exec(ctx, sqlDropBrand, id)
	case r.Table == tableBrands:
		n, err = q.Exec(ctx, sqlMendBrand, r.Cells...)
	case r.Table == tableSettings && r.Gone: // the defaults are no row
		n, err = q.Exec(ctx, sqlMendSettings, int64(brand), "", "", int64(DefaultCoolingDays))
	case r.Table == tableSettings:
		n, err = q.Exec(ctx, sqlMendSettings, append([]any{int64(brand)}, r.Cells...)...)
	case r.Table == tableVersions:
		n, err = s.mendVersions(ctx, q, brand, r)
	}
	if err != nil {
		return true, fmt.Errorf("mending a row of %s: %w", r.Table, err)
	}
	return n > 0, nil
}

// Granted hands fn every brand and purpose, with the brand whose log has it.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(r db.Row) error {
		b, err := scanBrand(r)
		brand, setting := b.row(), b.legacy.row()
		brand.Says = "brand " + b.Name
		setting.Says = "settings of the brand: ranges of its own numbers, country, cooling time"
		fn(record.Group, brand)
		fn(b.ID, setting)
		return err
	}, sqlListBrands)
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			x, err := scanStored(r)
			newest := x.row()
			newest.Says = fmt.Sprintf("settings of the brand, version %d", x.version)
			fn(x.brand, newest)
			return err
		}, sqlAllSettings)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			var brand int64
			p, err := scanPurpose(db.Around(r, []any{&brand}, nil))
			purpose := p.row(record.BrandID(brand))
			purpose.Says = fmt.Sprintf("purpose %s, on %s", p.Name, p.LegalBasis)
			if !p.Retired.IsZero() {
				purpose.Says += ", retired"
			}
			fn(record.BrandID(brand), purpose)
			return err
		}, sqlAllPurposes)
	}
	if err != nil {
		return fmt.Errorf("reading brands and purposes: %w", err)
	}
	return nil
}
