package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// service is what customers are read from.
type service struct {
	name string
	url  string
	took time.Duration
	cpu  time.Duration // of this process, clients included, without the database's
	dbs  time.Duration // CPU of the database's sessions
	all  []time.Duration
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// shape is how many clients reveal at once, and how many customers each time.
type shape struct{ clients, batch int }

func shapeOf(text string) (c shape) {
	_, err := fmt.Sscanf(text, "%d/%d", &c.clients, &c.batch)
	fatal(err)
	return c
}

// revealed returns a vault to reveal from, over the engine that is measured, and what its
// database's sessions cost so far.
func (b *bench) revealed(ctx context.Context) (f *filled, database func() time.Duration, stop func()) {
	const customers = 5000
	var o app.Options
	drop := func() {}
	database = func() time.Duration { return 0 }
	if b.database != "" {
		o.Database, drop = b.postgres(ctx)
		database = func() time.Duration { return sessionTime(o.Database[strings.LastIndexByte(o.Database, '/')+1:]) }
	}
	f = b.vault(ctx, customers, o)
	return f, database, func() {
		f.stop()
		drop()
	}
}

// round measures a service once, and adds that to what was measured of it.
func (b *bench) round(ctx context.Context, f *filled, s *service, c shape, database func() time.Duration) {
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.clients}}
	cl := client.New(s.url, f.key, h)
	before, dbBefore := cpuTime(), database()
	took, times := b.times(c.clients, func(w, i int) {
		at := (w*7919 + i*c.batch) % (len(f.tokens) - c.batch)
		d, err := cl.Reveal(ctx, "gucci", api.RevealRequest{Tokens: f.tokens[at : at+c.batch], Fields: []string{"given_name", "email", "phone"}, Purpose: "customer-support", Ticket: "CASE-1"})
		fatal(err)
		if len(d.Customers) != c.batch {
			fatal(fmt.Errorf("%s gave %d customers of %d", s.name, len(d.Customers), c.batch))
		}
	})
	h.CloseIdleConnections()
	s.cpu += cpuTime() - before
	s.dbs += database() - dbBefore
	s.took, s.all = s.took+took, append(s.all, times...)
}

// rate is how many customers a service gave in a second.
func (s *service) rate(c shape) float64 { return float64(len(s.all)*c.batch) / s.took.Seconds() }

// each is what of a time falls to one customer.
func (s *service) each(c shape, d time.Duration) time.Duration {
	return (d / time.Duration(len(s.all)*c.batch)).Round(100 * time.Nanosecond)
}

// reveals compares reveals over HTTP with two services over HTTP: the same steps but
// for the log, where one receipt, made beforehand, covers every customer; and plain
// rows, selected by the same key, for anybody. Rounds alternate between them.
func (b *bench) reveals(ctx context.Context) {
	f, database, stop := b.revealed(ctx)
	defer stop()
	unlogged := httptest.NewServer(f.unlogged(ctx))
	defer unlogged.Close()
	plain := httptest.NewServer(f.plain(ctx))
	defer plain.Close()

	fmt.Printf("## Reveals over HTTP, %s: customers a second, CPU for each; ratios of this run, %d rounds of %v each\n", b.engine(), b.rounds, b.seconds)
	fmt.Println("clients, batch | logged p50 p95 p99 CPU+database | without log p50 p95 p99 CPU+database | plain rows p50 p95 p99 CPU+database | to without log | to plain rows | entries a group")
	for shape := range strings.SplitSeq(b.shapes, ",") {
		c := shapeOf(shape)
		all := []*service{{name: "logged", url: f.url}, {name: "without", url: unlogged.URL}, {name: "plain", url: plain.URL}}
		var groups, entries int64
		for range b.rounds {
			for _, s := range all {
				if b.of != "" && s.name != b.of {
					continue
				}
				was, size := f.groups(ctx)
				b.round(ctx, f, s, c, database)
				now, grown := f.groups(ctx)
				groups, entries = groups+now-was, entries+grown-size
			}
		}
		fmt.Printf("%d, %d", c.clients, c.batch)
		for _, s := range all {
			if len(s.all) == 0 {
				continue
			}
			slices.Sort(s.all)
			at := func(percent int) time.Duration { return s.all[len(s.all)*percent/100].Round(10 * time.Microsecond) }
			fmt.Printf(" | %.0f %v %v %v %v+%v", s.rate(c), at(50), at(95), at(99), s.each(c, s.cpu), s.each(c, s.dbs))
		}
		fmt.Printf(" | %.2f | %.2f | %.1f\n", all[0].rate(c)/all[1].rate(c), all[0].rate(c)/all[2].rate(c), float64(entries)/float64(max(1, groups)))
	}
}

const sqlGroups = `SELECT count(*), coalesce(sum(count), 0) FROM log_groups`

// groups returns how many groups the logs have, and how many entries.
func (f *filled) groups(ctx context.Context) (groups, entries int64) {
	fatal(f.DB.Row(ctx, sqlGroups).Scan(&groups, &entries))
	return groups, entries
}

// sessionTime returns the CPU time of the sessions of a PostgreSQL database, where its
// server runs on this machine and under Linux, and 0 elsewhere.
func sessionTime(database string) (sum time.Duration) {
	titles, err := filepath.Glob("/proc/[0-9]*/cmdline")
	fatal(err)
	for _, name := range titles {
		title, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(title), "postgres: ") || !strings.Contains(string(title), " "+database+" ") {
			continue
		}
		sched, err := os.ReadFile(filepath.Join(filepath.Dir(name), "schedstat"))
		var ns int64
		if _, serr := fmt.Sscan(string(sched), &ns); err == nil && serr == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}

// unlogged is the vault's reveal without its log.
func (f *filled) unlogged(ctx context.Context) http.Handler {
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
	released, err := f.Disclose.Release(ctx, all, nil, ledger.Release{Grant: g, Class: budget.Clear})
	fatal(err)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/brands/gucci/reveal", func(w http.ResponseWriter, r *http.Request) {
		fatal(f.Revisions.Decide(r.Context(), func(ctx context.Context) error {
			revision.Logged(ctx) // so that no look at the database takes the place of the log's
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
			customers, err := released.Open(ctx, u)
			fatal(err)
			out := api.Disclosed{Receipt: &api.Receipt{Brand: "gucci"}, Customers: customers}
			fatal(encode(w, out))
			return nil
		}))
	})
	return mux
}

const (
	sqlShownTable  = `CREATE TABLE shown (token text PRIMARY KEY, given_name text, email text, phone text)`
	sqlShownInsert = `INSERT INTO shown (token, given_name, email, phone) VALUES ($1, $2, $3, $4)`
	sqlShownRead   = `SELECT token, given_name, email, phone FROM shown WHERE token = $1`

	sqlPostgresShownMany = `SELECT token, given_name, email, phone FROM shown WHERE token = ANY($1)`
)

// plain answers the same requests from plain rows, without asking who sends them.
func (f *filled) plain(ctx context.Context) http.Handler {
	_, err := f.DB.Exec(ctx, sqlShownTable)
	fatal(err)
	for part := range slices.Chunk(f.tokens, 1000) {
		var stmts []db.Stmt
		for i, token := range part {
			stmts = append(stmts, db.Stmt{SQL: sqlShownInsert, Args: []any{token, fmt.Sprint("Given-", i), fmt.Sprintf("given.%d@example.com", i), fmt.Sprintf("+3361234%04d", i)}})
		}
		fatal(f.DB.Batch(ctx, stmts))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/brands/gucci/reveal", func(w http.ResponseWriter, r *http.Request) {
		var req api.RevealRequest
		fatal(decode(r.Body, &req))
		out := api.Disclosed{Receipt: &api.Receipt{Brand: "gucci"}}
		scan := func(row db.Row) error {
			c := api.Customer{Fields: api.Fields{}}
			var given, email, phone string
			err := row.Scan(&c.Token, &given, &email, &phone)
			c.Fields["given_name"], c.Fields["email"], c.Fields["phone"] = given, email, phone
			out.Customers = append(out.Customers, c)
			return err
		}
		if len(req.Tokens) > 1 && f.DB.Engine() == db.Postgres {
			fatal(f.DB.Rows(r.Context(), scan, sqlPostgresShownMany, req.Tokens))
		} else {
			var stmts []db.Stmt
			for _, token := range req.Tokens {
				stmts = append(stmts, db.Stmt{SQL: sqlShownRead, Args: []any{token}, Scan: scan})
			}
			fatal(f.DB.Batch(r.Context(), stmts))
		}
		fatal(encode(w, out))
	})
	return mux
}
