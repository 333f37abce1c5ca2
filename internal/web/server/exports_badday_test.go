package server_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/export"
)

func TestAnExportWhileTheDatabaseIsIll(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(2*export.PartCustomers, exportWhileIll))
}

// The database loses connections, or is locked by somebody else, while files are
// downloaded. What fails is asked for again; in the end every customer is in the files
// once, and the entries name them and nobody else.
func exportWhileIll(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst := s.as["analyst"]
	req := s.extract()
	req.Tokens = s.tokens
	x := s.approved(analyst, req)
	ill, well := context.WithCancel(ctx)
	done := make(chan error, 1)
	d := s.vault.DB
	if d.Engine() == db.Postgres {
		go func() {
			for ill.Err() == nil {
				var n int
				d.Row(ill, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
				time.Sleep(250 * time.Millisecond)
			}
			done <- nil
		}()
	} else {
		go func() { done <- lockNowAndThen(ill, filepath.Join(s.dir, app.DatabaseFile)) }()
	}
	inFile, failed := map[string]bool{}, 0
	for part := 1; part <= x.Parts; part++ {
		for _, file := range x.Files {
			b, err := s.file(analyst, x.ID, part, file)
			for ; err != nil; b, err = s.file(analyst, x.ID, part, file) {
				if failed++; failed > 60 {
					well()
				}
				if failed > 200 {
					t.Fatal(err)
				}
			}
			if file == export.Customers {
				for _, r := range rowsOf(t, b)[1:] {
					inFile[r[0]] = true
				}
			}
		}
	}
	well()
	s.must(<-done)
	_, left, err := s.tryEntries(x.ID)
	for range 200 { // connections that were cut and not used since are found out one by one
		if err == nil {
			break
		}
		_, left, err = s.tryEntries(x.ID)
	}
	s.must(err)
	if len(inFile) != len(s.tokens) || len(left) != len(s.tokens) {
		t.Errorf("%d in the files, %d in the entries, of %d", len(inFile), len(left), len(s.tokens))
	}
	t.Logf("%d requests failed", failed)
}

// lockNowAndThen holds the write lock of an embedded database most of the time.
func lockNowAndThen(ctx context.Context, path string) error {
	other, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer other.Close()
	c, err := other.Conn(context.Background())
	if err != nil {
		return err
	}
	defer c.Close()
	for ctx.Err() == nil {
		if _, err := c.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		if _, err := c.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func TestALineageIsRevokedDuringADownload(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(2*export.PartCustomers, revokedDuringADownload))
}

// What is revoked while a file is sent has no further file: at most one part left after.
func revokedDuringADownload(t *testing.T, s *shelf) {
	ctx := t.Context()
	officer := s.as["data-protection-officer"]
	req := s.extract()
	req.Tokens, req.Purpose, req.Form, req.Fields = s.tokens, "migration", "clear", []string{"email", "city"}
	x := s.approved(officer, req)
	var app api.Credential
	s.must(officer.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "CRM Loader"}, &app))
	loader := client.New(s.url, app.Key, nil)
	at := &revoker{after: 20_000, do: func() {
		s.must(s.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(app.Lineage)), nil, nil))
	}}
	if _, err := loader.ExportFile(ctx, "gucci", x.ID, 1, "customers", at); err != nil {
		t.Logf("the file that was being sent: %v", err)
	}
	if at.do != nil {
		t.Fatal("nothing was revoked")
	}
	for what, c := range map[string]*client.Client{"the app": loader, "who asked": officer} {
		if _, err := c.ExportFile(ctx, "gucci", x.ID, 2, "customers", io.Discard); !isType(err, api.TypeUnauthenticated) {
			t.Errorf("%s downloads after the lineage was revoked: %v", what, err)
		}
	}
	if _, left := s.entries(x.ID); len(left) != export.PartCustomers {
		t.Errorf("%d customers left after all, of one part of %d", len(left), export.PartCustomers)
	}
}

type revoker struct {
	n, after int
	do       func()
}

func (r *revoker) Write(b []byte) (int, error) {
	if r.n += len(b); r.n > r.after && r.do != nil {
		r.do()
		r.do = nil
	}
	return len(b), nil
}

var measure = flag.Bool("measure", false, "measure an extract of 50,000 customers, and print it")

// go test ./internal/web/server -run TestMeasureAnExtract -measure -v
func TestMeasureAnExtract(t *testing.T) {
	t.Parallel()
	if !*measure {
		t.Skip("only with -measure")
	}
	const n = 50_000
	onEach(t, onShelf(n, func(t *testing.T, s *shelf) {
		ctx := t.Context()
		var rules api.BudgetRules
		s.must(s.Do(ctx, "GET", client.Path("brands", "gucci", "budgets"), nil, &rules))
		lines := strings.Split(rules.Rules, "\n")
		for i, l := range lines {
			if f := strings.Fields(l); len(f) == 5 && f[2] == "export" {
				f[4] = "1000000"
				lines[i] = strings.Join(f, " ")
			}
		}
		s.must(s.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: strings.Join(lines, "\n")}, nil))
		for _, format := range []string{"csv", "jsonl", "parquet"} {
			req := s.extract()
			req.Filter, req.Format = &api.ExportFilter{CreatedFrom: "2020-01-01"}, format
			start := time.Now()
			x := s.approved(s.as["analyst"], req)
			gathered := time.Since(start)
			before := s.logBytes()
			start = time.Now()
			bytes := int64(0)
			for part := 1; part <= x.Parts; part++ {
				for _, file := range x.Files {
					w := &counter{}
					_, err := s.as["analyst"].ExportFile(ctx, "gucci", x.ID, part, file, w)
					s.must(err)
					bytes += w.n
				}
			}
			took := time.Since(start)
			t.Logf("%s: gathered %.0f customers/s, exported %.0f customers/s with a purchase each, %.1f bytes of file and %.2f bytes of log a customer",
				format, n/gathered.Seconds(), n/took.Seconds(), float64(bytes)/n, float64(s.logBytes()-before)/n)
		}
	}))
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// logBytes is what the log's entries and lists of customers take.
func (s *shelf) logBytes() (n int64) {
	s.must(s.vault.DB.Row(s.t.Context(), `SELECT sum(length(entries) + length(hashes) + length(subjects)) FROM log_groups WHERE brand = 1`).Scan(&n))
	return n
}
