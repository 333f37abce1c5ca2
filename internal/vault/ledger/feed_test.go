package ledger

import (
	"reflect"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// What followers get from memory is what reading the log gives.
func TestWhatWasCommittedIsWhatIsRead(t *testing.T) {
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		begin(t, d)
		var mu sync.Mutex
		var fed []follow.Entry
		l := Open(d, keystest.Ring(d), signer, Options{Committed: func(b record.BrandID, es []follow.Entry) {
			mu.Lock()
			defer mu.Unlock()
			if b == brand {
				fed = append(fed, es...)
			}
		}})
		setRules(t, l, rules(t, 1<<30))
		g := grant(t, agent(4, 5))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ords := []record.Ordinal{record.Ordinal(i + 1), record.Ordinal(i + 2)}
				h, err := l.Hold(ctx, Release{Grant: g, Ords: ords, Ticket: "CASE-1"})
				if err == nil {
					_, err = l.Append(ctx, h, committing(ords, g.Fields()))
				}
				if err == nil {
					_, err = l.Record(ctx, Event{Kind: entry.KindDetection, Who: agent(1, 1), Detail: entry.DetectionRules{Rules: "none"}})
				}
				if err == nil {
					_, err = l.Record(ctx, Event{Kind: entry.KindAudit, Who: agent(1, 1)})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := l.Close(); err != nil { // it has fed what it committed
			t.Fatal(err)
		}
		n := 0
		err := open(t, d).Scan(ctx, brand, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			got, said := fed[i], *fed[i].Entry
			said.Reader = e.Reader // of proofs alone, for which it is derived where an entry is read
			if got.Index != i || !reflect.DeepEqual(said, e) || !reflect.DeepEqual(got.Ords, ords) {
				t.Errorf("fed %d %+v %v,\nread %d %+v %v", got.Index, *got.Entry, got.Ords, i, e, ords)
			}
			n++
			return nil
		})
		if err != nil || n != len(fed) || n < 60 {
			t.Fatalf("%d entries, %d fed, %v", n, len(fed), err)
		}
	})
}

// A secret of a log is the same each time, and another log's and another use's are others.
func TestALogHasASecretForEachUse(t *testing.T) {
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		l := open(t, d)
		secret := func(b record.BrandID, use string) [32]byte {
			t.Helper()
			out, err := l.Secret(t.Context(), b, use)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		if first, again := secret(brand, "a"), secret(brand, "a"); first != again {
			t.Error("two secrets of one use differ")
		}
		if secret(brand, "a") == secret(brand, "b") || secret(brand, "a") == secret(brand+1, "a") {
			t.Error("another use or another log has the same secret")
		}
		if sizes, err := l.Sizes(t.Context()); err != nil || len(sizes) != 1 || sizes[brand] != 0 {
			t.Error(sizes, err)
		}
	})
}
