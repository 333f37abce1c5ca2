package drill

import (
	"context"
	"errors"
)

// PostgreSQL makes databases beside the given one.
func PostgreSQL(ctx context.Context, dsn string) (Database, error) {
	return nil, errors.New("not yet")
}
