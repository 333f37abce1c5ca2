package structure

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// No transaction of the way of a reveal, a view or a search touches two values of a
// distribution column: over a cluster each runs on one node, without two-phase commit.
// The statements are read off the wire, so that none is forgotten.
func TestTheHotPathStaysOnOneShard(t *testing.T) {
	w, dsn := listen(t, dbtest.VaultDSN(t))
	ctx := t.Context()
	v, err := app.Open(ctx, t.TempDir(), app.Options{Database: dsn, DB: db.Options{Readers: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	s := app.NewServer(v, slog.New(slog.NewTextHandler(io.Discard, nil)))
	local := &http.Client{Transport: s.Local()}
	admin := client.New("http://vault", "", local)
	do := func(method, path string, in, out any) {
		t.Helper()
		if err := admin.Do(ctx, method, path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	do("POST", "/v1/brands", api.Brand{Name: "gucci"}, nil)
	do("POST", "/v1/principals", api.Principal{Name: "alice", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}}, nil)
	var key api.Credential
	do("POST", client.Path("principals", "alice", "credentials"), api.CredentialRequest{}, &key)
	var put api.PutRequest
	var bought api.PurchasesRequest
	for _, id := range []string{"C1", "C2", "C3"} {
		put.Customers = append(put.Customers, api.Fields{"external_id": id, "given_name": "Ada", "email": strings.ToLower(id) + "@example.com"})
		bought.Customers = append(bought.Customers, api.CustomerPurchases{ExternalID: id, Purchases: []api.Purchase{{
			ID: id + "-1", At: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC).Format(time.RFC3339), SKU: "GU1", Description: "Belt", Quantity: new(int64(1)), Amount: "90.00", Currency: "EUR",
		}}})
	}
	written, err := admin.Put(ctx, "gucci", put)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AddPurchases(ctx, "gucci", bought); err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for _, r := range written.Results {
		tokens = append(tokens, r.Token)
	}
	alice := client.New("http://vault", key.Key, local)
	reveal := func(ctx context.Context, tokens ...string) error {
		_, err := alice.Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"given_name", "email", "purchases"}, Purpose: "customer-support", Ticket: "CASE-1"})
		return err
	}
	check := newSpread()
	for _, c := range []struct {
		name  string
		batch bool
		want  []string // tables that must be among what was asked, or the test is blind
		run   func(context.Context) error
	}{
		{"a first reveal", false, []string{"customer_keys", "customers", "purchases", "log_heads", "log_tips", "log_groups"}, func(ctx context.Context) error { return reveal(ctx, tokens[0]) }},
		{"a second reveal", false, []string{"customer_keys", "log_heads", "log_groups"}, func(ctx context.Context) error { return reveal(ctx, tokens[0]) }},
		{"a batch", true, []string{"customer_keys", "purchases", "log_heads", "log_tips", "log_groups"}, func(ctx context.Context) error { return reveal(ctx, tokens...) }},
		{"a search", false, []string{"lookups", "customer_keys", "log_groups"}, func(ctx context.Context) error {
			_, err := alice.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "C2@example.com", Purpose: "customer-support", Ticket: "CASE-1"})
			return err
		}},
		{"a search for nobody", false, []string{"externals", "log_groups"}, func(ctx context.Context) error {
			_, err := alice.Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: "C99", Purpose: "customer-support", Ticket: "CASE-1"})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.take()
			if err := c.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			seen := w.take()
			var all []string
			for _, tx := range seen {
				report(t, check.checkTransaction(tx, c.batch))
				for _, a := range tx {
					all = append(all, a.sql)
				}
			}
			for _, table := range c.want {
				if !strings.Contains(strings.Join(all, "\n"), table) {
					t.Errorf("nothing asked %s: the wire does not show what ran: %q", table, all)
				}
			}
		})
	}
}

// everyShard are the statements that ask more shards than one by intention, and why.
// Each is off the hot path.
var everyShard = map[string]string{
	"sqlCountEntries":            "somebody scrapes the metrics: the heads of all logs are a row a brand",
	"sqlErasuresDue":             "a server looks once a minute, in a table that is mostly empty",
	"sqlLookupsExist":            "an import looks whether it is the first",
	"sqlPostgresMoveSegments":    "an import adds purchases to many customers at once",
	"sqlPostgresOneOfEach":       "the index is made anew, and never on a cluster",
	"sqlPostgresInsertLookups":   "the index is made anew",
	"sqlPostgresDeleteLookups":   "the index is made anew",
	"sqlPostgresInsertExternals": "the index is made anew",
	"sqlPostgresDeleteExternals": "the index is made anew",
	"sqlPostgresOthersExternals": "the index is made anew",
	"sqlSweep":                   "answers that are a day old are dropped now and then",
	"sqlCohort":                  "an export's filter walks all customers of a brand",
	"sqlOpenJobs":                "a sender looks for work, every few seconds where there is none",
	"sqlWaiting":                 "a sender takes the next rows of a job, hundreds at a time",
	"sqlLeft":                    "a sender that starts looks for rows that a killed one left",
	"sqlPageMails":               "somebody pages through a job",
	"sqlMailByID":                "a bounce names a mail and no customer",
	"sqlEarly":                   "a bounce names a mail and no customer",
	"sqlReturned":                "a bounce names a mail and no customer",
	"sqlCounts":                  "somebody asks how far a job is",
	"sqlAgain":                   "somebody asks how far a job is",
	"sqlSweepOptOuts":            "an erasure forgets with it what earlier ones left",
	"sqlLetters":                 "a list for letters walks a campaign",
	"sqlProfiles":                "a rotation walks all customers",
	"sqlWrappedBelow":            "a rotation walks all customers",
	"sqlCountOldKEK":             "a rotation walks all customers",
	"sqlPostgresRewrap":          "a rotation walks all customers",
	"sqlReadProfiles":            "a rotation walks all customers",
	"sqlCountCustomers":          "all customers are counted, for the share of decoys",
	"sqlLearnFrom":               "decoys placed at once are made after some customers, at 25 places",
	"sqlInspectLast":             "a check walks everything",
	"sqlInspectCustomers":        "a check walks everything",
	"sqlInspectSecrets":          "a check walks everything",
	"sqlInspectSegments":         "a check walks everything",
	"sqlInspectFormer":           "a check walks everything",
	"sqlCountLookups":            "a check walks everything",
	"sqlCountExternals":          "a check walks everything",
	"sqlFirstLookups":            "a check walks everything",
	"sqlNextLookups":             "a check walks everything",
	"sqlFirstExternals":          "a check walks everything",
	"sqlNextExternals":           "a check walks everything",
	"sqlInspectCooling":          "a check walks everything",
	"sqlListCooling":             "somebody lists the erasures that cool",
	"sqlCoolingDue":              "a server looks once a minute, in a table of days",
	"sqlCountCooling":            "`doctor` counts the erasures that cool",
	"sqlCountGone":               "`doctor` counts the keys that no rotation has followed",
	"sqlCoolingBelow":            "a rotation walks all keys",
	"sqlCountOldLaid":            "a rotation walks all keys",
	"sqlDropTakeBack":            "an erasure ends, or is taken back: few, and in a table of days",
	"sqlUnbury":                  "an erasure ends, or is taken back, as above",
	"sqlDropTombstones":          "a server looks once a minute for tombstones whose time is over",
	"sqlHeads":                   "a backup reads every log",
	"sqlSizes":                   "twice a second, which logs have grown",
}

// Every other statement on a distributed table binds its distribution column. COPY is
// taken apart row by row by the cluster.
func TestEveryStatementKnowsItsShard(t *testing.T) {
	found, _ := statements(ours(t))
	check := newSpread()
	distributed := 0
	for _, s := range found {
		if !s.runsOn(db.Postgres) || strings.HasPrefix(s.text, "COPY") || everyShard[s.name] != "" {
			continue
		}
		a := asked{sql: s.text, args: make([][]byte, 32)}
		for i := range a.args {
			a.args[i] = []byte("1")
		}
		rs, faults := check.reaches(&a)
		distributed += len(rs)
		for _, f := range faults {
			t.Errorf("%s: %s: %s; bind it, or say in everyShard why not", s.at, s.name, f)
		}
	}
	if distributed < 20 {
		t.Fatalf("only %d uses of distributed tables found: the test reads statements wrongly", distributed)
	}
}

// Every rule is shown a transaction that breaks it, and one that keeps it.
func TestTheSpreadCheckSeesPlantedStatements(t *testing.T) {
	text := func(sql string, args ...string) asked {
		a := asked{sql: sql}
		for _, s := range args {
			a.args = append(a.args, []byte(s))
		}
		return a
	}
	lock := text(`SELECT brand FROM log_heads WHERE brand = $1 FOR UPDATE`, "1")
	for _, c := range []struct {
		name  string
		batch bool
		tx    []asked
		want  string // "" for no fault
	}{
		{"log", false, []asked{lock, text(`INSERT INTO log_groups (brand, first) VALUES ($1, $2)`, "1", "9"), text(`INSERT INTO log_tips (brand, size) VALUES ($1, $2)`, "1", "2")}, ""},
		{"reference table beside the log", false, []asked{lock, text(`SELECT text FROM policies WHERE brand = $1`, "7")}, ""},
		{"reference table written", false, []asked{text(`UPDATE revisions SET n = n + 1 WHERE one = 1`)}, "on every node"},
		{"two brands", false, []asked{lock, text(`INSERT INTO log_groups (brand, first) VALUES ($1, $2)`, "2", "9")}, "asks 2 values"},
		{"customer beside the log", false, []asked{lock, text(`UPDATE customers SET updated = $2 WHERE ord = $1`, "1", "2")}, "groups of customers and log_heads"},
		{"every shard", false, []asked{text(`SELECT count(*) FROM lookups`)}, "not bound"},
		{"bound by another column", false, []asked{text(`SELECT sealed FROM customers WHERE brand = $1`, "1")}, "not bound"},
		{"greater", false, []asked{text(`SELECT sealed FROM customers WHERE ord > $1`, "1")}, "not bound"},
		{"join", false, []asked{text(`SELECT c.sealed FROM customer_keys k JOIN customers c ON c.ord = k.ord WHERE k.ord = $1 AND k.brand = $2`, "1", "2")}, ""},
		{"join on another column", false, []asked{text(`SELECT c.sealed FROM customer_keys k JOIN customers c ON c.brand = k.brand WHERE k.ord = $1`, "1")}, "customers.ord is not bound"},
		{"join across groups", false, []asked{text(`SELECT c.sealed FROM lookups l JOIN customers c ON c.ord = l.ord WHERE l.value = $1`, "1")}, "customers.ord is not bound"},
		{"join of unnested values", true, []asked{text(`SELECT c.sealed FROM unnest($1::bigint[]) AS u(ord) JOIN customers c ON c.ord = u.ord`, "{1,2}")}, "not bound"},
		{"batch", true, []asked{text(`SELECT sealed FROM customers WHERE ord = ANY($1)`, "{1,2}"), text(`SELECT sealed FROM purchases WHERE ord = ANY($1::bigint[])`, "{1,2}")}, ""},
		{"batch that is none", false, []asked{text(`SELECT sealed FROM customers WHERE ord = ANY($1)`, "{1,2}")}, "asks 2 values"},
		{"batch that locks", true, []asked{text(`SELECT sealed FROM customers WHERE ord = ANY($1) FOR UPDATE`, "{1,2}")}, "writes or locks"},
		{"batch of searches", true, []asked{text(`SELECT ord FROM lookups WHERE value = ANY($1)`, "{1,2}")}, "asks 2 values of the group of lookups"},
		{"or", false, []asked{text(`SELECT ord FROM lookups WHERE value = $1 OR ord = $2`, "1", "2")}, "OR may ask"},
		{"or beside what binds", false, []asked{text(`SELECT sealed FROM purchases WHERE ord = $1 AND (segment = $2 OR segment > $3)`, "1", "2", "3")}, ""},
		{"or that binds nothing", false, []asked{text(`SELECT ord FROM lookups WHERE (value = $1 OR ord = $2)`, "1", "2")}, "not bound"},
		{"insert without the column", false, []asked{text(`INSERT INTO purchases (segment, sealed) VALUES ($1, $2)`, "1", "x")}, "not among the columns"},
		{"rows of two values", false, []asked{text(`INSERT INTO lookups (value, ord) VALUES ($1, $3), ($2, $3) ON CONFLICT DO NOTHING`, "1", "2", "3")}, "writes or locks"},
		{"delete", false, []asked{text(`DELETE FROM purchases WHERE ord = $1`, "5")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(newSpread().checkTransaction(c.tx, c.batch), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
