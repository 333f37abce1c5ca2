package alarm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// BenchmarkStart is how long a server takes from its start until it has caught up with a
// log of so many entries by so many people: after a stop, after a kill at the worst
// moment, and without a snapshot, as it was before there were any. The first two do not
// grow with the log.
//
//	go test -run - -bench Start -benchtime 3x ./internal/watch/detect
func BenchmarkStart(b *testing.B) {
	for _, entries := range []int{20_000, 100_000, 400_000} {
		d := dbtest.SQLite(b, db.Options{})
		fill := written(b, d, entries)
		for _, how := range []string{"stopped", "killed", "replay"} {
			b.Run(fmt.Sprintf("entries=%d/%s", entries, how), func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					if how == "replay" {
						for _, sql := range []string{`DELETE FROM follower_snapshots`, `DELETE FROM follower_snapshot_parts`} {
							if _, err := d.Exec(b.Context(), sql); err != nil {
								b.Fatal(err)
							}
						}
					}
					if how == "killed" { // just before the next snapshot
						fill(follow.DefaultSnapshotEvery - 1)
					}
					b.StartTimer()
					caughtUp(b, d)
				}
			})
			caughtUp(b, d) // with a snapshot again
		}
	}
}

// written makes a log and returns what makes it longer.
func written(b *testing.B, d *db.DB, entries int) (fill func(int)) {
	const brand, people, writers = record.BrandID(1), 1200, 512
	err := d.Tx(b.Context(), func(q db.Queryer) error {
		s, err := signer(b.Context(), brand)
		if err != nil {
			return err
		}
		return ledger.Create(b.Context(), q, brand, s, time.UnixMicro(1))
	})
	if err != nil {
		b.Fatal(err)
	}
	p := place{db: d, brand: brand}
	n := 0
	fill = func(more int) {
		l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
		defer l.Close()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := w; i < more; i += writers {
					ev := ledger.Event{Kind: entry.KindAudit, Who: p.agent(uint64(i%people + 1)), Ords: []record.Ordinal{record.Ordinal((n+i)*7919%1_000_000 + 1)},
						Commit: func(int, entry.Committed) [32]byte { return [32]byte{1} }}
					if _, err := l.Record(b.Context(), ev); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		n += more
	}
	fill(entries)
	caughtUp(b, d)
	return fill
}

// caughtUp starts a server, waits until it has caught up, and stops it.
func caughtUp(b *testing.B, d *db.DB) {
	feed := follow.NewFeed()
	l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
	r := follow.New(d, l, feed)
	Watch(r, NewStore(d), nil, nil)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	if err := r.Settle(ctx, 1); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	l.Close()
	b.StartTimer()
}
