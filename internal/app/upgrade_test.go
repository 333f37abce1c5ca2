package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// fixture makes the fixture of a release: run it with that release's code, once, and
// keep what it writes for ever.
var fixture = flag.String("fixture", "", "write testdata/NAME with a vault as this code makes it")

// facts are what was true of the fixture's vault when it was made.
type facts struct {
	Logs      map[string]api.Checkpoint `json:"logs"` // by brand
	Customers []factCustomer            `json:"customers"`
	Erased    map[string]string         `json:"erased"`  // token: brand
	Read      map[string]int            `json:"read"`    // token: disclosures
	Officer   string                    `json:"officer"` // key of a data protection officer of every brand
	Kinds     []string                  `json:"kinds"`   // of the log's entries
}

type factCustomer struct {
	Brand     string         `json:"brand"`
	Token     string         `json:"token"`
	Fields    api.Fields     `json:"fields"`
	Purchases []api.Purchase `json:"purchases"`
}

func localClient(v *app.Vault, key string) *client.Client {
	s := app.NewServer(v, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return client.New("http://vault", key, &http.Client{Transport: s.Local()})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reveal reads customers as a data protection officer.
func reveal(t *testing.T, c *client.Client, brand string, tokens ...string) *api.Disclosed {
	t.Helper()
	d, err := c.Reveal(t.Context(), brand, api.RevealRequest{Tokens: tokens, Fields: record.AllFields.Names(), Purpose: "data-subject-request", Ticket: "DSR-1"})
	must(t, err)
	return d
}

// story does everything that a vault can do, once, and returns what is true then.
func story(t *testing.T, v *app.Vault) facts {
	ctx := t.Context()
	admin := localClient(v, "")
	f := facts{Logs: map[string]api.Checkpoint{}, Erased: map[string]string{}, Read: map[string]int{}}
	brands := []string{"gucci", "mcqueen"}
	for _, b := range brands {
		must(t, admin.Do(ctx, "POST", "/v1/brands", api.Brand{Name: b, Title: b}, nil))
	}
	as := map[string]*client.Client{}
	for name, role := range map[string]string{"shop": "application", "officer": "data-protection-officer", "alice": "support-agent", "marco": "marketing", "gone": "analyst"} {
		must(t, admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": role, "mcqueen": role}}, nil))
		var c api.Credential
		must(t, admin.Do(ctx, "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{Label: "fixture"}, &c))
		as[name] = localClient(v, c.Key)
		switch name {
		case "officer":
			f.Officer = c.Key
		case "gone":
			must(t, admin.Do(ctx, "DELETE", fmt.Sprintf("/v1/lineages/%d", c.Lineage), nil, nil))
		}
	}
	puts := make([]api.PutRequest, len(brands))
	bought := make([]api.PurchasesRequest, len(brands))
	for x := range invent.Customers(invent.Config{Customers: 60, Seed: 11, Brands: brands}) {
		fields := api.Fields{}
		for c := record.Field(0); c < record.NumColumns; c++ {
			if s := x.Customer.Get(c); s != "" {
				fields[c.String()] = s
			}
		}
		for k, s := range x.Customer.Attributes {
			fields["attr."+k] = s
		}
		puts[x.Brand].Customers = append(puts[x.Brand].Customers, fields)
		p := api.CustomerPurchases{ExternalID: fields["external_id"]}
		for i := range 3 {
			p.Purchases = append(p.Purchases, api.Purchase{ID: fmt.Sprintf("%s-%d", p.ExternalID, i), At: "2025-03-01T10:00:00Z", Description: "Horsebit loafer", Amount: "790.00", Currency: "EUR"})
		}
		bought[x.Brand].Customers = append(bought[x.Brand].Customers, p)
	}
	for i, b := range brands {
		w, err := as["shop"].Put(ctx, b, puts[i])
		must(t, err)
		_, err = as["shop"].AddPurchases(ctx, b, bought[i])
		must(t, err)
		tokens := make([]string, len(w.Results))
		for j, r := range w.Results {
			tokens[j] = r.Token
		}
		// A change of address leaves a former value; a further purchase a second segment.
		must(t, as["shop"].Do(ctx, "PATCH", client.Path("brands", b, "customers", tokens[0]), api.Fields{"city": "Lyon", "email": "moved@example.com"}, nil))
		_, err = as["shop"].AddPurchases(ctx, b, api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: tokens[0], Purchases: []api.Purchase{
			{ID: "later-" + b, At: "2025-04-01T10:00:00Z", Description: "Silk scarf", Amount: "310.00", Currency: "EUR"}}}}})
		must(t, err)
		_, err = as["alice"].Search(ctx, b, api.SearchRequest{By: "email", Value: "moved@example.com", Purpose: "customer-support", Ticket: "CASE-1"})
		must(t, err)
		if _, err := as["marco"].Reveal(ctx, b, api.RevealRequest{Tokens: tokens[:1], Fields: []string{"email"}, Purpose: "marketing"}); err == nil {
			t.Fatal("marketing sees e-mail addresses")
		}
		for _, c := range reveal(t, as["officer"], b, tokens...).Customers {
			f.Customers = append(f.Customers, factCustomer{b, c.Token, c.Fields, c.Purchases})
		}
		who, err := as["officer"].WhoRead(ctx, b, tokens[0])
		must(t, err)
		f.Read[tokens[0]] = len(who.Disclosures)
		_, err = as["officer"].Erase(ctx, b, tokens[1])
		must(t, err)
		f.Erased[tokens[1]] = b
		f.Customers = slices.DeleteFunc(f.Customers, func(c factCustomer) bool { return c.Token == tokens[1] })
		must(t, admin.Do(ctx, "PUT", client.Path("brands", b, "policy"), api.Policy{Text: access.DefaultText() + "\n// Applied once more.\n"}, nil))
		must(t, admin.Do(ctx, "POST", client.Path("brands", b, "purposes"), api.Purpose{Name: "repair", LegalBasis: "contract", Description: "Mend what was bought."}, nil))
	}
	return f
}

// note keeps the logs' checkpoints, after the vault was closed and opened, because
// closing logs the refusals that were counted until then.
func (f *facts) note(t *testing.T, v *app.Vault) {
	kinds := map[string]bool{}
	for _, b := range []string{"group", "gucci", "mcqueen"} {
		var cp api.Checkpoint
		must(t, localClient(v, "").Do(t.Context(), "GET", client.Path("brands", b, "log"), nil, &cp))
		f.Logs[b] = cp
		for i := range cp.Size {
			var e api.Entry
			must(t, localClient(v, "").Do(t.Context(), "GET", client.Path("brands", b, "log", "entries", fmt.Sprint(i)), nil, &e))
			kinds[e.Kind] = true
		}
	}
	f.Kinds = slices.Sorted(maps.Keys(kinds))
}

func TestMakeFixture(t *testing.T) {
	t.Parallel()
	if *fixture == "" {
		t.Skip("only with -fixture NAME, at a release")
	}
	engines(t, func(t *testing.T, engine, dsn string) {
		dir := t.TempDir()
		v, err := app.Open(t.Context(), dir, app.Options{Database: dsn})
		must(t, err)
		f := story(t, v)
		must(t, v.Close())
		v, err = app.Open(t.Context(), dir, app.Options{Database: dsn})
		must(t, err)
		f.note(t, v)
		must(t, v.Close())
		name, dump := "vault.db.zst", []byte(nil)
		if engine == "postgres" {
			name = "vault.sql.zst"
			cmd := exec.Command("pg_dump", "--inserts", "--no-owner", "--no-privileges", dsn)
			cmd.Stderr = os.Stderr
			dump, err = cmd.Output()
		} else {
			dump, err = os.ReadFile(filepath.Join(dir, app.DatabaseFile))
		}
		must(t, err)
		key, err := os.ReadFile(filepath.Join(dir, app.RootKeyFile))
		must(t, err)
		text, err := json.MarshalIndent(f, "", "\t")
		must(t, err)
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		must(t, err)
		to := filepath.Join("testdata", *fixture, engine)
		must(t, os.MkdirAll(to, 0o755))
		for file, b := range map[string][]byte{name: enc.EncodeAll(dump, nil), app.RootKeyFile: key, "facts.json": append(text, '\n')} {
			must(t, os.WriteFile(filepath.Join(to, file), b, 0o644))
		}
	})
}

// engines runs a test on each engine; dsn is empty for the embedded one.
func engines(t *testing.T, test func(t *testing.T, engine, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite", "") })
	t.Run("postgres", func(t *testing.T) { test(t, "postgres", dbtest.DSN(t)) })
}

// unpack lays a fixture's vault out as its release left it.
func unpack(t *testing.T, release, engine, dsn string) (dir string, f facts) {
	t.Helper()
	dir, from := t.TempDir(), filepath.Join("testdata", release, engine)
	key, err := os.ReadFile(filepath.Join(from, app.RootKeyFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, app.RootKeyFile), key, 0o600))
	text, err := os.ReadFile(filepath.Join(from, "facts.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &f))
	name := "vault.db.zst"
	if engine == "postgres" {
		name = "vault.sql.zst"
	}
	packed, err := os.ReadFile(filepath.Join(from, name))
	must(t, err)
	dec, err := zstd.NewReader(nil)
	must(t, err)
	defer dec.Close()
	dump, err := dec.DecodeAll(packed, nil)
	must(t, err)
	if engine != "postgres" {
		must(t, os.WriteFile(filepath.Join(dir, app.DatabaseFile), dump, 0o600))
		return dir, f
	}
	var sql bytes.Buffer
	for line := range bytes.Lines(dump) {
		if !bytes.HasPrefix(line, []byte(`\`)) { // words for psql
			sql.Write(line)
		}
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	defer conn.Close(context.Background())
	_, err = conn.PgConn().Exec(t.Context(), sql.String()).ReadAll()
	must(t, err)
	return dir, f
}

// A database that an earlier release made opens with this one: everybody in it can be
// read, changed and erased, and its log continues what was signed then.
func TestUpgrade(t *testing.T) {
	releases, err := os.ReadDir("testdata")
	must(t, err)
	if len(releases) < 2 {
		t.Fatalf("only %d releases have a fixture", len(releases))
	}
	for _, release := range releases {
		t.Run(release.Name(), func(t *testing.T) { upgradeFrom(t, release.Name()) })
	}
}

func upgradeFrom(t *testing.T, release string) {
	engines(t, func(t *testing.T, engine, dsn string) {
		ctx := t.Context()
		dir, f := unpack(t, release, engine, dsn)
		v, err := app.Open(ctx, dir, app.Options{Database: dsn})
		must(t, err)
		defer v.Close()
		if len(f.Customers) != 58 || len(f.Kinds) < 10 {
			t.Fatalf("the fixture has %d customers and entries of the kinds %v", len(f.Customers), f.Kinds)
		}
		admin, officer := localClient(v, ""), localClient(v, f.Officer)
		verify := func(brand string) {
			t.Helper()
			var out api.Verified
			must(t, admin.Do(ctx, "POST", client.Path("brands", brand, "log", "verify"), map[string]string{"older": f.Logs[brand].Checkpoint}, &out))
			if !out.OK || out.Size < f.Logs[brand].Size {
				t.Fatalf("the log of %s: %+v", brand, out)
			}
		}
		for brand := range f.Logs {
			verify(brand)
		}
		byBrand := map[string][]string{}
		want := map[string]factCustomer{}
		for _, c := range f.Customers {
			byBrand[c.Brand] = append(byBrand[c.Brand], c.Token)
			want[c.Token] = c
		}
		for brand, tokens := range byBrand {
			for _, c := range reveal(t, officer, brand, tokens...).Customers {
				w := want[c.Token]
				if !maps.Equal(c.Fields, w.Fields) || !reflect.DeepEqual(c.Purchases, w.Purchases) {
					t.Errorf("a customer of %s is not as they were", brand)
				}
				found, err := officer.Search(ctx, brand, api.SearchRequest{By: "external_id", Value: w.Fields["external_id"], Purpose: "data-subject-request"})
				must(t, err)
				if len(found.Customers) != 1 || found.Customers[0].Token != c.Token {
					t.Errorf("a customer of %s is not found by their number", brand)
				}
			}
			// One who was read before the upgrade, and a new one after it.
			for token, n := range f.Read {
				if want[token].Brand != brand {
					continue
				}
				who, err := officer.WhoRead(ctx, brand, token)
				must(t, err)
				if len(who.Disclosures) <= n {
					t.Errorf("%d disclosures, and there were %d before the upgrade", len(who.Disclosures), n)
				}
			}
			_, err := officer.Erase(ctx, brand, tokens[3])
			must(t, err)
			f.Erased[tokens[3]] = brand
		}
		for token, brand := range f.Erased {
			var e *api.Error
			_, err := officer.View(ctx, brand, token, "data-subject-request", "")
			if !errors.As(err, &e) || e.Type != api.TypeUnknownToken {
				t.Errorf("an erased customer of %s: %v", brand, err)
			}
		}
		_, err = localClient(v, "").Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "NEW-1", "given_name": "Noor"}}})
		must(t, err)
		// One whose records are of then is written in today's form.
		changed := 0
		for _, w := range f.Customers {
			if len(w.Purchases) < 2 || f.Erased[w.Token] != "" || changed == 4 {
				continue
			}
			changed++
			more, other := w.Purchases[0], w.Purchases[1]
			more.ID, other.Description = "after the upgrade", "another one"
			adds := []api.Purchase{more}
			if changed%2 == 0 {
				adds = append(adds, other)
			}
			_, err := admin.Put(ctx, w.Brand, api.PutRequest{Customers: []api.Fields{{"external_id": w.Fields["external_id"], "birth_date": "1984-02-29"}}})
			must(t, err)
			_, err = admin.AddPurchases(ctx, w.Brand, api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: w.Token, Purchases: adds}}})
			must(t, err)
			fields, bought := maps.Clone(w.Fields), append(slices.Clone(w.Purchases), more)
			fields["birth_date"] = "1984-02-29"
			if len(adds) > 1 {
				bought[1] = other
			}
			got := reveal(t, officer, w.Brand, w.Token).Customers[0]
			if !maps.Equal(got.Fields, fields) || !reflect.DeepEqual(got.Purchases, bought) {
				t.Errorf("a customer of %s is not as they were changed", w.Brand)
			}
		}
		if changed != 4 {
			t.Errorf("%d customers were changed", changed)
		}
		for brand := range f.Logs {
			verify(brand)
		}
	})
}

const (
	sqlTestFence   = `UPDATE revisions SET writer = $1 WHERE one = 1`
	sqlTestEntries = `SELECT count(*) FROM log_groups`
)

// A server that runs while a newer release upgrades the vault is refused at its next
// commit, with an error that says to upgrade; nothing is written or shown.
func TestAnOlderServerIsRefusedAtEachCommit(t *testing.T) {
	engines(t, func(t *testing.T, engine, dsn string) {
		ctx := t.Context()
		v, err := app.Open(ctx, t.TempDir(), app.Options{Database: dsn})
		must(t, err)
		defer v.Close()
		f := story(t, v)
		who := identity.Who{Caller: identity.Caller{Principal: 1, Credential: 1, Lineage: 1}, Role: access.Administrator, Brand: 1}
		commit := func() error {
			_, err := v.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAudit, Who: who})
			return err
		}
		officer := localClient(v, f.Officer)
		show := func() error {
			_, err := officer.Reveal(ctx, f.Customers[0].Brand, api.RevealRequest{Tokens: []string{f.Customers[0].Token}, Fields: []string{"email"}, Purpose: "data-subject-request"})
			return err
		}
		must(t, commit())
		must(t, show())
		count := func() (n int) {
			must(t, v.DB.Row(ctx, sqlTestEntries).Scan(&n))
			return n
		}
		_, err = v.DB.Exec(ctx, sqlTestFence, revision.Writer+1)
		must(t, err)
		before := count()
		if err := commit(); !errors.Is(err, revision.ErrFenced) || errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("a commit under a raised fence: %v", err)
		}
		var e *api.Error
		if err := show(); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Detail, "upgrade this server") {
			t.Errorf("a reveal under a raised fence: %v", err)
		}
		if now := count(); now != before {
			t.Errorf("%d groups were logged under a raised fence", now-before)
		}
		_, err = v.DB.Exec(ctx, sqlTestFence, revision.Writer)
		must(t, err)
		must(t, commit())
		must(t, show())
	})
}

const (
	sqlTestNewerSchema = `INSERT INTO schema_versions (version, at) VALUES (999999, 0)`
	sqlTestNewerTable  = `ALTER TABLE purposes RENAME COLUMN description TO words`
)

// A server that runs while a newer release changes a table says so at the request that
// needs it, and not that something is wrong with the vault.
func TestAnOlderServerSaysThatItIs(t *testing.T) {
	engines(t, func(t *testing.T, engine, dsn string) {
		ctx := t.Context()
		v, err := app.Open(ctx, t.TempDir(), app.Options{Database: dsn})
		must(t, err)
		defer v.Close()
		local := localClient(v, "")
		_, err = local.CreateBrand(ctx, api.Brand{Name: "gucci"})
		must(t, err)
		for _, sql := range []string{sqlTestNewerSchema, sqlTestNewerTable} {
			_, err := v.DB.Exec(ctx, sql)
			must(t, err)
		}
		var e *api.Error
		if _, err := local.Purposes(ctx, "gucci"); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Detail, "upgrade this server") {
			t.Errorf("on a newer schema: %v", err)
		}
		if _, err := local.Ready(ctx); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Detail, "newer release") {
			t.Errorf("ready on a newer schema: %v", err)
		}
	})
}

// What a newer release wrote is refused, and left as it is.
func TestOlderReleaseRefusesNewerDatabase(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine, dsn string) {
		ctx, dir := t.Context(), t.TempDir()
		v, err := app.Open(ctx, dir, app.Options{Database: dsn})
		must(t, err)
		_, err = v.DB.Exec(ctx, `INSERT INTO schema_versions (version, at) VALUES ($1, $2)`, 900, 1)
		must(t, err)
		must(t, v.Close())
		if _, err := app.Open(ctx, dir, app.Options{Database: dsn}); err == nil || !strings.Contains(err.Error(), "newer release") {
			t.Fatalf("got %v", err)
		}
	})
}
