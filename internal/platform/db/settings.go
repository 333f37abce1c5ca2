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
// people who compare logs are misled. The log is not written beyond MaxApart.
const maxClockDifference = time.Minute

// MaxApart is how far the database's clock may be from a server's. Beyond it one of them has
// jumped: a budget whose window seems to have passed must not be free again.
const MaxApart = 5 * time.Minute

// Apart returns how far a reading of the database's clock is from this machine's. It is 0
// where the two are one, or the clock is a simulation's.
func (d *DB) Apart(there time.Time) time.Duration {
	if p, ok := d.engine.(*postgresDB); ok && p.clock == nil {
		return time.Until(there)
	}
	return 0
}

const sqlPostgresSettings = `SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000,
	pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
	current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
	current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer,
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
	current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication)`

// sqlCitusNodes asks every other node what its own commits rest on.
const sqlCitusNodes = `SELECT nodename || ':' || nodeport, success, result FROM run_command_on_workers($$SELECT current_setting('fsync') || ' ' || current_setting('full_page_writes') || ' ' || current_setting('synchronous_commit')$$)`

// loses is said where a standby may be promoted that lacks what was answered.
const loses = "a failover can lose answered entries"

// standbys says whether what was answered is on a second machine.
func standbys(names string, connected int) Setting {
	s := Setting{Name: "standbys", Found: "synchronous: " + names}
	switch {
	case names != "":
	case connected == 0:
		s.Found = "none connected; once one is promoted without synchronous_standby_names, " + loses
	default:
		s.Fault = fmt.Errorf("%d standbys are connected and synchronous_standby_names is empty: %s; name them in synchronous_standby_names", connected, loses)
	}
	return s
}

// nodes looks at the other nodes of a cluster.
func (d *DB) nodes(ctx context.Context) (out []Setting, err error) {
	if has, err := d.hasCitus(ctx); err != nil || !has {
		return nil, err
	}
	err = d.Rows(ctx, func(r Row) error {
		var node, result string
		var ok bool
		if err := r.Scan(&node, &ok, &result); err != nil {
			return err
		}
		s := Setting{Name: "node " + node, Found: "fsync, full_page_writes, synchronous_commit: " + result}
		switch {
		case !ok:
			s.Fault = fmt.Errorf("it does not answer: what lies there can be neither read nor released")
		case result != "on on on" && result != "on on remote_apply":
			s.Fault = fmt.Errorf("fsync, full_page_writes and synchronous_commit are %q there: %s; set all three on", result, loses)
		}
		out = append(out, s)
		return nil
	}, sqlCitusNodes)
	if err != nil {
		return nil, fmt.Errorf("looking at the nodes of the cluster: %w", err)
	}
	return out, nil
}

// Settings looks at the engine's settings. It returns none for SQLite, whose settings
// are the vault's own and are checked whenever it opens.
func (d *DB) Settings(ctx context.Context) ([]Setting, error) {
	p, ok := d.engine.(*postgresDB)
	if !ok {
		return nil, nil
	}
	var version, fsync, pages, synchronous, names string
	var major, connections, used, connected int
	var readOnly bool
	err := p.Row(ctx, sqlPostgresSettings).Scan(&version, &major, &readOnly, &fsync, &pages, &synchronous, &connections, &used, &names, &connected)
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
	nodes, err := d.nodes(ctx)
	if err != nil {
		return nil, err
	}
	return append([]Setting{
		standbys(names, connected),
		{"version", version, fault(major < oldestPostgres, "PostgreSQL %s is no longer mended: upgrade to %d or newer", version, oldestPostgres)},
		{"role", "a primary, which can be written", fault(readOnly, "it cannot be written: a replica, or default_transaction_read_only is on; name the primary")},
		{"fsync", fsync, fault(fsync != "on", "fsync is %s: what the log says is durable is not; set fsync = on", fsync)},
		{"full_page_writes", pages, fault(pages != "on", "full_page_writes is %s: a crash can leave torn pages; set full_page_writes = on", pages)},
		{"synchronous_commit", synchronous + " in the vault's sessions", fault(synchronous != "on" && synchronous != "remote_apply", "synchronous_commit is %s in the vault's sessions: an answered entry could be lost", synchronous)},
		{"connections", fmt.Sprintf("up to %d of this process, %d in use by all, of %d", pool, used, connections),
			fault(pool > connections, "--pool is %d and the server allows %d: raise max_connections, or lower --pool", pool, connections)},
		{"clock", fmt.Sprintf("%s from this machine's; budgets go by the database's alone", apart),
			fault(apart.Abs() > maxClockDifference, "%s from this machine's: set the clocks by NTP; beyond %s nothing is disclosed or changed", apart, MaxApart)},
	}, nodes...), nil
}
