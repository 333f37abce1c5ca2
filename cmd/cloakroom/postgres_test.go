package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Statements by which the tests of bad days stand in the vault's way.
const (
	sqlHoldHead  = `SELECT size FROM log_heads WHERE brand = 1 FOR UPDATE`
	sqlCutOne    = `SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cloakroom' ORDER BY random() LIMIT 1) x`
	sqlReadOnly  = `ALTER SYSTEM SET default_transaction_read_only = on`
	sqlReadWrite = `ALTER SYSTEM RESET default_transaction_read_only`
	sqlReload    = `SELECT pg_reload_conf()`
	sqlKeepWAL   = `SELECT pg_create_physical_replication_slot('keep', true)`
	sqlPromote   = `SELECT pg_promote(true, 60)`
)

// badDay is a vault in this process over PostgreSQL, with people who ask and a record
// of what they were answered.
type badDay struct {
	t      *testing.T
	v      *app.Vault
	admin  *client.Client
	names  []string
	people map[string]*client.Client
	tokens []string
	a      *answers
}

// badDayLimit is small, so that budgets run out while the day is bad.
const badDayLimit = 8

func newBadDay(t *testing.T, dsn string, o app.Options) *badDay {
	t.Helper()
	o.Database = dsn
	v, err := app.Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	h := &http.Client{Transport: app.NewServer(v, quiet(io.Discard)).Local()}
	b := &badDay{t: t, v: v, admin: client.New("http://vault", "", h), people: map[string]*client.Client{}, a: &answers{lost: map[string]int{}}}
	if err := b.admin.Do(t.Context(), "POST", "/v1/brands", api.Brand{Name: "gucci"}, nil); err != nil {
		t.Fatal(err)
	}
	keys, tokens := crowd(t, b.admin, 12, 2*badDayLimit, badDayLimit)
	b.tokens = tokens
	for name, key := range keys {
		b.names = append(b.names, name)
		b.people[name] = client.New("http://vault", key, h)
	}
	return b
}

// ask lets somebody ask, with a deadline, and returns the type of the error.
func (b *badDay) ask(within time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	name := b.names[rand.IntN(len(b.names))]
	return b.a.ask(ctx, b.people[name], name, some(b.tokens))
}

// load lets so many ask at once until the returned function is called.
func (b *badDay) load(clients int, within time.Duration) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					b.ask(within)
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

// until waits for a condition, long: the machine may be slow.
func (b *badDay) until(what string, done func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not in 90 seconds; unanswered: %v", what, b.a.lost)
		}
	}
}

// answered returns a condition: so many more were answered by the vault.
func (b *badDay) answered(n int) func() bool {
	g, r := b.a.count()
	return func() bool { g2, r2 := b.a.count(); return g2+r2 >= g+r+n }
}

// unavailable returns a condition: so many more were told that the log cannot be written.
func (b *badDay) unavailable(n int) func() bool {
	count := func() int { b.a.mu.Lock(); defer b.a.mu.Unlock(); return b.a.lost[api.TypeLogUnavailable] }
	from := count()
	return func() bool { return count() >= from+n }
}

// done holds every answer against the log, read by a vault that was not there.
func (b *badDay) done(dsn string) {
	b.t.Helper()
	v, err := app.Open(b.t.Context(), b.v.Dir, app.Options{Database: dsn})
	if err != nil {
		b.t.Fatal(err)
	}
	defer v.Close()
	found := b.a.check(b.t, v)
	b.t.Logf("%d answers with customers, %d refusals by budget, unanswered: %v; %d disclosures logged", len(b.a.given), len(b.a.turned), b.a.lost, found.entries)
	if len(b.a.given) == 0 {
		b.t.Error("nobody was given anything: the test shows nothing")
	}
}

func TestPostgreSQLRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{})
	b := newBadDay(t, s.DSN(), app.Options{})
	stop := b.load(8, 20*time.Second)
	for _, mode := range []string{"immediate", "fast", "immediate"} {
		b.until("answers", b.answered(20))
		gone := b.unavailable(5)
		s.Stop(mode)
		b.until("told that the log cannot be written", gone)
		var e *api.Error
		if err := b.admin.Do(t.Context(), "GET", "/v1/health", nil, nil); !errors.As(err, &e) || e.Type != api.TypeLogUnavailable || e.Status != http.StatusServiceUnavailable {
			t.Errorf("the health of a server without its database: %v", err)
		}
		s.Start()
	}
	b.until("answers after the last restart", b.answered(20))
	stop()
	b.done(s.DSN())
}

func TestConnectionsAreCutUnderLoad(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	b := newBadDay(t, dsn, app.Options{})
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	stop := b.load(8, 20*time.Second)
	for range 60 {
		b.until("answers between two cuts", b.answered(2))
		if _, err := admin.Exec(t.Context(), sqlCutOne); err != nil {
			t.Fatal(err)
		}
	}
	b.until("answers after the last cut", b.answered(20))
	stop()
	b.done(dsn)
}

// The answers to COMMIT are lost at random: what took effect is in the log and counts,
// and nobody was given it.
func TestCommitsAreLostUnderLoad(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	var armed atomic.Bool
	var cuts atomic.Int32
	b := newBadDay(t, dbtest.CutCommits(t, dsn, func() bool {
		cut := armed.Load() && rand.IntN(10) == 0
		if cut {
			cuts.Add(1)
		}
		return cut
	}), app.Options{})
	armed.Store(true)
	stop := b.load(8, 20*time.Second)
	b.until("lost commits", func() bool { return cuts.Load() >= 30 })
	armed.Store(false)
	b.until("answers afterwards", b.answered(20))
	stop()
	b.done(dsn)
	t.Logf("%d commits lost", cuts.Load())
}

// Fewer connections than requests: they wait, obey their deadlines, and none hangs.
func TestThePoolIsExhausted(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	b := newBadDay(t, dsn, app.Options{DB: db.Options{Readers: 1}, Ledger: ledger.Options{Timeout: 3 * time.Second}})
	// One connection serves everything: no request holds one and waits for another.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if kind := b.ask(60 * time.Second); kind != "" && kind != api.TypeBudgetExhausted {
				t.Errorf("a request over one connection: %s", kind)
			}
		})
	}
	wg.Wait()
	ctx := t.Context()
	if _, err := b.admin.AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: "K-1", Purchases: []api.Purchase{{ID: "1", At: "2025-01-01T00:00:00Z", Amount: "1.00", Currency: "EUR", Description: "Loafer"}}}}}); err != nil {
		t.Errorf("purchases over one connection: %v", err)
	}
	if _, err := b.admin.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "K-1", "email": "other@example.com"}, {"external_id": "K-new", "email": "new@example.com"}}}); err != nil {
		t.Errorf("a write over one connection: %v", err)
	}
	// Somebody holds the head of the log: the connection is taken until the deadline.
	tx := b.hold(dsn)
	for range 32 {
		wg.Go(func() {
			// The commit that waits for the head answers when its own time is up.
			if kind := b.ask(700 * time.Millisecond); kind == "" {
				t.Error("a request was given customers while nothing could be logged")
			}
		})
	}
	wg.Wait()
	tx.Rollback(context.Background())
	b.until("answers again", func() bool { kind := b.ask(20 * time.Second); return kind == "" || kind == api.TypeBudgetExhausted })
	b.done(dsn)
}

// hold locks the head of the brand's log from outside.
func (b *badDay) hold(dsn string) pgx.Tx {
	b.t.Helper()
	c, err := pgx.Connect(b.t.Context(), dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close(context.Background()) })
	tx, err := c.Begin(b.t.Context())
	if err == nil {
		_, err = tx.Exec(b.t.Context(), sqlHoldHead)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return tx
}

func TestAStatementTakesTooLong(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	for name, o := range map[string]struct {
		dsn  string
		opts app.Options
	}{
		"the database's limit": {dsn + " statement_timeout=700", app.Options{}},
		"the log's limit":      {dsn, app.Options{Ledger: ledger.Options{Timeout: 700 * time.Millisecond}}},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := dbtest.DSN(t)
			b := newBadDay(t, strings.Replace(o.dsn, dsn, fresh, 1), o.opts)
			b.until("an answer", func() bool { return b.ask(20*time.Second) == "" })
			tx := b.hold(fresh)
			if kind := b.ask(20 * time.Second); kind != api.TypeLogUnavailable {
				t.Errorf("while the head is locked: %q", kind)
			}
			tx.Rollback(context.Background())
			b.until("answers again", func() bool { return b.ask(20*time.Second) == "" })
			b.done(fresh)
		})
	}
}

// A primary that can only be read from now on, as after a failover: nothing leaves.
func TestThePrimaryBecomesReadOnly(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{})
	b := newBadDay(t, s.DSN(), app.Options{})
	stop := b.load(4, 20*time.Second)
	b.until("answers", b.answered(10))
	set := func(statement string) {
		t.Helper()
		for _, sql := range []string{statement, sqlReload} {
			if err := s.Admin(sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := b.unavailable(10)
	set(sqlReadOnly)
	b.until("told that the log cannot be written", refused)
	set(sqlReadWrite)
	b.until("answers again", b.answered(10))
	stop()
	b.done(s.DSN())
}

func TestPostgreSQLsDiskIsFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		data, wal int // bytes of the disk; 0: not a small one
	}{
		{"the tables' disk", 64 << 20, 0},
		{"the write-ahead log's disk", 0, 16 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o dbtest.ServerOptions
			var disk *dbtest.Disk
			if c.data > 0 {
				disk = dbtest.SmallDisk(t, c.data)
				o.Data, o.WAL = disk.Dir, dbtest.Folder(t)
			} else {
				disk = dbtest.SmallDisk(t, c.wal)
				o.WAL = disk.Dir
			}
			s := dbtest.Server(t, o)
			b := newBadDay(t, s.DSN(), app.Options{})
			stop := b.load(4, 20*time.Second)
			b.until("answers", b.answered(10))
			full := b.unavailable(5)
			if c.wal > 0 { // nothing of it is used again
				if err := s.Admin(sqlKeepWAL); err != nil {
					t.Fatal(err)
				}
			}
			disk.Fill()
			// Writes beside the disclosures use up what the files have left.
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					var req api.PutRequest
					for i := range 50 {
						req.Customers = append(req.Customers, api.Fields{"external_id": fmt.Sprint("F-", n, "-", i), "email": fmt.Sprintf("f%d-%d@example.com", n, i), "street": strings.Repeat("Long Street ", 20)})
					}
					_, err := b.admin.Put(ctx, "gucci", req)
					var e *api.Error
					if err != nil && ctx.Err() == nil && !(errors.As(err, &e) && (e.Type == api.TypeLogUnavailable || e.Type == api.TypeTimeout)) {
						t.Errorf("a write on a full disk gave %v", err)
					}
				}
			})
			b.until("told that the log cannot be written", full)
			cancel()
			wg.Wait()
			disk.Free()
			s.Start() // a server whose write-ahead log had no room can have ended
			b.until("answers when there is room again", b.answered(20))
			stop()
			b.done(s.DSN())
		})
	}
}

// The clock that budgets go by steps back and forward by minutes, as after a failover to
// a machine whose clock is wrong: no entry is older than the one before it, and no
// budget is exceeded.
func TestTheDatabasesClockSteps(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	var offset atomic.Int64
	b := newBadDay(t, dsn, app.Options{DB: db.Options{Clock: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }}})
	stop := b.load(4, 20*time.Second)
	for _, o := range []time.Duration{-20 * time.Minute, 10 * time.Minute, -5 * time.Minute, 0} {
		b.until("answers", b.answered(20))
		offset.Store(int64(o))
	}
	b.until("answers", b.answered(20))
	stop()
	b.a.mu.Lock()
	for i := range b.a.turned { // the log's time is ahead of this machine's
		b.a.turned[i].at = time.Now().Add(10 * time.Minute)
	}
	b.a.mu.Unlock()
	b.done(dsn)
}

// The primary is lost and a replica, which has every answered commit, takes over: the
// same servers go on with it, by an address that names both.
func TestAReplicaTakesOver(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{})
	r := s.Replica()
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, sqlReload} {
		if err := s.Admin(sql); err != nil {
			t.Fatal(err)
		}
	}
	both := fmt.Sprintf("postgres://cloakroom@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", s.Port(), r.Port())
	b := newBadDay(t, both, app.Options{})
	stop := b.load(4, 20*time.Second)
	b.until("answers", b.answered(30))
	lost := b.unavailable(3)
	s.Stop("immediate")
	b.until("told that the log cannot be written", lost)
	if err := r.Admin(sqlPromote); err != nil {
		t.Fatal(err)
	}
	b.until("answers by the replica", b.answered(30))
	stop()
	b.done(both)
}
