package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

func who() identity.Who {
	return identity.Who{Caller: identity.Caller{Principal: 1, Credential: 1, Lineage: 1}, Role: access.SupportAgent, Brand: 1}
}

func grant() access.Grant {
	p, err := access.Load(access.DefaultText())
	fatal(err)
	g, err := p.Authorize(who(), access.ActClear, "customer-support", record.Fields(record.Email, record.Phone))
	fatal(err)
	return g
}

func setPlenty(ctx context.Context, l *ledger.Ledger) {
	_, err := l.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: who(), Detail: entry.BudgetRules{Rules: string(plenty().Encode())}})
	fatal(err)
}

func release(ctx context.Context, l *ledger.Ledger, g access.Grant, ords ...record.Ordinal) {
	h, err := l.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ticket: "CASE-1", Ords: ords})
	fatal(err)
	key := make([]byte, 32)
	_, err = l.Append(ctx, h, func(_ int, c entry.Committed) [32]byte {
		return entry.Commitment(key, c)
	})
	fatal(err)
}

const (
	sqlSQLiteBareTable   = `CREATE TABLE bare (n integer PRIMARY KEY, b blob NOT NULL)`
	sqlPostgresBareTable = `CREATE TABLE bare (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bytea NOT NULL)`
	sqlBareInsert        = `INSERT INTO bare (b) VALUES ($1)`
	entryBytes           = 300
)

// appends compares a disclosure decided and logged, one customer each, with a bare
// durable commit of as many bytes on the same engine, and with Tessera on files.
func (b *bench) appends(ctx context.Context) {
	fmt.Printf("## Log appends a second, %s; ratios of this run\n", b.engine())
	fmt.Println("writers | cloakroom | bare commit | tessera posix (best of 3) | to bare | to tessera")
	for _, n := range []int{1, 64, 512} {
		d, done := b.open(ctx, "log")
		l := openLog(ctx, d)
		setPlenty(ctx, l)
		g := grant()
		ours, p50, _ := b.rate(n, func(w, i int) { release(ctx, l, g, record.Ordinal(w*100000+i%100000+1)) })
		fatal(l.Close())
		done()

		d, done = b.open(ctx, "bare")
		table := sqlSQLiteBareTable
		if d.Engine() == db.Postgres {
			table = sqlPostgresBareTable
		}
		_, err := d.Exec(ctx, table)
		fatal(err)
		leaf := make([]byte, entryBytes)
		rand.Read(leaf)
		bare, _, _ := b.rate(n, func(int, int) {
			_, err := d.Exec(ctx, sqlBareInsert, leaf)
			fatal(err)
		})
		done()

		best := 0.0
		for _, batch := range []struct {
			size uint
			age  time.Duration
		}{{256, 5 * time.Millisecond}, {512, 50 * time.Millisecond}, {1024, 250 * time.Millisecond}} {
			best = max(best, b.tessera(ctx, n, batch.size, batch.age))
		}
		fmt.Printf("%d | %.0f (p50 %v) | %.0f | %.0f | %.2f | %.2f\n", n, ours, p50.Round(10*time.Microsecond), bare, best, ours/bare, ours/best)
	}
}

func (b *bench) tessera(ctx context.Context, n int, size uint, age time.Duration) float64 {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// What it runs in the background may still write for a moment: a directory for each.
	dir, err := os.MkdirTemp(b.dir, "tessera-")
	fatal(err)
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	fatal(err)
	s, err := signer(ctx, 1)
	fatal(err)
	a, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(s).WithBatching(size, age).WithCheckpointInterval(time.Second))
	fatal(err)
	rate, _, _ := b.rate(n, func(int, int) {
		leaf := make([]byte, entryBytes)
		rand.Read(leaf)
		_, err := a.Add(ctx, tessera.NewEntry(leaf))()
		fatal(err)
	})
	fatal(shutdown(ctx))
	return rate
}

const sqlLogBytes = `SELECT sum(length(entries) + length(hashes) + length(subjects) + coalesce(length(vals), 0)) FROM log_groups`

// bytes measures what the log keeps for each customer disclosed.
func (b *bench) bytes(ctx context.Context) {
	fmt.Println("## Bytes of log for each customer disclosed")
	for _, size := range []int{1, 500, 10000} {
		d := b.sqlite(ctx, "bytes")
		l := openLog(ctx, d)
		setPlenty(ctx, l)
		g := grant()
		read := func() (n int64) {
			fatal(d.Row(ctx, sqlLogBytes).Scan(&n))
			return n
		}
		before := read()
		const rounds = 20
		for r := range rounds {
			ords := make([]record.Ordinal, size)
			for i := range ords {
				ords[i] = record.Ordinal(r + i*37 + 1)
			}
			release(ctx, l, g, ords...)
		}
		fmt.Printf("%d at a time: %.1f bytes\n", size, float64(read()-before)/float64(rounds*size))
		fatal(l.Close())
		fatal(d.Close())
	}
}

const sqlNoSnapshots = `DELETE FROM log_snapshots`

// starts measures how long a server takes until it can decide, from the whole log and
// from a snapshot, and how long it takes to read who read one customer.
func (b *bench) starts(ctx context.Context) {
	d, done := b.open(ctx, "start")
	defer done()
	l := openLog(ctx, d)
	setPlenty(ctx, l)
	g := grant()
	const writers = 512
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < b.entries; i += writers {
				release(ctx, l, g, record.Ordinal(1+i*7919%1000000))
			}
		})
	}
	wg.Wait()
	fatal(l.Close()) // which leaves a snapshot
	from := func() time.Duration {
		l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{SnapshotEvery: 1 << 62})
		start := time.Now()
		_, err := l.Usage(ctx, 1, budget.Holder{Kind: budget.Brand})
		fatal(err)
		took := time.Since(start)
		fatal(l.Close())
		return took
	}
	snapshot := from()
	_, err := d.Exec(ctx, sqlNoSnapshots)
	fatal(err)
	whole := from()
	l = ledger.Open(d, keystest.Ring(d), signer, ledger.Options{SnapshotEvery: 1 << 62})
	start, n := time.Now(), 0
	fatal(l.Concerning(ctx, 1, 1, 0, func(ledger.Disclosure) error { n++; return nil }))
	read := time.Since(start)
	fatal(l.Close())
	fmt.Printf("## Start over %d entries, %s\nwhole log %v, from a snapshot %v, %.2fx; who read one customer (%d entries) %v\n",
		b.entries, b.engine(), whole.Round(time.Millisecond), snapshot.Round(time.Millisecond), snapshot.Seconds()/whole.Seconds(), n, read.Round(time.Millisecond))
}
