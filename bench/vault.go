package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/budget"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/generate"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
	"github.com/cloakroom/cloakroom/internal/server"
	"github.com/cloakroom/cloakroom/internal/vault"
)

// filled is a served vault with customers.
type filled struct {
	*vault.Vault
	admin  *client.Client
	url    string
	key    string
	tokens []string
	stop   func()
}

func (b *bench) vault(ctx context.Context, customers int) *filled {
	v, err := vault.Open(ctx, b.fresh("vault"), vault.Options{})
	fatal(err)
	s := server.New(v, slog.New(slog.NewTextHandler(io.Discard, nil)))
	f := &filled{Vault: v, admin: client.New("http://vault", "", &http.Client{Transport: s.Local()})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(err)
	sctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Serve(sctx, l) }()
	f.url = "http://" + l.Addr().String()
	f.stop = func() {
		cancel()
		fatal(<-done)
		fatal(v.Close())
	}
	fatal(f.admin.Do(ctx, "POST", "/v1/brands", api.Brand{Name: "gucci"}, nil))
	fatal(f.admin.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: string(plenty().Encode())}, nil))
	fatal(f.admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "alice", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}}, nil))
	var c api.Credential
	fatal(f.admin.Do(ctx, "POST", client.Path("principals", "alice", "credentials"), api.CredentialRequest{}, &c))
	f.key = c.Key
	b.load(ctx, f, customers)
	return f
}

// load writes invented customers through the API, as an import does, and returns how
// long it took, without inventing them.
func (b *bench) load(ctx context.Context, f *filled, customers int) (took time.Duration, n, purchases int) {
	var put api.PutRequest
	var add api.PurchasesRequest
	flush := func() {
		start := time.Now()
		w, err := f.admin.Put(ctx, "gucci", put)
		fatal(err)
		if len(add.Customers) > 0 {
			_, err = f.admin.AddPurchases(ctx, "gucci", add)
			fatal(err)
		}
		took += time.Since(start)
		for _, r := range w.Results {
			f.tokens = append(f.tokens, r.Token)
		}
		put, add = api.PutRequest{}, api.PurchasesRequest{}
	}
	for x := range generate.Customers(generate.Config{Customers: customers, Seed: 9, Brands: []string{"gucci"}}) {
		fields := api.Fields{}
		for c := record.Field(0); c < record.NumColumns; c++ {
			if v := x.Get(c); v != "" {
				fields[c.String()] = v
			}
		}
		for a, v := range x.Attributes {
			fields["attr."+a] = v
		}
		put.Customers = append(put.Customers, fields)
		cp := api.CustomerPurchases{ExternalID: fields["external_id"]}
		for _, p := range x.Purchases {
			cp.Purchases = append(cp.Purchases, api.Purchase{ID: p.ID, At: p.At.Format(time.RFC3339), SKU: p.SKU, Description: p.Description,
				Quantity: p.Quantity, Amount: p.Amount.String(), Currency: p.Currency, Store: p.Store, Channel: p.Channel})
		}
		if len(cp.Purchases) > 0 {
			add.Customers = append(add.Customers, cp)
		}
		n, purchases = n+1, purchases+len(cp.Purchases)
		if len(put.Customers) == 2000 {
			flush()
		}
	}
	if len(put.Customers) > 0 {
		flush()
	}
	return took, n, purchases
}

// reveals compares reveals over HTTP with the same steps over HTTP but for the log:
// there one receipt, made beforehand, covers every customer.
func (b *bench) reveals(ctx context.Context) {
	const customers = 5000
	f := b.vault(ctx, customers)
	defer f.stop()
	fields := record.Fields(record.GivenName, record.Email, record.Phone)
	key, err := identity.ParseKey(f.key)
	fatal(err)
	caller, err := f.Identity.Authenticate(ctx, key)
	fatal(err)
	who, err := f.Identity.Who(ctx, caller, 1)
	fatal(err)
	p, err := access.Load(access.DefaultText())
	fatal(err)
	g, err := p.Authorize(who, access.ActClear, "customer-support", fields)
	fatal(err)
	store := f.Disclose.Seal
	ords, err := store.Resolve(ctx, 1, f.tokens)
	fatal(err)
	all, err := store.Fetch(ctx, 1, ords, fields)
	fatal(err)
	h, err := f.Ledger.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ords: all.Ords()})
	fatal(err)
	receipt, err := f.Ledger.Append(ctx, h, all.Commitment(fields))
	fatal(err)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/brands/gucci/reveal", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		key, err := identity.ParseKey(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		fatal(err)
		caller, err := f.Identity.Authenticate(ctx, key)
		fatal(err)
		v, err := f.Disclose.Door.Enter(ctx, caller, "gucci")
		fatal(err)
		var req api.RevealRequest
		fatal(decode(r.Body, &req))
		fatal(v.Purpose(ctx, req.Purpose))
		asked, err := record.ParseFields(req.Fields)
		fatal(err)
		_, err = v.Authorize(ctx, access.ActClear, req.Purpose, asked)
		fatal(err)
		ords, err := store.Resolve(ctx, 1, req.Tokens)
		fatal(err)
		u, err := store.Fetch(ctx, 1, ords, asked)
		fatal(err)
		profiles, err := store.Open(ctx, receipt, u)
		fatal(err)
		out := api.Disclosed{Receipt: &api.Receipt{Brand: "gucci"}}
		for i := range profiles {
			c := api.Customer{Token: profiles[i].Token(), Fields: api.Fields{}}
			for _, x := range asked.List() {
				c.Fields[x.String()] = profiles[i].Value(x)
			}
			out.Customers = append(out.Customers, c)
		}
		fatal(encode(w, out))
	})
	unlogged := httptest.NewServer(mux)
	defer unlogged.Close()

	fmt.Println("## Reveals over HTTP, SQLite, against the same without the log; ratios of this run")
	fmt.Println("clients, batch | logged/s p50 p99 | without/s p50 p99 | ratio")
	for _, c := range []struct{ clients, batch int }{{1, 1}, {8, 1}, {32, 1}, {8, 500}} {
		measure := func(url string) (float64, time.Duration, time.Duration) {
			h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.clients}}
			cl := client.New(url, f.key, h)
			return b.rate(c.clients, func(w, i int) {
				at := (w*7919 + i*c.batch) % (len(f.tokens) - c.batch)
				_, err := cl.Reveal(ctx, "gucci", api.RevealRequest{Tokens: f.tokens[at : at+c.batch], Fields: []string{"given_name", "email", "phone"}, Purpose: "customer-support", Ticket: "CASE-1"})
				fatal(err)
			})
		}
		a, a50, a99 := measure(f.url)
		n, n50, n99 := measure(unlogged.URL)
		us := 10 * time.Microsecond
		fmt.Printf("%d, %d | %.0f %v %v | %.0f %v %v | %.2f\n", c.clients, c.batch, a, a50.Round(us), a99.Round(us), n, n50.Round(us), n99.Round(us), a/n)
	}
}

const (
	sqlPlainCustomers = `CREATE TABLE plain_customers (id integer PRIMARY KEY, external_id text, given_name text, family_name text, email text, phone text, street text, postal_code text, city text, region text, country text, locale text, birth_date text, created_at text, marketing text, shoe_size text, note text)`
	sqlPlainPurchases = `CREATE TABLE plain_purchases (external_id text, purchase_id text, at text, sku text, description text, quantity integer, amount text, currency text, store text, channel text)`
	sqlPlainIndex1    = `CREATE UNIQUE INDEX plain_external ON plain_customers (external_id)`
	sqlPlainIndex2    = `CREATE INDEX plain_email ON plain_customers (email)`
	sqlPlainIndex3    = `CREATE INDEX plain_phone ON plain_customers (phone)`
	sqlPlainIndex4    = `CREATE UNIQUE INDEX plain_purchase ON plain_purchases (external_id, purchase_id)`
	sqlPlainCustomer  = `INSERT INTO plain_customers (external_id, given_name, family_name, email, phone, street, postal_code, city, region, country, locale, birth_date, created_at, marketing, shoe_size, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`
	sqlPlainPurchase  = `INSERT INTO plain_purchases (external_id, purchase_id, at, sku, description, quantity, amount, currency, store, channel) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
)

// imports compares the sealed import of CSV files with plain rows of the same files,
// inserted by 2,000 customers a transaction into tables with the same indexes.
func (b *bench) imports(ctx context.Context) {
	files := b.files(b.customers)
	v, err := vault.Open(ctx, b.fresh("vault"), vault.Options{})
	fatal(err)
	ours := importInto(ctx, v, files)
	fatal(v.Close())
	size := fileSize(filepath.Join(b.dir, "vault", vault.DatabaseFile))

	d := b.sqlite(ctx, "plain")
	for _, s := range []string{sqlPlainCustomers, sqlPlainPurchases, sqlPlainIndex1, sqlPlainIndex2, sqlPlainIndex3, sqlPlainIndex4} {
		_, err := d.Exec(ctx, s)
		fatal(err)
	}
	start := time.Now()
	insert := func(name, sql string, many int) {
		f, err := os.Open(name)
		fatal(err)
		defer f.Close()
		r := csv.NewReader(bufio.NewReaderSize(f, 1<<18))
		_, err = r.Read()
		fatal(err)
		for more := true; more; {
			fatal(d.Tx(ctx, func(q db.Queryer) error {
				for range many {
					row, err := r.Read()
					if err == io.EOF {
						more = false
						return nil
					}
					if err != nil {
						return err
					}
					args := make([]any, len(row))
					for i := range row {
						args[i] = row[i]
					}
					if _, err := q.Exec(ctx, sql, args...); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	insert(files.customers, sqlPlainCustomer, 2000)
	insert(files.purchases, sqlPlainPurchase, 20000)
	plain := time.Since(start)
	fatal(d.Close())
	was := fileSize(filepath.Join(b.dir, "plain", "bench.db"))
	fmt.Println("## Import of customers with purchases from CSV, SQLite; ratios of this run")
	fmt.Printf("%d customers, %d purchases: sealed %.0f customers/s, plain %.0f/s, time %.2fx, bytes %.2fx\n",
		files.n, files.bought, float64(files.n)/ours.Seconds(), float64(files.n)/plain.Seconds(), ours.Seconds()/plain.Seconds(), float64(size)/float64(was))
}
