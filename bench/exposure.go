package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// What the history of exposure has of principals, and how long it is.
const (
	staff       = 1000
	historyDays = 60
)

// exposure measures what it takes to say what each of 1,000 principals used in 30 days
// of the given number of entries, from a log of twice as many: following it once, reading
// the figures, which is a request, and starting from a snapshot; and the memory that the
// figures hold. A log that is in the directory from a run before is measured again.
func (b *bench) exposure(ctx context.Context) {
	file := filepath.Join(b.dir, fmt.Sprintf("exposure-%d.db", b.entries))
	var now atomic.Int64
	o := db.Options{Clock: func() time.Time { return time.UnixMicro(now.Load()) }}
	dsn, done, open := file, func() {}, db.OpenSQLite
	if b.database != "" {
		dsn, done = b.postgres(ctx)
		open = db.OpenPostgres
	}
	_, err := os.Stat(file)
	there := err == nil && b.database == ""
	d, err := open(ctx, dsn, o)
	fatal(err)
	fatal(d.Migrate(ctx))
	if !there {
		b.work(ctx, d, &now)
	}
	at := time.Now()
	now.Store(at.UnixMicro())
	l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{}) // of which nothing is read but the log
	before := heap()
	h := budget.NewHistory()
	began, cpu := time.Now(), cpuTime()
	n := 0
	fatal(l.Scan(ctx, 1, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		for _, x := range ledger.CountsOf(follow.Entry{Index: i, Entry: &e, Ords: ords}) {
			n++
			if err := h.Add(x); err != nil {
				return err
			}
		}
		return nil
	}))
	followed, took := time.Since(began), cpuTime()-cpu
	held := heap() - before
	began = time.Now()
	uses := h.Measure(at)
	asked := time.Since(began)
	var snapshot bytes.Buffer
	fatal(h.Encode(bufio.NewWriter(&snapshot)))
	size := snapshot.Len()
	began = time.Now()
	_, err = budget.DecodeHistory(bufio.NewReader(&snapshot))
	fatal(err)
	fmt.Printf("## Exposure over %d disclosures in 60 days, %s\nfollowed from the log in %v, %v of CPU each; asked %v; %d MiB held; a snapshot of %d MiB read in %v\n%d holders; the brand %+v\n",
		n, b.engine(), followed.Round(time.Millisecond), (took / time.Duration(max(1, n))).Round(100*time.Nanosecond), asked.Round(10*time.Microsecond),
		held>>20, size>>20, time.Since(began).Round(time.Millisecond), len(uses), uses[budget.Holder{Kind: budget.Brand}].Together)
	fatal(l.Close())
	fatal(d.Close())
	done()
}

// work writes the log of 60 days, up to now.
func (b *bench) work(ctx context.Context, d *db.DB, now *atomic.Int64) {
	start := time.Now().Add(-historyDays * 24 * time.Hour)
	now.Store(start.UnixMicro())
	l := openLog(ctx, d)
	setPlenty(ctx, l)
	p, err := access.Load(access.DefaultText())
	fatal(err)
	steps := historyDays * 24 * 12
	n := 0
	for step := range steps {
		now.Store(start.Add(time.Duration(step) * budget.BucketLength).UnixMicro())
		var wg sync.WaitGroup
		for ; n < 2*b.entries*(step+1)/steps; n++ {
			visit := n / 3
			me := uint64(visit*7919%staff) + 1
			who := identity.Who{Caller: identity.Caller{Principal: me, Credential: me, Lineage: me}, Role: access.SupportAgent, Brand: 1}
			r := ledger.Release{Class: budget.Class(2 - n%3), Ticket: "CASE-1", Ords: []record.Ordinal{record.Ordinal(1 + visit*104729%1_000_000)}}
			if r.Class == budget.Clear {
				r.Grant, err = p.Authorize(who, access.ActClear, "customer-support", record.Fields(record.Email))
			} else {
				r.Grant, err = p.View(who, "customer-support", record.AllFields)
			}
			fatal(err)
			wg.Go(func() {
				h, err := l.Hold(ctx, r)
				fatal(err)
				_, err = l.Append(ctx, h, func(_ int, c entry.Committed) [32]byte {
					return entry.Commitment(make([]byte, 32), c)
				})
				fatal(err)
			})
		}
		wg.Wait()
	}
	fatal(l.Close())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
