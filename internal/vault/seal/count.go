package seal

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const sqlCountCustomers = `SELECT count(*) FROM customers WHERE brand = $1 AND erased = 0`

// Count is how many customers a brand has. It reads a row of each, of the erased ones too.
func (s *Store) Count(ctx context.Context, brand record.BrandID) (n int64, err error) {
	if err := s.db.Row(ctx, sqlCountCustomers, int64(brand)).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the customers: %w", err)
	}
	return n, nil
}
