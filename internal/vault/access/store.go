package access

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

// ErrNoPolicy is returned for a brand without a policy: nothing is allowed there.
var ErrNoPolicy = fault.New(fault.Denied, "this brand has no policy, so nothing is allowed: apply one with `cloakroom policy apply`")

// Store keeps every version of the brands' policies.
type Store struct {
	db      *db.DB
	loaded  *lru.Cache[version, *Policy]
	current revision.Cache[record.BrandID, holding]
}

// holding is the policy that holds at a brand.
type holding struct {
	policy *Policy
	number int
}

type version struct {
	brand  record.BrandID
	number int
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
	sqlPolicyAt     = `SELECT coalesce(max(version), 1) FROM policies WHERE brand = $1 AND created <= $2`
	sqlReadPolicy   = `SELECT text FROM policies WHERE brand = $1 AND version = $2`
	sqlInsertPolicy = `INSERT INTO policies (brand, version, text, created, author) VALUES ($1, $2, $3, $4, $5)`
)

// Current returns the policy that holds, and its version: under the request's
// revision, or now where there is none, so that every server follows a change at once.
func (s *Store) Current(ctx context.Context, brand record.BrandID) (*Policy, int, error) {
	h, err := s.current.Get(ctx, brand, func() (holding, error) {
		p, n, err := s.newest(ctx, brand)
		return holding{p, n}, err
	})
	return h.policy, h.number, err
}

func (s *Store) newest(ctx context.Context, brand record.BrandID) (*Policy, int, error) {
	v := version{brand: brand}
	if err := s.db.Row(ctx, sqlNewestPolicy, int64(brand)).Scan(&v.number); err != nil {
		return nil, 0, fmt.Errorf("reading the policy of brand %d: %w", brand, err)
	}
	if v.number == 0 {
		return nil, 0, ErrNoPolicy
	}
	p, err := s.read(ctx, v)
	return p, v.number, err
}

// At returns the policy that was in force at a time; for a time before the brand's first
// policy, that one.
func (s *Store) At(ctx context.Context, brand record.BrandID, at time.Time) (*Policy, error) {
	v := version{brand: brand}
	if err := s.db.Row(ctx, sqlPolicyAt, int64(brand), at.UnixMicro()).Scan(&v.number); err != nil {
		return nil, fmt.Errorf("reading the policies of brand %d: %w", brand, err)
	}
	return s.read(ctx, v)
}

func (s *Store) read(ctx context.Context, v version) (*Policy, error) {
	if p, ok := s.loaded.Get(v); ok {
		return p, nil
	}
	var text string
	if err := s.db.Row(ctx, sqlReadPolicy, int64(v.brand), v.number).Scan(&text); err != nil {
		return nil, fmt.Errorf("reading the policy of brand %d: %w", v.brand, err)
	}
	p, err := Load(text)
	if err != nil {
		return nil, fmt.Errorf("loading version %d of the policy of brand %d: %w", v.number, v.brand, err)
	}
	s.loaded.Add(v, p)
	return p, nil
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
	if n == 1 {
		return n, nil // it takes nothing away
	}
	return n, revision.Bump(ctx, q)
}
