package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Of the log that whoReads asks, one entry in bulkEvery is of bulkCustomers, and the
// rest of one: five customers an entry.
const (
	bulkEvery     = 10
	bulkCustomers = 41
	whoReadOrds   = 1_000_000
)

// The index is written beside what else a server does: it is waited for, so long.
const (
	sqlIndexed    = `SELECT coalesce(max(first), 0), coalesce(sum(length(data)), 0) FROM log_index`
	indexDeadline = 5 * time.Minute
)

// whoReads measures how long it takes to find the entries that concern a customer, with
// what proving each takes, in a log of the given number of entries. A log that is in the
// directory from a run before is asked again.
func (b *bench) whoReads(ctx context.Context) {
	file := filepath.Join(b.dir, fmt.Sprintf("who-read-%d.db", b.entries))
	dsn, done, open := file, func() {}, db.OpenSQLite
	if b.database != "" {
		dsn, done = b.postgres(ctx)
		open = db.OpenPostgres
	}
	_, err := os.Stat(file)
	there := err == nil && b.database == ""
	d, err := open(ctx, dsn, db.Options{})
	fatal(err)
	fatal(d.Migrate(ctx))
	if !there {
		began := time.Now()
		b.fill(ctx, d)
		fmt.Printf("filled in %v\n", time.Since(began).Round(time.Millisecond))
	}
	l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
	_, err = l.Usage(ctx, 1, budget.Holder{Kind: budget.Brand}) // which loads it
	fatal(err)
	began := time.Now()
	var newest, bytes int64
	for {
		fatal(d.Row(ctx, sqlIndexed).Scan(&newest, &bytes))
		if newest+2*ledger.DefaultIndexSpan > int64(b.entries) || time.Since(began) > indexDeadline {
			break
		}
		time.Sleep(time.Second)
	}
	fmt.Printf("indexed up to %d after %v, %d bytes\n", newest, time.Since(began).Round(time.Millisecond), bytes)
	fmt.Printf("## Who read one customer, of %d entries of %d customers on average, %s\n", b.entries, (bulkCustomers+bulkEvery-1)/bulkEvery, b.engine())
	for _, ord := range []record.Ordinal{1, 1, 2, 77_777, 500_001, 999_999, 999_999} {
		n := 0
		began := time.Now()
		fatal(l.Concerning(ctx, 1, ord, 0, func(ledger.Disclosure) error { n++; return nil }))
		fmt.Printf("customer %d: %d entries, %v\n", ord, n, time.Since(began).Round(100*time.Microsecond))
	}
	fatal(l.Close())
	fatal(d.Close())
	done()
}

// fill writes the log.
func (b *bench) fill(ctx context.Context, d *db.DB) {
	l := openLog(ctx, d)
	setPlenty(ctx, l)
	g := grant()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 512 {
		wg.Go(func() {
			for i := next.Add(1); i < int64(b.entries); i = next.Add(1) {
				one := record.Ordinal(1 + i*7919%whoReadOrds)
				if i%bulkEvery != 0 {
					release(ctx, l, g, one)
					continue
				}
				first := 1 + int64(one)%(whoReadOrds-bulkCustomers*97)
				var many []record.Ordinal
				for j := range int64(bulkCustomers) {
					many = append(many, record.Ordinal(first+j*97))
				}
				release(ctx, l, g, many...)
			}
		})
	}
	wg.Wait()
	fatal(l.Close())
}
