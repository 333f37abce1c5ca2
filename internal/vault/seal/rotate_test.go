package seal

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// begin begins a rotation and claims it.
func (v *vault) begin(of record.BrandID, kind keys.Kind) *keys.Rotation {
	v.t.Helper()
	ctx := v.t.Context()
	err := v.d.Tx(ctx, func(q db.Queryer) error {
		next, err := v.NextOrdinal(ctx, q)
		if err != nil {
			return err
		}
		_, err = v.ring.Rotate(ctx, q, of, kind, next, keys.Starter{Principal: 7, Role: "administrator"}, time.UnixMicro(2))
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return v.claim()
}

func (v *vault) claim() *keys.Rotation {
	v.t.Helper()
	rot, err := v.ring.Claim(v.t.Context(), "test")
	if err != nil || rot == nil {
		v.t.Fatalf("claimed %v, %v", rot, err)
	}
	return rot
}

// finish does a rotation's work and destroys the old key.
func (v *vault) finish(ctx context.Context, rot *keys.Rotation) error {
	if rot.Kind == keys.KEK {
		if err := v.Rewrap(ctx, rot); err != nil {
			return err
		}
		return v.ring.Finish(ctx, rot)
	}
	who := v.who
	who.Brand = rot.Brand
	r, err := v.log.Record(ctx, ledger.Event{Kind: entry.KindRotation, Who: who})
	if err != nil {
		return err
	}
	if err := v.Reindex(ctx, r, rot); err != nil {
		return err
	}
	return v.ring.Finish(ctx, rot)
}

func (v *vault) putMany(from, n int) {
	v.t.Helper()
	var puts []Put
	for i := range n {
		puts = append(puts, Put{Set: record.AllFields, Customer: numbered(from + i)})
	}
	if err := v.apply(v.PrepareCustomers(v.t.Context(), brand, puts)); err != nil {
		v.t.Fatal(err)
	}
}

func numbered(i int) record.Customer {
	c := customer(fmt.Sprint("C-", i), fmt.Sprint("Name ", i), fmt.Sprintf("c%d@example.com", i))
	c.Set(record.Phone, fmt.Sprintf("+336%08d", i))
	return c
}

func (v *vault) erase(ord record.Ordinal) error {
	ctx := v.t.Context()
	u, err := v.Fetch(ctx, brand, []record.Ordinal{ord}, 0)
	if err != nil {
		return err
	}
	r, err := v.log.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: v.who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		return err
	}
	return v.Erase(ctx, r, ord, func(context.Context, db.Queryer, []byte) error { return nil })
}

const (
	sqlTestCountKEK      = `SELECT count(*) FROM customer_keys WHERE kek = $1`
	sqlTestCountKeys     = `SELECT count(*) FROM brand_keys WHERE brand = $1 AND kind = $2`
	sqlTestBreakWrapped  = `UPDATE customer_keys SET wrapped = $2 WHERE ord = $1`
	sqlTestWrappedOf     = `SELECT wrapped FROM customer_keys WHERE ord = $1`
	sqlTestCountLookups  = `SELECT count(*) FROM lookups`
	sqlTestCountExternal = `SELECT count(*) FROM externals`
	sqlTestNote          = `UPDATE rotations SET position = $1`
)

func (v *vault) count(sql string, args ...any) (n int64) {
	v.t.Helper()
	if err := v.d.Row(v.t.Context(), sql, args...).Scan(&n); err != nil {
		v.t.Fatal(err)
	}
	return n
}

// Promise: a rotation loses nobody, stops no read, undoes no write and no erasure,
// and leaves nothing under the old key.
func TestKEKRotationUnderReadsWritesAndErasures(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) { rotateUnderLoad(t, d, brand, keys.KEK) })
}

// Promise: search finds everybody while the index key is rotated, no external id is
// given twice, and nothing of the old key is left.
func TestIndexRotationUnderSearchesWritesAndErasures(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		of   record.BrandID
		kind keys.Kind
	}{"index": {brand, keys.Index}, "incident": {record.Group, keys.Incident}} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) { rotateUnderLoad(t, d, x.of, x.kind) })
		})
	}
}

func rotateUnderLoad(t *testing.T, d *db.DB, of record.BrandID, kind keys.Kind) {
	v := newVault(t, d)
	ctx := t.Context()
	const n = 1500
	for from := 0; from < n; from += 500 {
		v.putMany(from, 500)
	}
	gone := map[record.Ordinal]bool{}
	made := n
	stop := make(chan struct{})
	g, gctx := errgroup.WithContext(ctx)
	until := func(fn func() error) {
		g.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				case <-gctx.Done():
					return nil
				default:
				}
				if err := fn(); err != nil {
					return err
				}
			}
		})
	}
	var mu sync.Mutex // of gone and made; erasing under it keeps it from a search
	until(func() error {
		i := rand.IntN(n)
		mu.Lock()
		defer mu.Unlock()
		if gone[record.Ordinal(i+1)] {
			return nil
		}
		c := numbered(i)
		for _, by := range []record.Field{record.Email, record.Phone, record.ExternalID} {
			got, err := v.Lookup(ctx, brand, by, c.Get(by), "")
			if err != nil || !slices.Contains(got, record.Ordinal(i+1)) {
				return fmt.Errorf("searching %d by %s found %v, %w", i, by, got, err)
			}
		}
		_, err := v.Fetch(ctx, brand, []record.Ordinal{record.Ordinal(i + 1)}, record.AllFields)
		return err
	})
	write := func(puts ...Put) error {
		for {
			p, err := v.PrepareCustomers(ctx, brand, puts)
			if err != nil {
				return err
			}
			if err := v.apply(p, nil); !errors.Is(err, ErrConflict) {
				return err
			}
		}
	}
	until(func() error { // changes a name, and with it the profile's version
		i := rand.IntN(n / 2)
		c := numbered(i)
		c.Set(record.GivenName, fmt.Sprint("Name ", rand.Int()))
		mu.Lock()
		defer mu.Unlock()
		if gone[record.Ordinal(i+1)] {
			return nil
		}
		return write(Put{Set: record.AllFields, Customer: c})
	})
	until(func() error {
		mu.Lock()
		defer mu.Unlock()
		made++
		return write(Put{Set: record.AllFields, Customer: numbered(made - 1)})
	})
	until(func() error {
		mu.Lock()
		defer mu.Unlock()
		ord := record.Ordinal(1 + n/2 + rand.IntN(n/2))
		if gone[ord] || len(gone) > n/10 {
			return nil
		}
		gone[ord] = true
		err := v.erase(ord)
		for errors.Is(err, ErrConflict) {
			err = v.erase(ord)
		}
		return err
	})
	for range 2 { // twice, the second time from the key that the first one made
		if err := v.finish(ctx, v.begin(of, kind)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := v.count(sqlTestCountKeys, int64(of), string(kind)); got != 1 {
		t.Errorf("%d versions of the key are left", got)
	}
	left := int64(made - len(gone))
	if got := v.count(sqlTestCountKEK, map[bool]int{true: 3, false: 1}[kind == keys.KEK]); got != left {
		t.Errorf("%d keys are under the newest KEK, of %d customers", got, left)
	}
	// Two lookups by the brand's key and two by the group's, one external id: no more,
	// no fewer.
	if got := v.count(sqlTestCountLookups); got != 4*left {
		t.Errorf("%d lookups of %d customers", got, left)
	}
	if got := v.count(sqlTestCountExternal); got != left {
		t.Errorf("%d external ids of %d customers", got, left)
	}
	// Another server, which never saw the old keys, opens everybody.
	other := &vault{New(d, keys.NewRing(d, v.root)), t, d, v.log, v.who, v.p, v.root}
	for i := 0; i < made; i += 7 {
		got, err := other.Lookup(ctx, brand, record.ExternalID, fmt.Sprint("C-", i), "")
		if err != nil || (len(got) == 1) == gone[record.Ordinal(i+1)] {
			t.Fatalf("customer %d: found %v, %v", i, got, err)
		}
		if len(got) == 1 {
			u, err := other.Fetch(ctx, brand, got, 0)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := u.matches(0, record.ExternalID, fmt.Sprint("C-", i), ""); err != nil || !ok {
				t.Fatalf("customer %d does not open: %v", i, err)
			}
		}
	}
}

// Promise: killed anywhere, a rotation goes on.
func TestARotationGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	for _, kind := range []keys.Kind{keys.KEK, keys.Index} {
		t.Run(string(kind), func(t *testing.T) {
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
				v := newVault(t, d)
				ctx := t.Context()
				v.putMany(0, 40)
				rot := v.begin(brand, kind)
				// As a kill leaves it: some were moved, and the noted position is behind them.
				fn := v.spanOf(rot)
				if _, _, err := fn(ctx, 0, 21); err != nil {
					t.Fatal(err)
				}
				v.exec(sqlTestNote, 11)
				if other, err := v.ring.Claim(ctx, "another"); err != nil || other != nil {
					t.Fatalf("another server took over a rotation that is worked on: %v, %v", other, err)
				}
				again := v.claim()
				if again.Position != 11 {
					t.Errorf("it begins at %d again", again.Position)
				}
				if err := v.finish(ctx, again); err != nil {
					t.Fatal(err)
				}
				if err := v.ring.Advance(ctx, rot, 12, 0, 0); !errors.Is(err, keys.ErrLease) {
					t.Errorf("one who was thought dead goes on: %v", err)
				}
				for i := range 40 {
					if got, err := v.Lookup(ctx, brand, record.Email, fmt.Sprintf("c%d@example.com", i), ""); err != nil || len(got) != 1 {
						t.Errorf("customer %d: %v, %v", i, got, err)
					}
					if _, err := v.Fetch(ctx, brand, []record.Ordinal{record.Ordinal(i + 1)}, 0); err != nil {
						t.Errorf("customer %d: %v", i, err)
					}
				}
			})
		})
	}
}

func (v *vault) spanOf(rot *keys.Rotation) span {
	v.t.Helper()
	all, err := v.ring.All(v.t.Context(), rot.Brand, rot.Kind)
	if err != nil {
		v.t.Fatal(err)
	}
	if rot.Kind != keys.KEK {
		m := mover{s: v.Store, brand: rot.Brand, kind: rot.Kind, to: all[0], from: all[1:]}
		return m.span
	}
	w := wrapper{s: v.Store, brand: rot.Brand, to: rot.Version, aeads: map[int]cipher.AEAD{}}
	for _, k := range all {
		if w.aeads[k.Version], err = opener.GCM(k.Bytes()); err != nil {
			v.t.Fatal(err)
		}
	}
	return w.span
}

// Promise: a key that something still needs is not destroyed.
func TestARotationStandsStillWhereCustomersDoNotOpen(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		v.putMany(0, 10)
		var good []byte
		if err := d.Row(t.Context(), sqlTestWrappedOf, 4).Scan(&good); err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(good)
		bad[20] ^= 1
		v.exec(sqlTestBreakWrapped, 4, bad)
		for _, kind := range []keys.Kind{keys.Index, keys.KEK} {
			if err := v.finish(t.Context(), v.begin(brand, kind)); !errors.Is(err, ErrStuck) {
				t.Fatalf("%s: %v", kind, err)
			}
			if got := v.count(sqlTestCountKeys, int64(brand), string(kind)); got != 2 {
				t.Errorf("%d versions of the %s key", got, kind)
			}
			if rot, err := v.ring.Claim(t.Context(), "test"); err != nil || rot != nil {
				t.Errorf("one that stands still was taken up: %v, %v", rot, err)
			}
		}
		v.exec(sqlTestBreakWrapped, 4, good) // restored
		for _, kind := range []keys.Kind{keys.Index, keys.KEK} {
			rot := v.begin(brand, kind)
			if rot.Version != 2 || rot.Position != 0 {
				t.Errorf("it did not go on: %+v", rot)
			}
			if err := v.finish(t.Context(), rot); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := v.Fetch(t.Context(), brand, []record.Ordinal{4}, 0); err != nil {
			t.Error(err)
		}
	})
}

// Promise: what was prepared before a rotation is not written after it.
func TestAWritePreparedWithAnOldKeyIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		v.putMany(0, 3)
		for _, x := range []struct {
			of   record.BrandID
			kind keys.Kind
		}{{brand, keys.KEK}, {brand, keys.Index}, {record.Group, keys.Incident}} {
			p, err := v.PrepareCustomers(t.Context(), brand, []Put{{Set: record.AllFields, Customer: numbered(100)}})
			if err != nil {
				t.Fatal(err)
			}
			rot := v.begin(x.of, x.kind)
			if err := v.apply(p, nil); !errors.Is(err, ErrConflict) {
				t.Errorf("%s: while it is rotated: %v", x.kind, err)
			}
			if err := v.finish(t.Context(), rot); err != nil {
				t.Fatal(err)
			}
			if err := v.apply(p, nil); !errors.Is(err, ErrConflict) {
				t.Errorf("%s: after it was rotated: %v", x.kind, err)
			}
		}
		v.putMany(100, 1)
	})
}

// Promise: a token given out stays good when the key is rotated.
func TestOldTokensResolveAfterARotation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		var tokens []string
		for range 4 {
			token, err := v.Token(ctx, brand, 77)
			if err != nil || slices.Contains(tokens, token) {
				t.Fatalf("the same token again, or %v", err)
			}
			tokens = append(tokens, token)
			err = d.Tx(ctx, func(q db.Queryer) error {
				_, err := v.ring.Rotate(ctx, q, brand, keys.Token, 1, keys.Starter{}, time.UnixMicro(2))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if ords, err := v.Resolve(ctx, brand, tokens); err != nil || !slices.Equal(ords, []record.Ordinal{77, 77, 77, 77}) {
			t.Errorf("%v, %v", ords, err)
		}
		if rot, err := v.ring.Claim(ctx, "test"); err != nil || rot != nil {
			t.Errorf("there is work to do: %v, %v", rot, err)
		}
	})
}

// Promise: a customer who is written before the rotation came to them is found by
// what the write did not change.
func TestAWriteBeforeTheMoveKeepsWhatItDidNotChange(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		v.putMany(0, 2)
		rot := v.begin(brand, keys.Index)
		c := numbered(1)
		c.Set(record.Email, "other@example.com")
		v.put(c)
		check := func(when string) {
			for by, want := range map[record.Field]int{record.Email: 1, record.Phone: 1, record.ExternalID: 1} {
				if got, err := v.Lookup(ctx, brand, by, c.Get(by), ""); err != nil || len(got) != want {
					t.Errorf("%s: by %s found %v, %v", when, by, got, err)
				}
			}
			if got, err := v.Lookup(ctx, brand, record.Email, "c1@example.com", ""); err != nil || len(got) != 0 {
				t.Errorf("%s: the address of before still finds %v, %v", when, got, err)
			}
		}
		check("before the move")
		if err := v.finish(ctx, rot); err != nil {
			t.Fatal(err)
		}
		check("after the move")
		if l, e := v.count(sqlTestCountLookups), v.count(sqlTestCountExternal); l != 8 || e != 2 {
			t.Errorf("%d lookups and %d external ids of 2 customers", l, e)
		}
	})
}

// Promise: no read fails because of a rotation: what was read before it is opened
// after the old key was destroyed.
func TestARowReadBeforeARotationOpensAfterIt(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		v.putMany(0, 3)
		var wrapped []byte
		if err := d.Row(ctx, sqlTestWrappedOf, 2).Scan(&wrapped); err != nil {
			t.Fatal(err)
		}
		want, err := v.unwrap(ctx, brand, 2, 1, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.finish(ctx, v.begin(brand, keys.KEK)); err != nil {
			t.Fatal(err)
		}
		if got, err := v.unwrap(ctx, brand, 2, 1, wrapped); err != nil || got != want {
			t.Errorf("%v", err)
		}
		if err := v.erase(2); err != nil {
			t.Fatal(err)
		}
		if _, err := v.unwrap(ctx, brand, 2, 1, wrapped); !errors.Is(err, ErrNoCustomer) {
			t.Errorf("the erased customer's key: %v", err)
		}
	})
}
