package seal

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	sqlLearnFrom = `SELECT ord FROM customers WHERE brand = $1 AND ord >= $2 AND erased = 0 ORDER BY ord LIMIT $3`
	sqlKeyed     = `SELECT ord FROM customer_keys WHERE ord = $1 AND brand = $2`
	sqlPresent   = `SELECT ord FROM customers WHERE ord = $1 AND brand = $2 AND erased = 0`

	// learnPlaces is at how many places of the ordinals, and learnRun how many customers at
	// each, Learn looks.
	learnPlaces = 25
	learnRun    = 80
)

// Learn shows a likeness some of a brand's customers, at random places, given the receipt
// of an entry about canaries. Nothing of a profile leaves but what a Likeness keeps, which
// is what many have in common.
func (s *Store) Learn(ctx context.Context, receipt ledger.Receipt, like *invent.Likeness) error {
	if !receipt.Valid() || receipt.Kind() != entry.KindCanary {
		return ledger.ErrNotLogged
	}
	brand := receipt.Brand()
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	product := s.products(ctx, brand)
	seen := map[record.Ordinal]bool{}
	for range learnPlaces {
		var ords []record.Ordinal
		err := s.db.Rows(ctx, func(r db.Row) error {
			var ord int64
			err := r.Scan(&ord)
			if o := record.Ordinal(ord); !seen[o] {
				seen[o] = true
				ords = append(ords, o)
			}
			return err
		}, sqlLearnFrom, int64(brand), rand.Int64N(last+1), learnRun)
		if err != nil {
			return fmt.Errorf("learning what customers are like: %w", err)
		}
		found, err := s.fetch(ctx, brand, ords, true)
		if err != nil {
			return err
		}
		for _, ord := range ords {
			r := found[ord]
			if r == nil {
				continue
			}
			var c record.Customer
			if err := r.openProfile(brand, &c); err != nil {
				return err
			}
			bought, err := r.openPurchases(brand, product)
			if err != nil {
				return err
			}
			like.Number(c.Get(record.ExternalID))
			like.Learn(&c, bought)
		}
	}
	return nil
}

// presentPiece is of how many customers one batch asks.
const presentPiece = 500

// Present returns those of the ordinals that are customers of the brand, in their order.
func (s *Store) Present(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]record.Ordinal, error) {
	return s.those(ctx, sqlPresent, brand, ords)
}

// Keyed returns those of the ordinals of which a key is in the database: customers, and
// whomever somebody has put back.
func (s *Store) Keyed(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]record.Ordinal, error) {
	return s.those(ctx, sqlKeyed, brand, ords)
}

func (s *Store) those(ctx context.Context, sql string, brand record.BrandID, ords []record.Ordinal) ([]record.Ordinal, error) {
	var out []record.Ordinal
	for from := 0; from < len(ords); from += presentPiece {
		var stmts []db.Stmt
		for _, ord := range ords[from:min(from+presentPiece, len(ords))] {
			stmts = append(stmts, db.Stmt{SQL: sql, Args: []any{int64(ord), int64(brand)}, Scan: func(db.Row) error {
				out = append(out, ord)
				return nil
			}})
		}
		if err := s.db.Batch(ctx, stmts); err != nil {
			return nil, fmt.Errorf("reading who is there: %w", err)
		}
	}
	return out, nil
}
