package ledger

import (
	"bytes"
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
			if got := fed[i]; got.Index != i || !reflect.DeepEqual(*got.Entry, e) || !reflect.DeepEqual(got.Ords, ords) {
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

// What a log's key vouches for is the same each time, and another log's, another text's
// and a checkpoint's are others.
func TestALogVouchesForATextAlone(t *testing.T) {
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		l := open(t, d)
		vouch := func(b record.BrandID, text string) []byte {
			t.Helper()
			out, err := l.Vouch(t.Context(), b, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		if !bytes.Equal(vouch(brand, "a"), vouch(brand, "a")) {
			t.Error("two signatures of one text differ")
		}
		if bytes.Equal(vouch(brand, "a"), vouch(brand, "b")) || bytes.Equal(vouch(brand, "a"), vouch(brand+1, "a")) {
			t.Error("another text or another log has the same signature")
		}
		s, err := signer(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := s.Sign([]byte("a")); err != nil || bytes.Equal(vouch(brand, "a"), plain) {
			t.Error("a text is signed as it is: a checkpoint could be vouched for", err)
		}
		if sizes, err := l.Sizes(t.Context()); err != nil || len(sizes) != 1 || sizes[brand] != 0 {
			t.Error(sizes, err)
		}
	})
}
