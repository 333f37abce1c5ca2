package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// A backup of either engine comes back on either, and is the same vault: the same
// customers under the same tokens, the same log, the same budgets used.
func TestRestoreOnEitherEngine(t *testing.T) {
	engines(t, func(t *testing.T, from string) {
		h, c := newHouse(t, from, 48), newCustody(t)
		want := h.everybody()
		used := usage(h)
		m := c.backup(h, "full")
		next := h.count(`SELECT next FROM ordinals`)
		older := map[string]api.Checkpoint{}
		for _, b := range append(brands(), "group") {
			older[b] = h.checkpoint(b)
		}
		must(t, h.v.Close())
		engines(t, func(t *testing.T, to string) {
			o := c.options(h, to, "full")
			dry := o
			dry.DryRun = true
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			would, err := app.Restore(t.Context(), dry, nil)
			must(t, err)
			if _, err := os.Stat(o.Data); err == nil {
				t.Fatal("a dry run wrote a vault")
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("a dry run left %v, %v", left, err)
			}
			r, report := c.restored(h, o)
			if report.Customers != uint64(len(want)) || would.Customers != report.Customers || len(would.Logs) != 3 || report.Erased+report.Later+report.Finished+report.Unlogged != 0 {
				t.Fatalf("%+v, and the dry run %+v", report, would)
			}
			for _, f := range m.Parts {
				for table, n := range f.Rows {
					if table == "customer_versions" {
						table = "customer_keys"
					}
					if got := r.count(`SELECT count(*) FROM ` + table); got < int64(n) || got > int64(n) && !strings.HasPrefix(table, "log_") {
						t.Errorf("%s has %d rows and %d in the manifest", table, got, n)
					}
				}
			}
			r.verify(older)
			if got := usage(r); got != used {
				t.Errorf("budgets used: %s, and before %s", got, used)
			}
			if got := r.everybody(); !maps.Equal(got, want) {
				t.Errorf("%d customers came back, or others than the %d there were", len(got), len(want))
			}
			for _, b := range brands() {
				who, err := r.as("officer").WhoRead(t.Context(), b, r.tokens[b][0])
				must(t, err)
				if len(who.Disclosures) != 2 { // before the backup, and just now
					t.Errorf("%d disclosures", len(who.Disclosures))
				}
			}
			if got := r.count(`SELECT next FROM ordinals`); got < next {
				t.Errorf("the next ordinal is %d and was %d", got, next)
			}
			w, err := r.as("shop").Put(t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "NEW", "given_name": "Noor"}}})
			must(t, err)
			if _, twice := want[w.Results[0].Token]; twice {
				t.Error("a token was given twice")
			}
			if _, err := app.Restore(t.Context(), o, nil); err == nil {
				t.Error("a vault that is open was restored over")
			}
			must(t, r.v.Close())
			if _, err := app.Restore(t.Context(), o, nil); !errors.Is(err, backup.ErrNotEmpty) {
				t.Errorf("restoring over a vault: %v", err)
			}
		})
	})
}

// usage is what the officer used of each budget.
func usage(h *house) string {
	h.t.Helper()
	out := ""
	for _, b := range brands() {
		var u api.Exposure
		must(h.t, h.as("").Do(h.t.Context(), "GET", client.Path("brands", b, "exposure")+"?principal=officer", nil, &u))
		for _, r := range u.Rows {
			for _, x := range r.Classes {
				out += fmt.Sprint(r.Kind, r.ID, x.Class, *x.Now)
			}
		}
	}
	return out
}

// A backup that is made while customers are written, read and erased holds one state:
// all of it opens, and its log is whole.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		h, c := newHouse(t, engine, 200), newCustody(t)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					b := brands()[i%2]
					token := h.tokens[b][(i*7+w*13)%50]
					var err error
					switch w {
					case 0:
						err = h.as("shop").Do(ctx, "PATCH", client.Path("brands", b, "customers", token), api.Fields{"city": fmt.Sprint("City ", i)}, nil)
					case 1:
						_, err = h.as("shop").AddPurchases(ctx, b, api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: token, Purchases: []api.Purchase{
							{ID: fmt.Sprint("late-", i), At: "2025-05-01T10:00:00Z", Description: description, Amount: "1.00", Currency: "EUR"}}}}})
					case 2:
						_, err = h.as("alice").Reveal(ctx, b, api.RevealRequest{Tokens: []string{token}, Fields: []string{"email"}, Purpose: "customer-support"})
					default:
						_, err = h.as("shop").Put(ctx, b, api.PutRequest{Customers: []api.Fields{{"external_id": fmt.Sprint("L-", i), "given_name": "Lou"}}})
						if i < 20 {
							_, err = h.as("officer").Erase(ctx, b, h.tokens[b][60+i/2])
						}
					}
					var e *api.Error
					if err != nil && ctx.Err() == nil && !(errors.As(err, &e) && e.Type == api.TypeConflict) {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 2 {
			c.backup(h, fmt.Sprint("full", i))
		}
		stop()
		wg.Wait()
		for i := range 2 {
			r, report := c.restored(h, c.options(h, engine, fmt.Sprint("full", i)))
			if got := r.everybody(); uint64(len(got)) != report.Customers || len(got) < 180 {
				t.Fatalf("%d customers open, %+v", len(got), report)
			}
			if report.Unlogged+report.Later+report.Erased != 0 {
				t.Fatalf("%+v", report)
			}
			r.verify(nil)
			must(t, r.v.Close())
		}
	})
}

// Data of Monday with keys and log of Wednesday: who was erased on Tuesday stays erased.
func TestErasureSurvivesRestore(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 40), newCustody(t)
		gone, changed, beside := h.tokens["gucci"][0], h.tokens["gucci"][1], h.tokens["gucci"][2]
		monday := h.reveal("gucci", h.tokens["gucci"]...)
		c.backup(h, "monday")

		// Tuesday.
		_, err := h.as("officer").Erase(ctx, "gucci", gone)
		must(t, err)
		must(t, h.as("shop").Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", changed), api.Fields{"city": "Tuesday"}, nil))
		_, err = h.as("shop").AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: changed, Purchases: []api.Purchase{
			{ID: "tuesday", At: "2025-05-01T10:00:00Z", Description: description, Amount: "1.00", Currency: "EUR"}}}}})
		must(t, err)
		w, err := h.as("shop").Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "TUE", "given_name": "Tue"}, {"external_id": "TUE2", "given_name": "Tue"}}})
		must(t, err)
		must(t, h.as("").Do(ctx, "DELETE", fmt.Sprintf("/v1/lineages/%d", h.lineages["alice"]), nil, nil))
		must(t, h.as("").Do(ctx, "POST", "/v1/brands", api.Brand{Name: "ysl"}, nil))

		c.backup(h, "wednesday", db.PartKeys, db.PartLog)
		c.backup(h, "log", db.PartLog)
		cp := h.checkpoint("gucci")
		must(t, h.v.Close())

		check := func(t *testing.T, r *house) {
			t.Helper()
			for _, token := range []string{gone, w.Results[0].Token} {
				var e *api.Error
				if _, err := r.as("officer").View(ctx, "gucci", token, "data-subject-request", ""); !errors.As(err, &e) || e.Type != api.TypeUnknownToken {
					t.Errorf("who must not be there: %v", err)
				}
			}
			ords, err := r.v.Disclose.Seal.Resolve(ctx, 1, []string{gone})
			must(t, err)
			for _, table := range []string{"customer_keys", "purchases", "lookups", "externals", "former_values"} {
				if n := r.count(`SELECT count(*) FROM `+table+` WHERE ord = $1`, int64(ords[0])); n != 0 {
					t.Errorf("%d rows of an erased customer in %s", n, table)
				}
			}
			if n := r.count(`SELECT count(*) FROM customers WHERE ord = $1 AND sealed IS NULL AND erased > 0`, int64(ords[0])); n != 1 {
				t.Error("an erased customer is not marked as erased")
			}
			if got := r.reveal("gucci", changed, beside); got[changed] != monday[changed] || got[beside] != monday[beside] {
				t.Error("a customer is not as on Monday")
			}
			// A proof that passes by the erased customer's commitment.
			who, err := r.as("officer").WhoRead(ctx, "gucci", beside)
			must(t, err)
			if len(who.Disclosures) < 2 {
				t.Errorf("%d disclosures", len(who.Disclosures))
			}
			r.verify(map[string]api.Checkpoint{"gucci": cp})
			n, err := r.as("shop").Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "NEW", "given_name": "Noor"}}})
			must(t, err)
			for _, used := range []string{w.Results[0].Token, w.Results[1].Token, gone} {
				if n.Results[0].Token == used {
					t.Error("a token was given twice")
				}
			}
		}
		t.Run("newer keys and log", func(t *testing.T) {
			o := c.options(h, engine, "monday")
			o.KeysFrom, o.Checkpoints = c.dir("wednesday"), [][]byte{[]byte(cp.Checkpoint)}
			r, report := c.restored(h, o)
			if report.Erased != 1 || report.Later != 2 || report.Unlogged != 0 || report.Finished != 0 || report.Customers != 39 {
				t.Errorf("%+v", report)
			}
			if _, err := r.as("alice").View(ctx, "gucci", changed, "customer-support", ""); err == nil {
				t.Error("a key that was revoked on Tuesday works again")
			}
			check(t, r)
		})
		t.Run("newer log only", func(t *testing.T) {
			o := c.options(h, engine, "monday")
			o.LogFrom = c.dir("log")
			// The brand of Tuesday has a log and no key in Monday's keys.
			if _, err := app.Restore(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "ysl") {
				t.Fatalf("a log without its brand: %v", err)
			}
		})
		// With Monday's alone nobody can know of Tuesday: the older keys open the erased.
		t.Run("older keys", func(t *testing.T) {
			o := c.options(h, engine, "monday")
			r, report := c.restored(h, o)
			if report.Customers != 40 {
				t.Errorf("%+v", report)
			}
			if got := r.reveal("gucci", gone); got[gone] != monday[gone] {
				t.Error("the older keys do not open what they did")
			}
			must(t, r.v.Close())
			// Unless a checkpoint was kept elsewhere, which says that something is missing.
			o = c.options(h, engine, "monday")
			o.Checkpoints = [][]byte{[]byte(cp.Checkpoint)}
			if _, err := app.Restore(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "that you kept") {
				t.Errorf("a log that is older than the kept checkpoint: %v", err)
			}
			if _, err := app.Open(ctx, o.Data, app.Options{Database: o.Database}); !errors.Is(err, db.ErrUnfinished) {
				t.Errorf("what was not verified opens: %v", err)
			}
		})
		t.Run("keys older than the data", func(t *testing.T) {
			h.open()
			h.reveal("gucci", beside)
			c.backup(h, "thursday")
			must(t, h.v.Close())
			o := c.options(h, engine, "thursday")
			o.KeysFrom = c.dir("wednesday")
			if _, err := app.Restore(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "older than") {
				t.Errorf("older keys: %v", err)
			}
		})
	})
}

// The log is newer than the keys: who it says was erased is erased again, and the
// proofs of those who stood beside them hold.
func TestLogErasesAgain(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 40), newCustody(t)
		gone, beside := h.tokens["gucci"][0], h.tokens["gucci"][1]
		h.reveal("gucci", gone, beside)
		c.backup(h, "monday")
		_, err := h.as("officer").Erase(ctx, "gucci", gone)
		must(t, err)
		c.backup(h, "log", db.PartLog)
		must(t, h.v.Close())
		o := c.options(h, engine, "monday")
		o.LogFrom = c.dir("log")
		r, report := c.restored(h, o)
		if report.Finished != 1 || report.Customers != 39 {
			t.Errorf("%+v", report)
		}
		var e *api.Error
		if _, err := r.as("officer").View(ctx, "gucci", gone, "data-subject-request", ""); !errors.As(err, &e) || e.Type != api.TypeUnknownToken {
			t.Errorf("an erased customer is back: %v", err)
		}
		_, err = r.as("officer").WhoRead(ctx, "gucci", beside)
		must(t, err)
		r.verify(nil)
	})
}

// A copy from before an erasure, restored under the newer log, keeps out whom it erased:
// destroyed at once, cooling, and with the keys of a later copy.
func TestTombstonesOutliveARestore(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 40), newCustody(t)
		c.backup(h, "monday")
		destroyed, cooling := invented(40)["gucci"][0], invented(40)["gucci"][1]
		_, err := h.as("").SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 7})
		must(t, err)
		_, err = h.as("officer").Erase(ctx, "gucci", h.tokens["gucci"][1])
		must(t, err)
		_, err = h.as("").SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 0})
		must(t, err)
		_, err = h.as("officer").Erase(ctx, "gucci", h.tokens["gucci"][0])
		must(t, err)
		c.backup(h, "keys", db.PartKeys)
		c.backup(h, "log", db.PartLog)
		must(t, h.v.Close())
		for _, keys := range []string{"monday", "keys"} {
			o := c.options(h, engine, "monday")
			o.LogFrom, o.KeysFrom = c.dir("log"), c.dir(keys)
			r, _ := c.restored(h, o)
			for _, who := range []api.Fields{destroyed, cooling} {
				for _, id := range []string{who["external_id"], "ANOTHER-" + who["external_id"]} {
					row := maps.Clone(who)
					row["external_id"] = id
					if w, err := r.as("shop").Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{row}}); err != nil || w.Results[0].Outcome != "new" {
						t.Errorf("%+v, %v", w, err)
					}
					if ords, err := r.v.Disclose.Seal.Lookup(ctx, 1, record.ExternalID, id, ""); err != nil || len(ords) > 0 {
						t.Errorf("keys of %s: an erased customer came back: %v", keys, err)
					}
				}
			}
			must(t, r.v.Close())
		}
	})
}

// Nobody who has a backup and no identity reads anything of a customer in it; and with
// the identity the keys are wrapped still.
func TestBackupHoldsNoValue(t *testing.T) {
	t.Parallel()
	h, c := newHouse(t, "sqlite", 60), newCustody(t)
	c.backup(h, "full")
	words := map[string]bool{description: true}
	for _, list := range invented(60) {
		for _, f := range list {
			for name, v := range f {
				if len(v) >= 6 && name != "created_at" && name != "birth_date" && name != "locale" {
					words[v] = true
				}
			}
		}
	}
	if len(words) < 200 {
		t.Fatalf("only %d values to look for", len(words))
	}
	root, err := os.ReadFile(filepath.Join(h.dir, app.RootKeyFile))
	must(t, err)
	files, err := os.ReadDir(c.dir("full"))
	must(t, err)
	if len(files) != 6 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(c.dir("full"), f.Name()))
		must(t, err)
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: others may read it", f.Name())
		}
		if f.Name() != backup.RootKeyFile && bytes.Contains(b, bytes.TrimSpace(root)[20:]) || bytes.Contains(b, bytes.TrimSpace(root)) {
			t.Errorf("%s holds the root key in clear", f.Name())
		}
		looked := [][]byte{b}
		if strings.HasSuffix(f.Name(), ".zst.age") {
			r, err := age.Decrypt(bytes.NewReader(b), c.id)
			must(t, err)
			b, err = io.ReadAll(r)
			must(t, err)
		}
		if strings.Contains(f.Name(), ".zst") {
			dec, err := zstd.NewReader(bytes.NewReader(b))
			must(t, err)
			plain, err := io.ReadAll(dec)
			must(t, err)
			dec.Close()
			looked = append(looked, plain)
		}
		for _, text := range looked {
			for w := range words {
				if bytes.Contains(text, []byte(w)) {
					t.Errorf("%s holds a value of a customer in clear", f.Name())
				}
			}
		}
	}
}

// A search key that was rotated in between fits the data's indexes no more. The log of
// then still says who was erased.
func TestRotatedSearchKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, c := newHouse(t, "sqlite", 40), newCustody(t)
	c.backup(h, "monday")
	_, err := h.as("officer").Erase(ctx, "gucci", h.tokens["gucci"][0])
	must(t, err)
	_, err = h.v.DB.Exec(ctx, `UPDATE brand_keys SET version = 2 WHERE brand = 1 AND kind = 'index'`)
	must(t, err)
	c.backup(h, "wednesday", db.PartKeys, db.PartLog)
	must(t, h.v.Close())
	o := c.options(h, "sqlite", "monday")
	o.KeysFrom = c.dir("wednesday")
	if _, err := app.Restore(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "index key of gucci was rotated") {
		t.Fatalf("got %v", err)
	}
	o.KeysFrom, o.LogFrom = "", c.dir("wednesday")
	r, report := c.restored(h, o)
	if report.Finished != 1 || report.Customers != 39 {
		t.Errorf("%+v", report)
	}
	must(t, r.v.Close())
}

func TestRequests(t *testing.T) {
	t.Parallel()
	h, c := newHouse(t, "sqlite", 40), newCustody(t)
	must(t, os.MkdirAll(c.dir("full/x"), 0o700))
	to := []string{c.id.Recipient().String()}
	for want, r := range map[string]backup.Request{
		"not empty":              {Dir: c.dir("full"), Recipients: to},
		"at least one recipient": {Dir: c.dir("a")},
		"not an age recipient":   {Dir: c.dir("a"), Recipients: []string{"age1nobody"}},
		"no part":                {Dir: c.dir("a"), Recipients: to, Parts: []db.Part{"everything"}},
		"name a directory":       {Recipients: to},
	} {
		if _, err := backup.Write(t.Context(), h.v.BackupSource(), r, nil); !errors.Is(err, backup.ErrRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	// The log and the data alone hold no key, and need no recipient.
	_, err := backup.Write(t.Context(), h.v.BackupSource(), backup.Request{Dir: c.dir("b"), Parts: []db.Part{db.PartData, db.PartLog}}, nil)
	must(t, err)
}
