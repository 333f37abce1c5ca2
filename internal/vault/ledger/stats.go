package ledger

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Stats are counts of this server's commits since its start.
type Stats struct {
	Groups, Entries uint64        // committed
	Took            time.Duration // by the commits of all groups together
	Writable        bool          // the last group of each log was committed
}

type stats struct {
	groups, entries, micros atomic.Uint64
}

// committed counts a group; failed, that the log of a brand could not be written.
func (c *chain) committed(entries int, took time.Duration) {
	c.unwritable.Store(false)
	c.l.stats.groups.Add(1)
	c.l.stats.entries.Add(uint64(entries))
	c.l.stats.micros.Add(uint64(took.Microseconds()))
}

// Stats returns what this server committed.
func (l *Ledger) Stats() Stats {
	out := Stats{Groups: l.stats.groups.Load(), Entries: l.stats.entries.Load(), Took: time.Duration(l.stats.micros.Load()) * time.Microsecond, Writable: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.chains {
		out.Writable = out.Writable && !c.unwritable.Load()
	}
	return out
}

const sqlCountEntries = `SELECT coalesce(sum((SELECT max(t.size) FROM log_tips t WHERE t.brand = h.brand)), 0) FROM log_heads h`

// Logged returns how many entries all logs have together.
func (l *Ledger) Logged(ctx context.Context) (n int64, err error) {
	if err := l.db.Row(ctx, sqlCountEntries).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the entries: %w", err)
	}
	return n, nil
}
