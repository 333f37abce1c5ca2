package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// Rate is how often something was done, by how many clients at once.
type Rate struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Done      int     `json:"done"`
}

// Result is what was measured at one size.
type Result struct {
	Engine    string    `json:"engine"`
	Customers int64     `json:"customers"`
	Purchases int64     `json:"purchases"`
	When      time.Time `json:"when"`
	CPUs      int       `json:"cpus"`
	Pipe      bool      `json:"through_pipes"`
	Direct    bool      `json:"import_without_server"`

	CSVBytes      int64       `json:"csv_bytes"`
	ImportSeconds float64     `json:"import_seconds"`
	FirstReveal   float64     `json:"first_reveal_seconds"` // since the import began
	DatabaseBytes int64       `json:"database_bytes"`
	Tables        []tableSize `json:"tables,omitempty"`

	StartLoaded  float64 `json:"serve_start_seconds"`        // over the loaded database
	FirstLoaded  float64 `json:"serve_first_reveal_seconds"` // and the first reveal after that
	StartUsed    float64 `json:"serve_restart_seconds"`      // after everything below was logged
	FirstUsed    float64 `json:"serve_again_reveal_seconds"` // and the first reveal then
	SearchNumber Rate    `json:"search_by_external_id"`
	SearchEmail  Rate    `json:"search_by_email"`
	Reveals      Rate    `json:"reveals"`
	Batches      Rate    `json:"batches"` // in customers a second; times are of batches
	BatchOf      int     `json:"batch_of"`

	LogEntries    uint64  `json:"log_entries"`
	ScopeSeconds  float64 `json:"scope_seconds"`
	ScopeFound    uint64  `json:"scope_customers"`
	VerifySeconds float64 `json:"verify_seconds"`

	ImportPeak      int64 `json:"import_peak_bytes"`
	ServeLoadPeak   int64 `json:"serve_peak_bytes_during_load"`
	ServePeak       int64 `json:"serve_peak_bytes"` // answering, after a restart
	ServeVerifyPeak int64 `json:"serve_peak_bytes_with_verify"`
	ServeAgainPeak  int64 `json:"serve_peak_bytes_restarted"`
	BackendPeak     int64 `json:"backend_peak_bytes"` // the largest backend's own memory
	BackendsPeak    int64 `json:"backends_peak_bytes"`
	Backends        int   `json:"backends"`
}

// stage is one size being measured.
type stage struct {
	o      *options
	r      *Result
	db     *database // nil on SQLite
	dir    string    // data directory of serve
	admin  *client.Client
	client *client.Client
	key    string
	tokens []string
}

func (o *options) measure(ctx context.Context, n int) (r *Result, err error) {
	s := &stage{o: o, dir: filepath.Join(o.work, "vault"), r: &Result{Engine: o.engine, When: time.Now().UTC(), CPUs: cpus(), Pipe: o.pipe, BatchOf: o.batch}}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir), os.RemoveAll(s.dir+"-import")) }()
	if o.engine == enginePostgres {
		if !o.takes(ctx, "serve", "--database") {
			return nil, errors.New("this cloakroom serves no PostgreSQL (no --database): measure it with -engine sqlite")
		}
		if s.db, err = makeDatabase(ctx, o.database); err != nil {
			return nil, fmt.Errorf("making a database: %w", err)
		}
		defer func() { err = errors.Join(err, s.db.drop()) }()
	}
	w := s.db.watch()
	stopped := sync.OnceFunc(w.stop)
	defer stopped()
	src, err := o.prepare(ctx, n)
	if err != nil {
		return nil, err
	}
	defer func() {
		if src != nil {
			err = errors.Join(err, src.remove())
		}
	}()
	serve, _, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { serve.stop() }()
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := s.load(ctx, src); err != nil {
		return nil, err
	}
	known := src.samples
	err, src = src.remove(), nil
	if err != nil {
		return nil, err
	}
	if err := s.size(ctx); err != nil {
		return nil, err
	}
	if err := serve.stop(); err != nil {
		return nil, err
	}
	s.r.ServeLoadPeak = serve.high()

	if serve, s.r.StartLoaded, err = s.serve(ctx); err != nil {
		return nil, err
	}
	if err := s.rates(ctx, known); err != nil {
		return nil, err
	}
	serve.sample()
	s.r.ServePeak = serve.high()
	if err := s.verify(ctx); err != nil {
		return nil, err
	}
	if err := serve.stop(); err != nil {
		return nil, err
	}
	s.r.ServeVerifyPeak = serve.high()

	if serve, s.r.StartUsed, err = s.serve(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := s.reveal(ctx, s.tokens[:1]); err != nil {
		return nil, err
	}
	s.r.FirstUsed = time.Since(start).Seconds()
	if err := serve.stop(); err != nil {
		return nil, err
	}
	s.r.ServeAgainPeak = serve.high()
	stopped()
	s.r.BackendPeak, s.r.BackendsPeak, s.r.Backends = w.one, w.all, w.count
	return s.r, s.scope(ctx)
}

func (o *options) prepare(ctx context.Context, n int) (*source, error) {
	if !o.pipe {
		say("%d customers: inventing them", n)
	}
	src, err := o.source(ctx, n)
	if err == nil && !o.pipe {
		say("%d customers and %d purchases in %.1f MB, written in %.0f s", src.total.Customers, src.total.Purchases, float64(src.bytes)/1e6, src.took.Seconds())
	}
	return src, err
}

// serve starts a server and waits until it is well.
func (s *stage) serve(ctx context.Context) (*process, float64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, 0, err
	}
	args := []string{"serve", "--data", s.dir, "--listen", address}
	if s.db != nil {
		args = append(args, "--database", s.db.url)
	}
	start := time.Now()
	p, err := s.o.start(args...)
	if err != nil {
		return nil, 0, err
	}
	socket := filepath.Join(s.dir, app.SocketFile)
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	s.admin = client.New("http://vault", "", &http.Client{Transport: t})
	s.client = client.New("http://"+address, s.key, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * s.o.clients}})
	for {
		if err = s.admin.Do(ctx, "GET", "/v1/health", nil, nil); err == nil {
			return p, time.Since(start).Seconds(), nil
		}
		select {
		case <-p.done:
			return nil, 0, fmt.Errorf("serve ended at start: %w: %s", errors.Join(p.err, err), p.errs.String())
		case <-ctx.Done():
			return nil, 0, errors.Join(ctx.Err(), p.stop())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// begin makes a brand with more budget than any measurement uses, and who asks.
func (s *stage) begin(ctx context.Context) error {
	var list []budget.Rule
	for k := budget.Lineage; k <= budget.Brand; k++ {
		for _, c := range budget.InUse() {
			for w := budget.Hour; w <= budget.Month; w++ {
				list = append(list, budget.Rule{Kind: k, Class: c, Window: w, Limit: 1 << 31})
			}
		}
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		return err
	}
	var key api.Credential
	err = errors.Join(
		s.admin.Do(ctx, "POST", "/v1/brands", api.Brand{Name: brand}, nil),
		s.admin.Do(ctx, "PUT", client.Path("brands", brand, "budgets"), api.BudgetRules{Rules: string(rules.Encode())}, nil),
		s.admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "alice", Kind: "person", Roles: map[string]string{brand: "support-agent"}}, nil),
		s.admin.Do(ctx, "POST", client.Path("principals", "alice", "credentials"), api.CredentialRequest{}, &key))
	if err != nil {
		return fmt.Errorf("preparing the vault: %w", err)
	}
	s.key = key.Key
	return nil
}

func (s *stage) search(ctx context.Context, by, value string) (*api.Disclosed, error) {
	return s.client.Search(ctx, brand, api.SearchRequest{By: by, Value: value, Purpose: "customer-support", Ticket: "CASE-1"})
}

func (s *stage) reveal(ctx context.Context, tokens []string) error {
	d, err := s.client.Reveal(ctx, brand, api.RevealRequest{Tokens: tokens, Fields: []string{"given_name", "email", "phone"}, Purpose: "customer-support", Ticket: "CASE-1"})
	if err == nil && len(d.Customers) != len(tokens) {
		err = fmt.Errorf("asked for %d customers and got %d", len(tokens), len(d.Customers))
	}
	return err
}

// load imports, and asks meanwhile for the first customer of the file.
func (s *stage) load(ctx context.Context, src *source) error {
	args := []string{"import", "--brand", brand, "--customers", src.customers, "--purchases", src.purchases, "--rejects", filepath.Join(s.o.work, "rejects.csv"), "--json"}
	s.r.Direct = s.db != nil && s.o.takes(ctx, "import", "--database")
	if s.r.Direct {
		own := s.dir + "-import"
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(s.dir, app.RootKeyFile), filepath.Join(own, app.RootKeyFile)); err != nil {
			return err
		}
		args = append(args, "--data", own, "--database", s.db.url)
	} else {
		args = append(args, "--data", s.dir)
	}
	s.client = client.New("http://vault", s.key, s.overSocket())
	start := time.Now()
	p, err := s.o.start(args...)
	if err != nil {
		return err
	}
	first := make(chan error, 1)
	go func() { first <- s.firstReveal(ctx, p, src.first, start) }()
	beat := time.NewTicker(30 * time.Second)
	defer beat.Stop()
	go func() {
		for {
			select {
			case <-p.done:
				return
			case <-beat.C:
				say("importing since %.0f s, with %.0f MiB", time.Since(start).Seconds(), mib(p.high()))
			}
		}
	}()
	if err := p.wait(ctx); err != nil {
		return errors.Join(err, <-first)
	}
	s.r.ImportSeconds = time.Since(start).Seconds()
	s.r.ImportPeak = p.high()
	if err := errors.Join(src.wait(), <-first); err != nil {
		return err
	}
	s.r.CSVBytes = src.bytes
	var out struct {
		Customers struct{ New, Rejected int64 }
		Purchases struct{ New, Rejected int64 }
	}
	if err := json.Unmarshal(p.out.Bytes(), &out); err != nil {
		return fmt.Errorf("reading what import says: %w", err)
	}
	s.r.Customers, s.r.Purchases = out.Customers.New, out.Purchases.New
	if out.Customers.New != src.total.Customers || out.Customers.Rejected+out.Purchases.Rejected != 0 || !s.o.pipe && out.Purchases.New != src.total.Purchases {
		return fmt.Errorf("the import made %d customers and %d purchases and refused %d rows; the files have %d and %d",
			out.Customers.New, out.Purchases.New, out.Customers.Rejected+out.Purchases.Rejected, src.total.Customers, src.total.Purchases)
	}
	say("loaded in %.1f s: %.0f customers/s with %.0f purchases/s; import took %.0f MiB at most; first reveal after %.1f s", s.r.ImportSeconds,
		float64(s.r.Customers)/s.r.ImportSeconds, float64(s.r.Purchases)/s.r.ImportSeconds, mib(s.r.ImportPeak), s.r.FirstReveal)
	return nil
}

func (s *stage) overSocket() *http.Client {
	socket := filepath.Join(s.dir, app.SocketFile)
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// firstReveal asks until the first customer of the file can be revealed, or the
// import has ended.
func (s *stage) firstReveal(ctx context.Context, p *process, external string, start time.Time) error {
	for {
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		d, err := s.search(ctx, "external_id", external)
		if err == nil && len(d.Customers) == 1 {
			err = s.reveal(ctx, []string{d.Customers[0].Token})
			s.r.FirstReveal = time.Since(start).Seconds()
			return err
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ended && err != nil:
			return fmt.Errorf("revealing the first customer: %w", err)
		case ended:
			return errors.New("the first customer cannot be found after the import")
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *stage) size(ctx context.Context) (err error) {
	if s.db == nil {
		for _, f := range []string{app.DatabaseFile, app.DatabaseFile + "-wal"} {
			if info, err := os.Stat(filepath.Join(s.dir, f)); err == nil {
				s.r.DatabaseBytes += info.Size()
			}
		}
		return nil
	}
	if s.r.Tables, err = s.db.sizes(ctx); err != nil {
		return fmt.Errorf("reading the tables' sizes: %w", err)
	}
	for _, t := range s.r.Tables {
		s.r.DatabaseBytes += t.Bytes
	}
	say("%.0f bytes a customer", float64(s.r.DatabaseBytes)/float64(s.r.Customers))
	return nil
}

// rates measures searches, which also give the tokens to reveal, and reveals.
func (s *stage) rates(ctx context.Context, known []sample) (err error) {
	var mu sync.Mutex
	found := func(external string) error {
		d, err := s.search(ctx, "external_id", external)
		if err == nil && len(d.Customers) != 1 {
			err = fmt.Errorf("a customer of the file was found %d times", len(d.Customers))
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		s.tokens = append(s.tokens, d.Customers[0].Token)
		return nil
	}
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	if err := found(known[0].external); err != nil {
		return err
	}
	start := time.Now()
	if err := s.reveal(ctx, s.tokens); err != nil {
		return err
	}
	s.r.FirstLoaded = time.Since(start).Seconds()
	numbers := known[1:]
	if s.r.SearchNumber, err = s.rate(ctx, len(numbers), func(i int) error { return found(numbers[i].external) }); err != nil {
		return fmt.Errorf("searching by external id: %w", err)
	}
	mails := slices.DeleteFunc(slices.Clone(known), func(x sample) bool { return x.email == "" })
	if s.r.SearchEmail, err = s.rate(ctx, len(mails), func(i int) error {
		d, err := s.search(ctx, "email", mails[i].email)
		if err == nil && len(d.Customers) == 0 {
			err = errors.New("a customer of the file was not found by e-mail")
		}
		return err
	}); err != nil {
		return fmt.Errorf("searching by e-mail: %w", err)
	}
	tokens := slices.Clone(s.tokens)
	rand.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	if s.r.Reveals, err = s.rate(ctx, 0, func(i int) error { k := i % len(tokens); return s.reveal(ctx, tokens[k:k+1]) }); err != nil {
		return fmt.Errorf("revealing: %w", err)
	}
	s.r.BatchOf = min(s.o.batch, len(tokens))
	if s.r.Batches, err = s.rate(ctx, 0, func(i int) error {
		k := i * 37 % (len(tokens) - s.r.BatchOf + 1)
		return s.reveal(ctx, tokens[k:k+s.r.BatchOf])
	}); err != nil {
		return fmt.Errorf("revealing in batches: %w", err)
	}
	s.r.Batches.PerSecond *= float64(s.r.BatchOf)
	say("a second: %.0f searches by number, %.0f by e-mail, %.0f reveals, %.0f customers in batches", s.r.SearchNumber.PerSecond, s.r.SearchEmail.PerSecond, s.r.Reveals.PerSecond, s.r.Batches.PerSecond)
	return nil
}

// rate runs fn with numbers from 0 on, by all clients, for a time or up to a number.
func (s *stage) rate(ctx context.Context, most int, fn func(i int) error) (Rate, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	next := 0
	start := time.Now()
	var wg sync.WaitGroup
	for range s.o.clients {
		wg.Go(func() {
			for time.Since(start) < s.o.seconds && ctx.Err() == nil {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if most > 0 && i >= most {
					return
				}
				t := time.Now()
				err := fn(i)
				took := time.Since(t)
				mu.Lock()
				all = append(all, took)
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	total := time.Since(start).Seconds()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Rate{PerSecond: float64(len(all)) / total, P50: ms(quantile(all, 0.5)), P99: ms(quantile(all, 0.99)), Done: len(all)}, errors.Join(append(errs, ctx.Err())...)
}

func (s *stage) verify(ctx context.Context) error {
	var out api.Verified
	start := time.Now()
	if err := s.admin.Do(ctx, "POST", client.Path("brands", brand, "log", "verify"), struct{}{}, &out); err != nil {
		return fmt.Errorf("verifying the log: %w", err)
	}
	if !out.OK {
		return fmt.Errorf("the log does not verify: %s", out.Fault)
	}
	s.r.VerifySeconds, s.r.LogEntries = time.Since(start).Seconds(), out.Size
	say("the log of %d entries verifies in %.1f s", out.Size, s.r.VerifySeconds)
	return nil
}

// scope reads every entry of the log and unites the customers of those that
// disclosed, as the scope of a breach does. No server runs meanwhile.
func (s *stage) scope(ctx context.Context) (err error) {
	o := app.Options{}
	if s.db != nil {
		o.Database = s.db.url
	}
	v, err := app.Open(ctx, s.dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	all, seen, entries := roaring.New(), roaring.New(), uint64(0)
	start := time.Now()
	err = v.Ledger.Scan(ctx, 1, 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		entries++
		into := all
		if e.Kind == entry.KindDisclosure || e.Kind == entry.KindSearch {
			into = seen
		}
		for _, ord := range ords {
			into.Add(uint32(ord))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("scoping the log: %w", err)
	}
	s.r.ScopeSeconds, s.r.ScopeFound = time.Since(start).Seconds(), seen.GetCardinality()
	if n := all.GetCardinality(); n < uint64(s.r.Customers) {
		return fmt.Errorf("the log names %d customers of %d that were imported", n, s.r.Customers)
	}
	say("scoped %d entries in %.2f s: %d customers were disclosed", entries, s.r.ScopeSeconds, s.r.ScopeFound)
	return nil
}
