// Command bench measures Cloakroom beside what it is compared with, in one run, and
// prints ratios. Times on a busy machine mean little; ratios of one run mean more.
//
//	cd bench && go run . [-only log|bytes|start|reveal|import|rotate|bulk|exposure|watch|who-read] [-customers N] [-keys N] [-dir DIR]
//	cd bench && go run . -only log|start|reveal|rotate|bulk|exposure|watch|who-read -database postgres://user@host/postgres
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

type bench struct {
	dir       string
	customers int
	seconds   time.Duration
	keys      int
	database  string
	rounds    int
	first     bool
	unique    bool
	pgcrypto  bool
	verbose   bool
	alone     bool
	bare      bool
	shapes    string
	of        string
	entries   int
}

func main() {
	var b bench
	only := flag.String("only", "", "log, bytes, start, reveal, import, rotate, bulk, exposure, watch or who-read")
	flag.StringVar(&b.dir, "dir", "", "where to work; a real disk (default: a temporary directory)")
	flag.IntVar(&b.customers, "customers", 30000, "customers of the import")
	flag.IntVar(&b.keys, "keys", 500000, "customers' keys of the rotation")
	flag.DurationVar(&b.seconds, "for", 3*time.Second, "how long each measurement of a rate takes")
	flag.StringVar(&b.database, "database", "", "PostgreSQL server on which log, start, reveal, rotate, bulk, exposure, watch and who-read create databases; empty: SQLite")
	flag.IntVar(&b.rounds, "rounds", 3, "alternating rounds of reveal, watch and bulk")
	flag.BoolVar(&b.first, "indexes-first", false, "plain tables of bulk have their indexes before their rows")
	flag.BoolVar(&b.unique, "unique", false, "the plain tables of bulk hold a purchase once, as ours do: their index is unique by customer and purchase id")
	flag.BoolVar(&b.pgcrypto, "pgcrypto", true, "compare bulk with pgcrypto too")
	flag.BoolVar(&b.verbose, "v", false, "say more of bulk")
	flag.BoolVar(&b.alone, "alone", false, "bulk compares with nothing and says what a customer costs")
	flag.BoolVar(&b.bare, "bare", false, "bulk also copies the rows that the import made, as they are, into empty tables: what of its time is the database's own")
	flag.StringVar(&b.shapes, "shapes", "1/1,8/1,32/1,128/1,8/500", "clients and batches of reveal and watch")
	flag.StringVar(&b.of, "of", "", "of reveal measure only logged, without or plain: for a profile")
	flag.IntVar(&b.entries, "entries", 100000, "entries of the log that start begins from and who-read asks, and of 30 days of exposure")
	profile := flag.String("cpuprofile", "", "write a CPU profile here")
	allocs := flag.String("memprofile", "", "write a profile of allocations here")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		fatal(err)
		fatal(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	if *allocs != "" {
		defer func() {
			f, err := os.Create(*allocs)
			fatal(err)
			fatal(pprof.Lookup("allocs").WriteTo(f, 0))
		}()
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "cloakroom-bench-")
		fatal(err)
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	ctx := context.Background()
	for _, m := range []struct {
		name string
		fn   func(context.Context)
	}{{"log", b.appends}, {"bytes", b.bytes}, {"start", b.starts}, {"reveal", b.reveals}, {"import", b.imports}, {"rotate", b.rotations}, {"bulk", b.bulk}, {"exposure", b.exposure}, {"watch", b.watched}, {"who-read", b.whoReads}} {
		if *only == "" || *only == m.name {
			m.fn(ctx)
		}
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// fresh returns an empty directory.
func (b *bench) fresh(name string) string {
	dir := filepath.Join(b.dir, name)
	fatal(os.RemoveAll(dir))
	fatal(os.MkdirAll(dir, 0o700))
	return dir
}

func (b *bench) sqlite(ctx context.Context, name string) *db.DB {
	d, err := db.OpenSQLite(ctx, filepath.Join(b.fresh(name), "bench.db"), db.Options{})
	fatal(err)
	fatal(d.Migrate(ctx))
	return d
}

// engine names what log and reveal measure on.
func (b *bench) engine() string {
	if b.database == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

// postgres creates an empty database and returns its address, and what drops it.
func (b *bench) postgres(ctx context.Context) (string, func()) {
	admin, err := pgx.Connect(ctx, b.database)
	fatal(err)
	name := "cloakroom_bench_" + strings.ToLower(rand.Text())
	_, err = admin.Exec(ctx, "CREATE DATABASE "+name)
	fatal(err)
	u, err := url.Parse(b.database)
	fatal(err)
	u.Path = "/" + name
	return u.String(), func() {
		_, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		fatal(err)
		fatal(admin.Close(ctx))
	}
}

// open returns an empty database of the engine, and what closes it.
func (b *bench) open(ctx context.Context, name string) (*db.DB, func()) {
	if b.database == "" {
		d := b.sqlite(ctx, name)
		return d, func() { fatal(d.Close()) }
	}
	dsn, drop := b.postgres(ctx)
	d, err := db.OpenPostgres(ctx, dsn, db.Options{})
	fatal(err)
	fatal(d.Migrate(ctx))
	return d, func() { fatal(d.Close()); drop() }
}

func signer(context.Context, record.BrandID) (note.Signer, error) {
	s, _, err := ledger.NewSigner("bench.local/brand", make([]byte, 32))
	return s, err
}

func openLog(ctx context.Context, d *db.DB) *ledger.Ledger {
	s, err := signer(ctx, 1)
	fatal(err)
	now, err := d.Now(ctx)
	fatal(err)
	fatal(d.Tx(ctx, func(q db.Queryer) error { return ledger.Create(ctx, q, 1, s, now) }))
	return ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
}

// plenty is more budget than any measurement uses.
func plenty() *budget.Rules {
	var list []budget.Rule
	for k := budget.Lineage; k <= budget.Brand; k++ {
		for _, c := range budget.InUse() {
			list = append(list, budget.Rule{Kind: k, Class: c, Window: budget.Hour, Limit: 1 << 31})
		}
	}
	r, err := budget.NewRules(list)
	fatal(err)
	return r
}

// rate runs fn from n goroutines for a time, and returns how often it ran a second,
// and the median and 99th percentile of how long it took.
func (b *bench) rate(n int, fn func(worker, i int)) (float64, time.Duration, time.Duration) {
	total, all := b.times(n, fn)
	slices.Sort(all)
	return float64(len(all)) / total.Seconds(), all[len(all)/2], all[len(all)*99/100]
}

// times runs fn from n goroutines for a time, and returns how long that was and how
// long each took.
func (b *bench) times(n int, fn func(worker, i int)) (time.Duration, []time.Duration) {
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for w := range n {
		wg.Go(func() {
			var took []time.Duration
			for i := 0; time.Since(start) < b.seconds; i++ {
				t := time.Now()
				fn(w, i)
				took = append(took, time.Since(t))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return time.Since(start), all
}
