package db

import (
	"context"
	"fmt"
	"time"
)

// Setting is something of the engine that the vault's promises rest on.
type Setting struct {
	Name  string
	Found string // what was found, in words
	Fault error  // why it is not well; nil where it is
}

// oldestPostgres is the oldest major version that its makers still mend, at the time
// of this release.
const oldestPostgres = 14

// maxClockDifference is how far this machine's clock may be from the database's before
// people who compare logs are misled. Nothing in the vault rests on it.
const maxClockDifference = time.Minute

const sqlPostgresSettings = `SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000,
	pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
	current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
	current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer,
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`

// Settings looks at the engine's settings. It returns none for SQLite, whose settings
// are the vault's own and are checked whenever it opens.
func (d *DB) Settings(ctx context.Context) ([]Setting, error) {
	p, ok := d.engine.(*postgresDB)
	if !ok {
		return nil, nil
	}
	var version, fsync, pages, synchronous string
	var major, connections, used int
	var readOnly bool
	err := p.Row(ctx, sqlPostgresSettings).Scan(&version, &major, &readOnly, &fsync, &pages, &synchronous, &connections, &used)
	if err != nil {
		return nil, fmt.Errorf("reading PostgreSQL's settings: %w", err)
	}
	before := time.Now()
	there, err := p.Now(ctx)
	if err != nil {
		return nil, err
	}
	here := before.Add(time.Since(before) / 2)
	pool := int(p.pool.Config().MaxConns)
	fault := func(bad bool, format string, args ...any) error {
		if !bad {
			return nil
		}
		return fmt.Errorf(format, args...)
	}
	apart := there.Sub(here).Round(time.Millisecond)
	return []Setting{
		{"version", version, fault(major < oldestPostgres, "PostgreSQL %s is no longer mended: upgrade to %d or newer", version, oldestPostgres)},
		{"role", "a primary, which can be written", fault(readOnly, "it cannot be written: a replica, or default_transaction_read_only is on; name the primary")},
		{"fsync", fsync, fault(fsync != "on", "fsync is %s: what the log says is durable is not; set fsync = on", fsync)},
		{"full_page_writes", pages, fault(pages != "on", "full_page_writes is %s: a crash can leave torn pages; set full_page_writes = on", pages)},
		{"synchronous_commit", synchronous + " in the vault's sessions", fault(synchronous != "on" && synchronous != "remote_apply", "synchronous_commit is %s in the vault's sessions: an answered entry could be lost", synchronous)},
		{"connections", fmt.Sprintf("up to %d of this process, %d in use by all, of %d", pool, used, connections),
			fault(pool > connections, "--pool is %d and the server allows %d: raise max_connections, or lower --pool", pool, connections)},
		{"clock", fmt.Sprintf("%s from this machine's; budgets go by the database's alone", apart),
			fault(apart.Abs() > maxClockDifference, "%s from this machine's: set the clocks by NTP; budgets go by the database's alone", apart)},
	}, nil
}
