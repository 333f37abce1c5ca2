package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	sqlEraseCustomer = `UPDATE customers SET sealed = NULL, bought = NULL, erased = $2 WHERE ord = $1 AND erased = 0`
	sqlEraseSecret   = `DELETE FROM customer_keys WHERE ord = $1 AND version = $2`
	sqlEraseFormer   = `DELETE FROM former_values WHERE ord = $1`
)

// Erase destroys a customer's key, and with it their DEK and log key, and deletes
// indexes, former values and sealed records (GDPR Art. 17). The ordinal is never
// given again. keep runs first, inside the same transaction: it is the last who sees
// the log key, and keeps what other customers' proofs need.
//
// A customer whose profile does not open any more is erased too: their lookups then
// stay, as numbers that lead to nobody. Of one whose key lies aside that key is destroyed.
func (s *Store) Erase(ctx context.Context, receipt ledger.Receipt, ord record.Ordinal, keep func(ctx context.Context, q db.Queryer, logKey []byte) error) error {
	if !receipt.Recorded(ord) {
		return ledger.ErrNotLogged
	}
	brand := receipt.Brand()
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return err
	}
	found, err := s.fetchAny(ctx, brand, []record.Ordinal{ord}, false)
	if err != nil {
		return err
	}
	r := found[ord]
	if r == nil {
		return s.destroy(ctx, receipt, ord, keep)
	}
	c, stmts, err := k.unindex(brand, r)
	if err != nil {
		return err
	}
	stones, err := s.bury(ctx, brand, c, 0, receipt.At())
	if err != nil {
		return err
	}
	stmts = append(stmts, stones...)
	add := func(sql string, args ...any) { stmts = append(stmts, db.Stmt{SQL: sql, Args: args}) }
	add(sqlClearSegments, int64(ord))
	add(sqlEraseFormer, int64(ord))
	add(sqlDropWithheldOf, int64(ord), int64(brand))
	add(sqlEraseCustomer, int64(ord), receipt.At().UnixMicro())
	err = s.db.Tx(ctx, func(q db.Queryer) error {
		if err := keep(ctx, q, r.secret.logKey()); err != nil {
			return err
		}
		if err := s.hold(ctx, q, k.indexUses()); err != nil {
			return err
		}
		// The key first: it waits for whoever moves this customer's indexes. A write in
		// between has moved the version, and with it perhaps the lookups.
		if err := changeOne(ctx, q, sqlEraseSecret, int64(ord), int64(r.version)); err != nil {
			return err
		}
		return q.Batch(ctx, stmts)
	})
	if err != nil {
		return fmt.Errorf("erasing a customer: %w", err)
	}
	return nil
}

// unindex returns the statements that take a customer out of the indexes, and their
// profile. Of one whose profile does not open any more there are neither, and no error.
func (k *brandKeys) unindex(brand record.BrandID, r *rows) (*record.Customer, []db.Stmt, error) {
	var c record.Customer
	switch err := r.openProfile(brand, &c); {
	case errors.Is(err, ErrDamaged):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	var stmts []db.Stmt
	for v := range k.everyLookup(&c) {
		stmts = append(stmts, db.Stmt{SQL: sqlDeleteLookup, Args: []any{v, int64(r.ord)}})
	}
	if values, err := k.externals(c.Get(record.ExternalID)); err == nil {
		for _, v := range values {
			stmts = append(stmts, db.Stmt{SQL: sqlDeleteExternal, Args: []any{v, int64(r.ord)}})
		}
	}
	return &c, stmts, nil
}
