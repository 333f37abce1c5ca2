package db

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// PoolStats are a pool's connections, and how often a request waited for one.
type PoolStats struct {
	InUse, Open, Most int
	Waited            int64 // since the start
}

// ErrNewerSchema is returned where a newer release has brought the schema forward while this
// one ran.
var ErrNewerSchema = fault.New(fault.Unavailable, "a newer release has brought the database's schema forward: upgrade this server and start it again")

// Fits returns ErrNewerSchema where the schema is newer than this program knows.
func (d *DB) Fits(ctx context.Context) error {
	version, err := d.Version(ctx)
	if err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("%w (schema %d, known %d)", ErrNewerSchema, version, len(migrations))
	}
	return nil
}

func (d *sqliteDB) stats() PoolStats {
	var out PoolStats
	for _, c := range []*stmtCache{d.writer, d.cache} {
		s := c.pool.Stats()
		out.InUse, out.Open, out.Most, out.Waited = out.InUse+s.InUse, out.Open+s.OpenConnections, out.Most+s.MaxOpenConnections, out.Waited+s.WaitCount
	}
	return out
}

func (d *postgresDB) stats() PoolStats {
	a, b := d.pool.Stat(), d.commits.Stat()
	return PoolStats{
		InUse: int(a.AcquiredConns() + b.AcquiredConns()), Open: int(a.TotalConns() + b.TotalConns()), Most: int(a.MaxConns() + b.MaxConns()),
		Waited: a.EmptyAcquireCount() + b.EmptyAcquireCount(),
	}
}

// Pool returns what the pool of connections does now.
func (d *DB) Pool() PoolStats { return d.stats() }
