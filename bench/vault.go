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
	"os"
	"path/filepath"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// filled is a served vault with customers.
type filled struct {
	*app.Vault
	admin  *client.Client
	url    string
	key    string
	tokens []string
	stop   func()
}

func (b *bench) vault(ctx context.Context, customers int, o app.Options) *filled {
	v, err := app.Open(ctx, b.fresh("vault"), o)
	fatal(err)
	s := app.NewServer(v, slog.New(slog.NewTextHandler(io.Discard, nil)))
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
	for x := range invent.Customers(invent.Config{Customers: customers, Seed: 9, Brands: []string{"gucci"}}) {
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
				Quantity: &p.Quantity, Amount: p.Amount.String(), Currency: p.Currency, Store: p.Store, Channel: p.Channel})
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
	v, err := app.Open(ctx, b.fresh("vault"), app.Options{})
	fatal(err)
	ours := importInto(ctx, v, files)
	fatal(v.Close())
	size := fileSize(filepath.Join(b.dir, "vault", app.DatabaseFile))

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
