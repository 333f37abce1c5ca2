package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

// pair is two servers over one database. Changes are made on the first and watched
// on the second.
type pair struct {
	t      *testing.T
	first  *client.Client // the local administrator of the first server
	urls   [2]string
	ledger interface {
		Size(context.Context, record.BrandID) (uint64, error)
		Scan(context.Context, record.BrandID, uint64, func(uint64, entry.Entry, []record.Ordinal) error) error
	}
	tokens []string
}

func eachPair(t *testing.T, test func(p *pair)) {
	quiet := slog.New(slog.DiscardHandler)
	open := func(t *testing.T, dir, database string) *app.Vault {
		v, err := app.Open(t.Context(), dir, app.Options{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		return v
	}
	run := func(t *testing.T, a, b *app.Vault) {
		p := &pair{t: t, ledger: a.Ledger}
		for i, v := range []*app.Vault{a, b} {
			s := app.NewServer(v, quiet)
			if i == 0 {
				p.first = client.New("http://vault", "", &http.Client{Transport: s.Local()})
			}
			srv := httptest.NewServer(s.Handler())
			t.Cleanup(srv.Close)
			p.urls[i] = srv.URL
		}
		p.must(p.first.Do(t.Context(), "POST", "/v1/brands", api.Brand{Name: "gucci"}, nil))
		for i := range 4 {
			w, err := p.first.Put(t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": fmt.Sprint("C-", i), "email": fmt.Sprintf("c%d@example.com", i)}}})
			p.must(err)
			p.tokens = append(p.tokens, w.Results[0].Token)
		}
		test(p)
	}
	t.Run("sqlite", func(t *testing.T) {
		v := open(t, t.TempDir(), "") // one process has it open: two servers over one vault
		run(t, v, v)
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := dbtest.DSN(t)
		one, two := t.TempDir(), t.TempDir()
		a := open(t, one, dsn)
		key, err := os.ReadFile(filepath.Join(one, app.RootKeyFile))
		if err == nil {
			err = os.WriteFile(filepath.Join(two, app.RootKeyFile), key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		run(t, a, open(t, two, dsn))
	})
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// principal returns a principal's credential and clients of both servers.
func (p *pair) principal(name, role string) (api.Credential, [2]*client.Client) {
	p.t.Helper()
	roles := map[string]string{}
	if role != "" {
		roles["gucci"] = role
	}
	var c api.Credential
	p.must(p.first.Do(p.t.Context(), "POST", "/v1/principals", api.Principal{Name: name, Kind: "service", Roles: roles}, nil))
	p.must(p.first.Do(p.t.Context(), "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c))
	return c, [2]*client.Client{client.New(p.urls[0], c.Key, nil), client.New(p.urls[1], c.Key, nil)}
}

func (p *pair) reveal(c *client.Client, i int) error {
	_, err := c.Reveal(p.t.Context(), "gucci", api.RevealRequest{Tokens: p.tokens[i%len(p.tokens) : i%len(p.tokens)+1], Fields: []string{"email"}, Purpose: "customer-support", Ticket: "CASE-1"})
	return err
}

// race reveals on the second server in a loop, makes a change on the first, and holds
// that nothing of the principal was logged after the change was answered, and that
// everybody was told why within a few requests.
func (p *pair) race(principal uint64, c *client.Client, typ string, change func()) {
	p.t.Helper()
	var before, changed atomic.Int64
	var wg sync.WaitGroup
	warm := make(chan struct{})
	for w := range 8 {
		wg.Go(func() {
			after := 0
			for i := w; after < 50; i++ {
				err := p.reveal(c, i)
				switch {
				case isType(err, typ):
					return
				case isType(err, api.TypeContained): // by the brand's log, before this server read what changed
					after++
				case err != nil:
					p.t.Error(err)
					return
				case changed.Load() > 0:
					after++
				}
				if before.Add(1) == 40 {
					close(warm)
				}
			}
			p.t.Error("the second server never heard of the change")
		})
	}
	<-warm
	change()
	size, err := p.ledger.Size(p.t.Context(), 1)
	p.must(err)
	changed.Store(1)
	wg.Wait()
	p.must(p.ledger.Scan(p.t.Context(), 1, size, func(i uint64, e entry.Entry, _ []record.Ordinal) error {
		if e.Principal == principal && e.Kind == entry.KindDisclosure {
			p.t.Errorf("entry %d discloses to whom it was taken away at %d", i, size)
		}
		return nil
	}))
}

func TestWhatIsTakenAwayIsGoneOnEveryServer(t *testing.T) {
	t.Parallel()
	eachPair(t, func(p *pair) {
		ctx := p.t.Context()
		var all []api.Principal
		id := func(name string) uint64 {
			p.must(p.first.Do(ctx, "GET", "/v1/principals", nil, &all))
			for _, x := range all {
				if x.Name == name {
					return x.ID
				}
			}
			p.t.Fatal("no ", name)
			return 0
		}
		for i := range 3 {
			name := fmt.Sprint("revoked-", i)
			cred, c := p.principal(name, access.SupportAgent)
			p.race(id(name), c[1], api.TypeUnauthenticated, func() {
				p.must(p.first.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(cred.Lineage)), nil, nil))
			})
		}
		_, c := p.principal("moved", access.SupportAgent)
		p.race(id("moved"), c[1], api.TypeUnknownBrand, func() {
			p.must(p.first.Do(ctx, "DELETE", client.Path("principals", "moved", "roles", "gucci"), nil, nil))
		})
		_, c = p.principal("forbidden", access.SupportAgent)
		p.race(id("forbidden"), c[1], api.TypePolicyDenied, func() {
			p.must(p.first.Do(ctx, "PUT", client.Path("brands", "gucci", "policy"), api.Policy{Text: access.DefaultText() + `
forbid (principal in Role::"support-agent", action == Action::"clear", resource);
`}, nil))
		})
	})
}

func TestWhatIsGivenHoldsAtOnceOnEveryServer(t *testing.T) {
	t.Parallel()
	eachPair(t, func(p *pair) {
		ctx := p.t.Context()
		_, warm := p.principal("warm", access.SupportAgent)
		p.must(p.reveal(warm[1], 0)) // from now on the second server has a revision
		_, c := p.principal("new", "")
		if err := p.reveal(c[1], 1); !isType(err, api.TypeUnknownBrand) {
			p.t.Fatalf("without a role: %v", err)
		}
		p.must(p.first.Do(ctx, "PUT", client.Path("principals", "new", "roles", "gucci"), api.RoleRequest{Role: access.SupportAgent}, nil))
		p.must(p.reveal(c[1], 1))
		req := api.RevealRequest{Tokens: p.tokens[:1], Fields: []string{"email"}, Purpose: "repairs", Ticket: "CASE-1"}
		if _, err := c[1].Reveal(ctx, "gucci", req); !isType(err, api.TypeUnknownPurpose) {
			p.t.Fatalf("before the purpose is there: %v", err)
		}
		p.must(p.first.Do(ctx, "POST", client.Path("brands", "gucci", "purposes"), api.Purpose{Name: "repairs", LegalBasis: "contract"}, nil))
		if err := p.reveal(c[1], 1); err != nil {
			p.t.Fatal(err)
		}
		p.must(p.first.Do(ctx, "PUT", client.Path("brands", "gucci", "policy"), api.Policy{Text: access.DefaultText() + `
permit (principal in Role::"support-agent", action == Action::"clear", resource) when { context.purpose == "repairs" };
`}, nil))
		size, err := p.ledger.Size(ctx, 1)
		p.must(err)
		if _, err := c[1].Reveal(ctx, "gucci", req); err != nil {
			p.t.Fatal(err)
		}
		p.must(p.ledger.Scan(ctx, 1, size, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
			if e.Kind == entry.KindRefusal {
				p.t.Error("what the newest policy allows is in the log as refused")
			}
			return nil
		}))
	})
}
