package access

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// ErrNoPolicy is returned for a brand without a policy: nothing is allowed there.
var ErrNoPolicy = fault.New(fault.Denied, "this brand has no policy, so nothing is allowed: apply one with `cloakroom policy apply`")

// Store keeps every version of the brands' policies.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log

	db      *db.DB
	loaded  *lru.Cache[version, *Policy]
	current revision.Cache[record.BrandID, history]
}

// history are the versions of a brand's policy that its log knows, ascending.
type history struct {
	versions []stored
	lost     int64 // the newest that is changed or missing in the database; 0 for none
	policy   *Policy
	failed   error // why the newest does not load
}

// version names a policy by its text, so that one whose text was changed in the database
// is never taken for the one that was parsed.
type version struct {
	brand  record.BrandID
	number int
	text   [sha256.Size]byte
}

// policies bounds the parsed policies that a store keeps at hand.
const policies = 256

// NewStore returns the store of a database.
func NewStore(d *db.DB) *Store {
	cache, err := lru.New[version, *Policy](policies)
	if err != nil {
		panic(err) // a size that is a positive constant
	}
	return &Store{db: d, loaded: cache}
}

const (
	sqlNewestPolicy = `SELECT coalesce(max(version), 0) FROM policies WHERE brand = $1`
	sqlReadPolicies = `SELECT version, text, created, author FROM policies WHERE brand = $1 ORDER BY version`
	sqlAllPolicies  = `SELECT brand, version, text, created, author FROM policies ORDER BY brand, version`
	sqlInsertPolicy = `INSERT INTO policies (brand, version, text, created, author) VALUES ($1, $2, $3, $4, $5)`
	sqlMendPolicy   = sqlInsertPolicy + ` ON CONFLICT (brand, version) DO UPDATE SET text = excluded.text, created = excluded.created, author = excluded.author`
	sqlDropPolicy   = `DELETE FROM policies WHERE brand = $1 AND version = $2`
)

// tablePolicies is the table of which a brand's log has every version.
const tablePolicies = "policies"

// stored is a row of it.
type stored struct {
	brand   record.BrandID
	version int64
	text    string
	created int64
	author  int64
}

func (r *stored) row() rights.Row {
	return rights.Row{Table: tablePolicies, Key: rights.Key(r.version), Cells: []any{int64(r.brand), r.version, r.text, r.created, r.author}}
}

// Current returns the policy that holds, and its version: under the request's
// revision, or now where there is none, so that every server follows a change at once.
func (s *Store) Current(ctx context.Context, brand record.BrandID) (*Policy, int, error) {
	h, err := s.history(ctx, brand)
	if err != nil {
		return nil, 0, err
	}
	last := stored{}
	if n := len(h.versions); n > 0 {
		last = h.versions[n-1]
	}
	switch {
	case h.lost > last.version:
		return nil, 0, rights.ErrVoid
	case last.version == 0:
		return nil, 0, ErrNoPolicy
	}
	return h.policy, int(last.version), h.failed
}

// At returns the policy that was in force at a time; for a time before the brand's first
// policy, that one.
func (s *Store) At(ctx context.Context, brand record.BrandID, at time.Time) (*Policy, error) {
	h, err := s.history(ctx, brand)
	if err != nil {
		return nil, err
	}
	if h.lost != 0 {
		return nil, rights.ErrVoid
	}
	if len(h.versions) == 0 {
		return nil, ErrNoPolicy
	}
	r := h.versions[0]
	for _, x := range h.versions {
		if x.created <= at.UnixMicro() {
			r = x
		}
	}
	return s.load(&r)
}

func (s *Store) load(r *stored) (*Policy, error) {
	v := version{r.brand, int(r.version), sha256.Sum256([]byte(r.text))}
	if p, ok := s.loaded.Get(v); ok {
		return p, nil
	}
	p, err := Load(r.text)
	if err != nil {
		return nil, fmt.Errorf("loading version %d of the policy of brand %d: %w", v.number, v.brand, err)
	}
	s.loaded.Add(v, p)
	return p, nil
}

// history reads the versions. One that the log does not know is as if it were not there.
func (s *Store) history(ctx context.Context, brand record.BrandID) (history, error) {
	return s.current.Get(ctx, brand, func() (h history, err error) {
		void, err := rights.Hold(ctx, s.Rights, s.db, brand, func(q db.Queryer) (rights.Found, error) {
			h.versions = nil
			f := rights.Found{Whole: []string{tablePolicies}}
			err := q.Rows(ctx, func(row db.Row) error {
				r := stored{brand: brand}
				err := row.Scan(&r.version, &r.text, &r.created, &r.author)
				h.versions = append(h.versions, r)
				f.Rows = append(f.Rows, r.row())
				return err
			}, sqlReadPolicies, int64(brand))
			if err != nil {
				return f, fmt.Errorf("reading the policy of brand %d: %w", brand, err)
			}
			return f, nil
		})
		for _, v := range void {
			h.versions = slices.DeleteFunc(h.versions, func(r stored) bool { return rights.Key(r.version) == v.Key })
			if n, err := strconv.ParseInt(v.Key, 10, 64); err == nil && v.What != rights.Forged {
				h.lost = max(h.lost, n)
			}
		}
		if n := len(h.versions); err == nil && n > 0 {
			h.policy, h.failed = s.load(&h.versions[n-1])
		}
		return h, err
	})
}

// Since returns the texts of a brand's policies that were in force at a time or later, the
// oldest first.
func (s *Store) Since(ctx context.Context, brand record.BrandID, at time.Time) (out []string, err error) {
	h, err := s.history(ctx, brand)
	if err != nil {
		return nil, err
	}
	for _, r := range h.versions {
		if r.created <= at.UnixMicro() {
			out = nil // a later one took its place
		}
		out = append(out, r.text)
	}
	return out, nil
}

// Granted hands fn every version of each brand's policy.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(row db.Row) error {
		var r stored
		var brand int64
		err := row.Scan(&brand, &r.version, &r.text, &r.created, &r.author)
		r.brand = record.BrandID(brand)
		granted := r.row()
		granted.Says = fmt.Sprintf("version %d of the policy, activated %s by principal %d", r.version, time.UnixMicro(r.created).UTC().Format(time.DateOnly), r.author)
		fn(r.brand, granted)
		return err
	}, sqlAllPolicies)
	if err != nil {
		return fmt.Errorf("reading the policies: %w", err)
	}
	return nil
}

// Mend writes a version as the log has it, or removes one that is gone. It reports false for
// a table of another store.
func (s *Store) Mend(ctx context.Context, q db.Queryer, brand record.BrandID, r rights.Row) (bool, error) {
	if r.Table != tablePolicies {
		return false, nil
	}
	var err error
	if r.Gone {
		version, perr := strconv.ParseInt(r.Key, 10, 64)
		if perr != nil {
			return true, fmt.Errorf("the key of a policy: %w", perr)
		}
		_, err = q.Exec(ctx, sqlDropPolicy, int64(brand), version)
	} else {
		_, err = q.Exec(ctx, sqlMendPolicy, r.Cells...)
	}
	if err != nil {
		return true, fmt.Errorf("mending a policy: %w", err)
	}
	return true, nil
}

// Put makes a policy the one that holds, inside the caller's transaction. Two that
// put at once conflict on the version, and one of them is refused.
func (s *Store) Put(ctx context.Context, q db.Queryer, brand record.BrandID, p *Policy, author uint64, at time.Time) (int, error) {
	var n int
	if err := q.Row(ctx, sqlNewestPolicy, int64(brand)).Scan(&n); err != nil {
		return 0, fmt.Errorf("reading the policy of brand %d: %w", brand, err)
	}
	n++
	if _, err := q.Exec(ctx, sqlInsertPolicy, int64(brand), n, p.text, at.UnixMicro(), int64(author)); err != nil {
		return 0, fmt.Errorf("storing version %d of the policy of brand %d: %w", n, brand, err)
	}
	r := stored{brand, int64(n), p.text, at.UnixMicro(), int64(author)}
	rights.Changed(q, r.row())
	if n == 1 {
		return n, nil // it takes nothing away
	}
	return n, revision.Bump(ctx, q)
}
