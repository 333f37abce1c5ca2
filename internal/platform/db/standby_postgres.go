package db

import (
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// gaveUp counts the commits of a pool that PostgreSQL called done although no standby
// had them. It warns, and answers as if all were well, when an administrator cancels the
// wait for a synchronous standby. A failover after that loses the commit.
type gaveUp struct{ n atomic.Uint64 }

// syncRep is the routine of the server that gives the warning; its words are
// translated.
const syncRep = "SyncRepWaitForLSN"

func (g *gaveUp) watch(cfg *pgx.ConnConfig) {
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == syncRep {
			g.n.Add(1)
		}
	}
}

// replicated runs what commits. Where a warning came meanwhile, it may have been of
// this commit, whose outcome after a failover is then not known.
func (g *gaveUp) replicated(run func() error) error {
	before := g.n.Load()
	if err := run(); err != nil {
		return err
	}
	if g.n.Load() != before {
		return fmt.Errorf("committing: %w: the wait for a synchronous standby was given up: look whether the standbys of synchronous_standby_names run", ErrOutcomeUnknown)
	}
	return nil
}
