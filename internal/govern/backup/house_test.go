package backup_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is an open vault with two brands, and who works there.
type house struct {
	t        *testing.T
	v        *app.Vault
	dir, dsn string
	keys     map[string]string // by principal
	lineages map[string]uint64
	tokens   map[string][]string // by brand
}

func engines(t *testing.T, test func(t *testing.T, engine string)) {
	for _, e := range []string{"sqlite", "postgres"} {
		t.Run(e, func(t *testing.T) {
			if e == "postgres" && os.Getenv(dbtest.EnvPostgres) == "" && os.Getenv("CI") == "" {
				t.Skipf("no PostgreSQL: set %s", dbtest.EnvPostgres) // here, and not in the test around it, which goes on
			}
			test(t, e)
		})
	}
}

// place returns a data directory and database that hold nothing.
func place(t *testing.T, engine string) (dir, dsn string) {
	if engine == "postgres" {
		dsn = dbtest.DSN(t)
	}
	return filepath.Join(t.TempDir(), "vault"), dsn
}

func (h *house) open() {
	h.t.Helper()
	v, err := app.Open(h.t.Context(), h.dir, app.Options{Database: h.dsn})
	must(h.t, err)
	h.v = v
	h.t.Cleanup(func() { v.Close() })
}

func (h *house) as(who string) *client.Client {
	s := app.NewServer(h.v, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return client.New("http://vault", h.keys[who], &http.Client{Transport: s.Local()})
}

func brands() []string { return []string{"gucci", "mcqueen"} }

// wide are budgets that do not stand in the way of reading everybody.
func wide(t *testing.T) string {
	list := budget.DefaultRules().List()
	for i := range list {
		list[i].Limit = 100_000
	}
	r, err := budget.NewRules(list)
	must(t, err)
	return string(r.Encode())
}

func newHouse(t *testing.T, engine string, customers int) *house {
	t.Helper()
	ctx := t.Context()
	h := &house{t: t, keys: map[string]string{}, lineages: map[string]uint64{}, tokens: map[string][]string{}}
	h.dir, h.dsn = place(t, engine)
	h.open()
	admin := h.as("")
	for _, b := range brands() {
		must(t, admin.Do(ctx, "POST", "/v1/brands", api.Brand{Name: b}, nil))
		_, err := admin.SetErasureCooling(ctx, b, api.ErasureCooling{Days: 0})
		must(t, err)
		must(t, admin.Do(ctx, "PUT", client.Path("brands", b, "budgets"), api.BudgetRules{Rules: wide(t)}, nil))
	}
	for name, role := range map[string]string{"shop": "application", "officer": "data-protection-officer", "alice": "support-agent"} {
		must(t, admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": role, "mcqueen": role}}, nil))
		var c api.Credential
		must(t, admin.Do(ctx, "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c))
		h.keys[name], h.lineages[name] = c.Key, c.Lineage
	}
	h.people(customers)
	return h
}

// invented returns customers of both brands, as fields.
func invented(n int) map[string][]api.Fields {
	out := map[string][]api.Fields{}
	for x := range invent.Customers(invent.Config{Customers: n, Seed: 5, Brands: brands()}) {
		fields := api.Fields{}
		for c := record.Field(0); c < record.NumColumns; c++ {
			if s := x.Customer.Get(c); s != "" {
				fields[c.String()] = s
			}
		}
		b := brands()[x.Brand]
		out[b] = append(out[b], fields)
	}
	return out
}

const description = "Unmistakable horsebit loafer"

func (h *house) people(n int) {
	h.t.Helper()
	ctx := h.t.Context()
	for b, list := range invented(n) {
		w, err := h.as("shop").Put(ctx, b, api.PutRequest{Customers: list})
		must(h.t, err)
		var p api.PurchasesRequest
		for i, r := range w.Results {
			h.tokens[b] = append(h.tokens[b], r.Token)
			p.Customers = append(p.Customers, api.CustomerPurchases{Token: r.Token, Purchases: []api.Purchase{
				{ID: fmt.Sprint("p-", i), At: "2025-03-01T10:00:00Z", Description: description, Amount: "790.00", Currency: "EUR"}}})
		}
		_, err = h.as("shop").AddPurchases(ctx, b, p)
		must(h.t, err)
	}
}

// reveal returns everything of customers, by token.
func (h *house) reveal(b string, tokens ...string) map[string]string {
	h.t.Helper()
	d, err := h.as("officer").Reveal(h.t.Context(), b, api.RevealRequest{Tokens: tokens, Fields: record.AllFields.Names(), Purpose: "data-subject-request"})
	must(h.t, err)
	out := map[string]string{}
	for _, c := range d.Customers {
		// As the fixture of the first release spells a customer.
		bought := make([]string, len(c.Purchases))
		for i, p := range c.Purchases {
			n := int64(1)
			if p.Quantity != nil {
				n = *p.Quantity
			}
			bought[i] = fmt.Sprint("{", strings.Join([]string{p.ID, p.At, p.SKU, p.Description, strconv.FormatInt(n, 10), p.Amount, p.Currency, p.Store, p.Channel}, " "), "}")
		}
		out[c.Token] = fmt.Sprint(c.Fields, bought)
	}
	return out
}

// everybody reveals every customer there is.
func (h *house) everybody() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for b, tokens := range h.living() {
		maps.Copy(out, h.reveal(b, tokens...))
	}
	return out
}

// living returns the tokens of all who are not erased, by brand.
func (h *house) living() map[string][]string {
	h.t.Helper()
	ctx := h.t.Context()
	type row struct{ ord, brand int64 }
	var rows []row
	must(h.t, h.v.DB.Rows(ctx, func(r db.Row) error {
		var x row
		err := r.Scan(&x.ord, &x.brand)
		rows = append(rows, x)
		return err
	}, `SELECT ord, brand FROM customers WHERE erased = 0 ORDER BY ord`))
	out := map[string][]string{}
	for _, x := range rows {
		token, err := h.v.Disclose.Seal.Token(ctx, record.BrandID(x.brand), record.Ordinal(x.ord))
		must(h.t, err)
		name := brands()[x.brand-1]
		out[name] = append(out[name], token)
	}
	return out
}

func (h *house) count(sql string, args ...any) (n int64) {
	h.t.Helper()
	must(h.t, h.v.DB.Row(h.t.Context(), sql, args...).Scan(&n))
	return n
}

func (h *house) checkpoint(brand string) api.Checkpoint {
	h.t.Helper()
	var cp api.Checkpoint
	must(h.t, h.as("").Do(h.t.Context(), "GET", client.Path("brands", brand, "log"), nil, &cp))
	return cp
}

// verify replays every log against older checkpoints.
func (h *house) verify(older map[string]api.Checkpoint) {
	h.t.Helper()
	for _, b := range append(brands(), "group") {
		var out api.Verified
		must(h.t, h.as("").Do(h.t.Context(), "POST", client.Path("brands", b, "log", "verify"), map[string]string{"older": older[b].Checkpoint}, &out))
		if !out.OK {
			h.t.Fatalf("the log of %s: %s", b, out.Fault)
		}
	}
}

// custody is an age identity, and where a test keeps its backups.
type custody struct {
	t    *testing.T
	id   *age.X25519Identity
	root string
}

func newCustody(t *testing.T) *custody {
	id, err := age.GenerateX25519Identity()
	must(t, err)
	return &custody{t, id, t.TempDir()}
}

func (c *custody) dir(name string) string { return filepath.Join(c.root, name) }

func (c *custody) backup(h *house, name string, parts ...db.Part) *backup.Manifest {
	c.t.Helper()
	m, err := backup.Write(context.WithoutCancel(c.t.Context()), h.v.BackupSource(), backup.Request{
		Dir: c.dir(name), Parts: parts, Recipients: []string{c.id.Recipient().String()}, WithRootKey: len(parts) == 0,
	}, nil)
	must(c.t, err)
	return m
}

// options are those of a restore into a new place of an engine.
func (c *custody) options(h *house, engine, from string) backup.Options {
	o := backup.Options{From: c.dir(from), Identities: []byte(c.id.String())}
	o.Data, o.Database = place(c.t, engine)
	return o
}

// restored restores and opens.
func (c *custody) restored(h *house, o backup.Options) (*house, *backup.Report) {
	c.t.Helper()
	r, err := app.Restore(c.t.Context(), o, nil)
	must(c.t, err)
	out := &house{t: c.t, dir: o.Data, dsn: o.Database, keys: h.keys, lineages: h.lineages, tokens: h.tokens}
	out.open()
	return out, r
}
