package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/exercise/generate"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

const (
	sqlBulkCustomers  = `CREATE TABLE plain_customers (external_id text, given_name text, family_name text, email text, phone text, street text, postal_code text, city text, region text, country text, locale text, birth_date date, created_at timestamptz, marketing text, shoe_size text, note text)`
	sqlBulkPurchases  = `CREATE TABLE plain_purchases (external_id text, purchase_id text, at timestamptz, sku text, description text, quantity integer, amount numeric, currency text, store text, channel text)`
	sqlBulkExternal   = `CREATE UNIQUE INDEX plain_external ON plain_customers (external_id)`
	sqlBulkEmail      = `CREATE INDEX plain_email ON plain_customers (email)`
	sqlBulkPhone      = `CREATE INDEX plain_phone ON plain_customers (phone)`
	sqlBulkBought     = `CREATE INDEX plain_bought ON plain_purchases (external_id)`
	sqlBulkBoughtOnce = `CREATE UNIQUE INDEX plain_bought ON plain_purchases (external_id, purchase_id)`
	sqlBulkMemory     = `SET maintenance_work_mem = '256MB'` // as our import has for its index
	sqlBulkIn         = `COPY plain_customers FROM STDIN (FORMAT csv, HEADER true)`
	sqlBulkInBought   = `COPY plain_purchases FROM STDIN (FORMAT csv, HEADER true)`
	sqlBulkSize       = `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND (relname LIKE 'plain%') = $1`
	sqlBulkPID        = `SELECT pg_backend_pid()`
	sqlBulkSizes      = `SELECT relname::text, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_total_relation_size(oid) > 1000000 ORDER BY 2 DESC`
	sqlBulkLogSize    = `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname LIKE 'log\_%'`

	sqlCryptStageCustomers = `CREATE TEMPORARY TABLE stage_customers (external_id text, given_name text, family_name text, email text, phone text, street text, postal_code text, city text, region text, country text, locale text, birth_date date, created_at timestamptz, marketing text, shoe_size text, note text)`
	sqlCryptStagePurchases = `CREATE TEMPORARY TABLE stage_purchases (external_id text, purchase_id text, at timestamptz, sku text, description text, quantity integer, amount numeric, currency text, store text, channel text)`
	sqlCryptStageIn        = `COPY stage_customers FROM STDIN (FORMAT csv, HEADER true)`
	sqlCryptStageInBought  = `COPY stage_purchases FROM STDIN (FORMAT csv, HEADER true)`
	sqlCryptCustomers      = `CREATE TABLE plain_customers (external_id bytea, email bytea, phone bytea, sealed bytea)`
	sqlCryptPurchases      = `CREATE TABLE plain_purchases (external_id bytea, sealed bytea)`
	sqlCryptPGP            = `INSERT INTO plain_customers SELECT hmac(external_id, 'k', 'sha256'), hmac(lower(email), 'k', 'sha256'), hmac(phone, 'k', 'sha256'), pgp_sym_encrypt(s::text, '0123456789abcdef0123456789abcdef', 's2k-mode=0, cipher-algo=aes256, compress-algo=0') FROM stage_customers s`
	sqlCryptPGPBought      = `INSERT INTO plain_purchases SELECT hmac(external_id, 'k', 'sha256'), pgp_sym_encrypt(s::text, '0123456789abcdef0123456789abcdef', 's2k-mode=0, cipher-algo=aes256, compress-algo=0') FROM stage_purchases s`
	sqlCryptRaw            = `INSERT INTO plain_customers SELECT hmac(s.external_id, 'k', 'sha256'), hmac(lower(email), 'k', 'sha256'), hmac(phone, 'k', 'sha256'), iv || encrypt_iv(convert_to(s::text, 'UTF8'), '0123456789abcdef0123456789abcdef', iv, 'aes') FROM stage_customers s, LATERAL (SELECT gen_random_bytes(16) AS iv, s.external_id) i`
	sqlCryptRawBought      = `INSERT INTO plain_purchases SELECT hmac(s.external_id, 'k', 'sha256'), iv || encrypt_iv(convert_to(s::text, 'UTF8'), '0123456789abcdef0123456789abcdef', iv, 'aes') FROM stage_purchases s, LATERAL (SELECT gen_random_bytes(16) AS iv, s.external_id AS of) i`
)

// files are the same customers for everybody.
type files struct {
	customers, purchases string
	halves               [2]string // of purchases, each with the heading
	n, bought            int
}

// twice gives each customer the purchases of two, about ten in the mean.
func (b *bench) files(customers int) *files {
	dir := b.fresh("files")
	f := &files{customers: filepath.Join(dir, "customers.csv"), purchases: filepath.Join(dir, "purchases.csv")}
	c, err := os.Create(f.customers)
	fatal(err)
	p, err := os.Create(f.purchases)
	fatal(err)
	cb, pb := bufio.NewWriterSize(c, 1<<20), bufio.NewWriterSize(p, 1<<20)
	w, err := generate.NewWriter(cb, pb)
	fatal(err)
	more := make(chan []record.Purchase, 64)
	go func() {
		for x := range invent.Customers(invent.Config{Customers: customers, Seed: 10, Brands: []string{"gucci"}}) {
			more <- slices.Clone(x.Purchases)
		}
	}()
	for x := range invent.Customers(invent.Config{Customers: customers, Seed: 9, Brands: []string{"gucci"}}) {
		for _, p := range <-more {
			if len(x.Purchases) > 0 {
				p.Currency = x.Purchases[0].Currency
			}
			p.ID = x.Get(record.ExternalID) + "-" + strconv.Itoa(len(x.Purchases)+1)
			x.Purchases = append(x.Purchases, p)
		}
		slices.SortStableFunc(x.Purchases, func(a, b record.Purchase) int { return a.At.Compare(b.At) })
		fatal(w.Write(x))
	}
	fatal(w.Flush())
	fatal(cb.Flush())
	fatal(pb.Flush())
	fatal(c.Close())
	fatal(p.Close())
	f.n, f.bought = customers, int(w.Totals().Purchases)
	f.halve(dir)
	return f
}

func (f *files) halve(dir string) {
	in, err := os.Open(f.purchases)
	fatal(err)
	defer in.Close()
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.ReadBytes('\n')
	fatal(err)
	for i := range f.halves {
		f.halves[i] = filepath.Join(dir, fmt.Sprintf("purchases-%d.csv", i))
		out, err := os.Create(f.halves[i])
		fatal(err)
		w := bufio.NewWriterSize(out, 1<<20)
		w.Write(head)
		for n := 0; i == 1 || n < f.bought/2; n++ {
			line, err := r.ReadBytes('\n')
			if err == io.EOF {
				break
			}
			fatal(err)
			w.Write(line)
		}
		fatal(w.Flush())
		fatal(out.Close())
	}
}

// onDatabase runs fn on a database of its own, after a checkpoint, so that nobody
// pays for another's pages.
func (b *bench) onDatabase(ctx context.Context, fn func(dsn string)) {
	cfg, err := pgx.ParseConfig(b.database)
	fatal(err)
	admin, err := pgx.ConnectConfig(ctx, cfg)
	fatal(err)
	defer admin.Close(ctx)
	name := fmt.Sprintf("cloakroom_bench_%d", time.Now().UnixNano())
	for _, s := range []string{"CREATE DATABASE " + name, "CHECKPOINT"} {
		_, err = admin.Exec(ctx, s)
		fatal(err)
	}
	fn(fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s", cfg.Host, cfg.Port, cfg.User, cfg.Password, name))
	_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	fatal(err)
}

func copyFile(ctx context.Context, c *pgx.Conn, sql, name string) {
	f, err := os.Open(name)
	fatal(err)
	defer f.Close()
	_, err = c.PgConn().CopyFrom(ctx, bufio.NewReaderSize(f, 1<<18), sql)
	fatal(err)
}

func session(ctx context.Context, dsn string) *pgx.Conn {
	c, err := pgx.Connect(ctx, dsn)
	fatal(err)
	return c
}

func exec(ctx context.Context, c *pgx.Conn, sqls ...string) {
	for _, s := range sqls {
		_, err := c.Exec(ctx, s)
		fatal(err)
	}
}

// serverCPU is the processor time of the whole database server so far, those of its
// processes included that have ended, where it runs on this machine, else 0: an index
// is built by several, and none of them is the session. Our own is in getrusage.
func serverCPU(ctx context.Context, dsn string) (total time.Duration) {
	c := session(ctx, dsn)
	defer c.Close(ctx)
	var pid int
	fatal(c.QueryRow(ctx, sqlBulkPID).Scan(&pid))
	session, err := procStat(pid)
	if err != nil {
		return 0
	}
	parent := session[statParent]
	all, err := filepath.Glob("/proc/[0-9]*")
	fatal(err)
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		fatal(err)
		f, err := procStat(pid)
		if err != nil {
			continue // it has ended
		}
		of := statTimes[:2]
		if strconv.Itoa(pid) == parent {
			of = statTimes[:]
		} else if f[statParent] != parent {
			continue
		}
		for _, at := range of {
			n, err := strconv.Atoi(f[at])
			fatal(err)
			total += time.Duration(n) * 10 * time.Millisecond // hundredths of a second
		}
	}
	return total
}

// Fields of /proc/PID/stat after the name.
const statParent = 1

// statTimes are user and system time, and those of children that have ended.
var statTimes = [...]int{11, 12, 13, 14}

func procStat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])), nil
}

func ourCPU() time.Duration {
	var u syscall.Rusage
	fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// faults are the pages of memory that this process has touched for the first time.
func faults() int64 {
	var u syscall.Rusage
	fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Minflt
}

func bulkSize(ctx context.Context, dsn string, plain bool) (n int64) {
	c := session(ctx, dsn)
	defer c.Close(ctx)
	fatal(c.QueryRow(ctx, sqlBulkSize, plain).Scan(&n))
	return n
}

// plain loads the files into plain tables with the same indexes. With unique the one of
// purchases also sees to it that a purchase is there once, as our import does.
func (b *bench) plain(ctx context.Context, f *files, sessions int) (took, cpu time.Duration, size int64) {
	b.onDatabase(ctx, func(dsn string) {
		a := session(ctx, dsn)
		defer a.Close(ctx)
		bought := sqlBulkBought
		if b.unique {
			bought = sqlBulkBoughtOnce
		}
		exec(ctx, a, sqlBulkMemory, sqlBulkCustomers, sqlBulkPurchases)
		if b.first {
			exec(ctx, a, sqlBulkExternal, sqlBulkEmail, sqlBulkPhone, bought)
		}
		before := ourCPU() + serverCPU(ctx, dsn)
		start := time.Now()
		if sessions == 1 {
			copyFile(ctx, a, sqlBulkIn, f.customers)
			copyFile(ctx, a, sqlBulkInBought, f.purchases)
			if !b.first {
				exec(ctx, a, sqlBulkExternal, sqlBulkEmail, sqlBulkPhone, bought)
			}
		} else {
			c := session(ctx, dsn)
			defer c.Close(ctx)
			var wg sync.WaitGroup
			wg.Go(func() {
				copyFile(ctx, a, sqlBulkIn, f.customers)
				if !b.first {
					exec(ctx, a, sqlBulkExternal, sqlBulkEmail, sqlBulkPhone)
				}
				copyFile(ctx, a, sqlBulkInBought, f.halves[0])
			})
			wg.Go(func() { copyFile(ctx, c, sqlBulkInBought, f.halves[1]) })
			wg.Wait()
			if !b.first {
				exec(ctx, a, bought)
			}
		}
		took = time.Since(start)
		cpu = ourCPU() + serverCPU(ctx, dsn) - before
		size = bulkSize(ctx, dsn, true)
	})
	return took, cpu, size
}

// crypt seals in the database: from temporary tables, which cost no log.
func (b *bench) crypt(ctx context.Context, f *files, customers, bought string) (took time.Duration) {
	b.onDatabase(ctx, func(dsn string) {
		c := session(ctx, dsn)
		defer c.Close(ctx)
		exec(ctx, c, "CREATE EXTENSION pgcrypto", sqlCryptStageCustomers, sqlCryptStagePurchases, sqlCryptCustomers, sqlCryptPurchases)
		start := time.Now()
		copyFile(ctx, c, sqlCryptStageIn, f.customers)
		copyFile(ctx, c, sqlCryptStageInBought, f.purchases)
		exec(ctx, c, customers, bought, sqlBulkExternal, sqlBulkEmail, sqlBulkPhone, sqlBulkBought)
		took = time.Since(start)
	})
	return took
}

// sealed imports the files as `cloakroom import` does where it has the vault itself.
func (b *bench) sealed(ctx context.Context, f *files) (took, own, cpu time.Duration, size, log int64) {
	b.onDatabase(ctx, func(dsn string) {
		v, err := app.Open(ctx, b.fresh("bulk"), app.Options{Database: dsn})
		fatal(err)
		beforeServer, before := serverCPU(ctx, dsn), ourCPU()
		took = importInto(ctx, v, f)
		own = ourCPU() - before
		server := serverCPU(ctx, dsn) - beforeServer
		if b.verbose {
			fmt.Printf("  CPU: own %.2fs, server %.2fs\n", own.Seconds(), server.Seconds())
		}
		cpu = own + server
		size = bulkSize(ctx, dsn, false)
		if b.verbose {
			c := session(ctx, dsn)
			rows, err := c.Query(ctx, sqlBulkSizes)
			fatal(err)
			var table string
			var n int64
			_, err = pgx.ForEachRow(rows, []any{&table, &n}, func() error {
				fmt.Printf("  %s: %d bytes a customer\n", table, n/int64(f.n))
				return nil
			})
			fatal(err)
			fatal(c.Close(ctx))
		}
		c := session(ctx, dsn)
		fatal(c.QueryRow(ctx, sqlBulkLogSize).Scan(&log))
		fatal(c.Close(ctx))
		if b.bare {
			b.dump(ctx, dsn)
		}
		fatal(v.Close())
	})
	return took, own, cpu, size, log
}

func importInto(ctx context.Context, v *app.Vault, f *files) time.Duration {
	caller, err := v.Identity.EnsureLocal(ctx, access.Administrator)
	fatal(err)
	_, err = v.Admin.CreateBrand(ctx, caller, api.Brand{Name: "gucci"})
	fatal(err)
	start := time.Now()
	o := intake.Options{MaxRejects: 0}
	for _, x := range []struct {
		name string
		into *intake.Input
	}{{f.customers, &o.Customers}, {f.purchases, &o.Purchases}} {
		r, err := intake.Open(x.name, nil, nil)
		fatal(err)
		defer r.Close()
		*x.into = intake.Input{Name: x.name, Reader: r}
	}
	report, err := intake.Run(ctx, &intake.Direct{Desk: v.Intake, Caller: caller, Brand: "gucci"}, o)
	fatal(err)
	if report.Customers.New != int64(f.n) || report.Purchases.New != int64(f.bought) {
		fatal(fmt.Errorf("imported %+v", report))
	}
	return time.Since(start)
}

// cryptCustomers is how many customers are enough to time pgcrypto with.
const cryptCustomers = 10_000

// bulk compares our import of CSV files, to committed and indexed, with COPY of the
// same files into plain tables, in pairs that alternate within one run.
func (b *bench) bulk(ctx context.Context) {
	if b.database == "" {
		fmt.Println("## Bulk load: give -database to measure it on PostgreSQL")
		return
	}
	f := b.files(b.customers)
	fmt.Println("## Bulk load on PostgreSQL, CSV files to committed and indexed; ratios of this run")
	fmt.Printf("%d customers, %d purchases (%.1f each)\n", f.n, f.bought, float64(f.bought)/float64(f.n))
	if b.alone {
		b.cost(ctx, f)
		return
	}
	var one, two, loads, bare, above []float64
	for r := range b.rounds {
		ours, _, ourCPU, size, log := b.sealed(ctx, f)
		plain, plainCPU, was := b.plain(ctx, f, 1)
		both, _, _ := b.plain(ctx, f, 2)
		loads = append(loads, ours.Seconds())
		one, two = append(one, ours.Seconds()/plain.Seconds()), append(two, ours.Seconds()/both.Seconds())
		fmt.Printf("round %d: sealed %.2fs (%.0f customers/s), plain %.2fs, in two sessions %.2fs: %.2fx, %.2fx; CPU %.2fs, %.2fs: %.2fx; bytes a customer %d (%d of them log), plain %d: %.2fx\n",
			r+1, ours.Seconds(), float64(f.n)/ours.Seconds(), plain.Seconds(), both.Seconds(), one[r], two[r],
			ourCPU.Seconds(), plainCPU.Seconds(), ourCPU.Seconds()/plainCPU.Seconds(),
			size/int64(f.n), log/int64(f.n), was/int64(f.n), float64(size)/float64(was))
		if b.bare {
			took, cpu := b.floor(ctx)
			bare, above = append(bare, took.Seconds()/plain.Seconds()), append(above, ours.Seconds()/took.Seconds())
			fmt.Printf("the same rows by bare COPY: %.2fs, %.2fx of plain; CPU %.2fs, %.2fx\n", took.Seconds(), bare[r], cpu.Seconds(), cpu.Seconds()/plainCPU.Seconds())
		}
	}
	fmt.Printf("median: %.2fx of one plain session, %.2fx of two\n", median(one), median(two))
	if b.bare {
		fmt.Printf("median: the same rows by bare COPY: %.2fx of one plain session; the import takes %.2fx of that\n", median(bare), median(above))
	}
	if !b.pgcrypto {
		return
	}
	if f.n > cryptCustomers {
		f = b.files(cryptCustomers)
	}
	var pgp, raw []float64
	for range b.rounds {
		ours, _, _, _, _ := b.sealed(ctx, f)
		p := b.crypt(ctx, f, sqlCryptPGP, sqlCryptPGPBought)
		a := b.crypt(ctx, f, sqlCryptRaw, sqlCryptRawBought)
		pgp, raw = append(pgp, p.Seconds()/ours.Seconds()), append(raw, a.Seconds()/ours.Seconds())
	}
	fmt.Printf("pgcrypto, %d customers: pgp_sym_encrypt takes %.1fx as long, raw aes and hmac %.1fx\n", f.n, median(pgp), median(raw))
}

// cost says what of this process a customer costs: for work on the import itself, as
// processor time says more than a clock on a machine that others use too.
func (b *bench) cost(ctx context.Context, f *files) {
	for range b.rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		was := faults()
		took, cpu, both, _, _ := b.sealed(ctx, f)
		runtime.ReadMemStats(&after)
		n := uint64(f.n)
		fmt.Printf("%.0f customers/s; a customer: own CPU %.1f us, with the server %.1f us, %d allocations, %d bytes; %d collections, %d pages\n", float64(n)/took.Seconds(),
			cpu.Seconds()*1e6/float64(n), both.Seconds()*1e6/float64(n), (after.Mallocs-before.Mallocs)/n, (after.TotalAlloc-before.TotalAlloc)/n, after.NumGC-before.NumGC, faults()-was)
		if b.bare {
			bare, cpu := b.floor(ctx)
			fmt.Printf("the same rows by bare COPY: %.0f customers/s, %.2fx of the import's time; a customer: CPU with the server %.1f us\n", float64(n)/bare.Seconds(), bare.Seconds()/took.Seconds(), cpu.Seconds()*1e6/float64(n))
		}
	}
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
