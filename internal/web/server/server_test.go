package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

// house is a served vault with two brands and a principal per role.
type house struct {
	*client.Client // the local administrator
	t              *testing.T
	url, dir       string
	server         *server.Server
	vault          *app.Vault
	logged         *lockedBuffer
	as             map[string]*client.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// onEach runs a test in a house on each engine.
func onEach(t *testing.T, test func(t *testing.T, h *house)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newHouse(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, newHouse(t, dbtest.VaultDSN(t))) })
}

func newHouse(t *testing.T, database string) *house {
	t.Helper()
	return newHouseWithin(t, database, server.Timeout)
}

func newHouseWithin(t *testing.T, database string, timeout time.Duration) *house {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	v, err := app.Open(ctx, dir, app.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	v.Changes.Patience = time.Nanosecond // its own tests wait for receivers
	h := &house{t: t, dir: dir, logged: &lockedBuffer{}, as: map[string]*client.Client{}}
	s := server.NewWithin(v.Desks(), slog.New(slog.NewJSONHandler(h.logged, &slog.HandlerOptions{Level: slog.LevelDebug})), timeout)
	v.Sender.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")} // where pagers of tests are
	h.server, h.vault = s, v
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	h.url = srv.URL
	h.Client = client.New("http://vault", "", &http.Client{Transport: s.Local()})
	for _, b := range []string{"gucci", "balenciaga"} {
		h.must(h.Do(ctx, "POST", "/v1/brands", api.Brand{Name: b}, nil))
	}
	for _, role := range access.Roles() {
		h.must(h.Do(ctx, "POST", "/v1/principals", api.Principal{Name: role, Kind: "person", Roles: map[string]string{"gucci": role}}, nil))
		var c api.Credential
		h.must(h.Do(ctx, "POST", client.Path("principals", role, "credentials"), api.CredentialRequest{}, &c))
		h.as[role] = client.New(srv.URL, c.Key, nil)
	}
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func isType(err error, typ string) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Type == typ
}

func zoe() api.Fields {
	return api.Fields{"external_id": "Z-1", "given_name": "Zoë-Unmistakable", "email": "zoe.unmistakable@example.com", "country": "FR", "attr.size": "seven-and-a-half"}
}

func TestTheWayOfOneCustomer(t *testing.T) {
	t.Parallel()
	onEach(t, theWayOfOneCustomer)
}

func theWayOfOneCustomer(t *testing.T, h *house) {
	ctx := t.Context()
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe(), {"external_id": "Z-2", "given_name": "Yan"}}})
	h.must(err)
	token := w.Results[0].Token
	if w.Results[0].Outcome != "new" || w.Receipt == nil {
		t.Fatalf("%+v", w)
	}
	again, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	if err != nil || again.Results[0].Outcome != "unchanged" || again.Results[0].Token != token || again.Receipt != nil {
		t.Fatalf("%+v %v", again, err)
	}
	// Whoever writes what is there learns that it is there: that is in the log too.
	var e api.Entry
	h.must(h.Do(ctx, "GET", fmt.Sprint("/v1/brands/gucci/log/entries/", w.Receipt.Entry+1), nil, &e))
	if e.Kind != "write" || e.Principal == 0 || e.Detail["unchanged"] != "1" {
		t.Errorf("a write that changed nothing is logged as %+v", e)
	}
	_, err = h.as["application"].AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{
		Token: token, Purchases: []api.Purchase{{ID: "o-1", At: "2025-03-01T10:00:00Z", Description: "Horsebit loafer", Amount: "790.00", Currency: "EUR"}},
	}}})
	h.must(err)

	found, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "ZOE.Unmistakable@EXAMPLE.com", Purpose: "customer-support", Ticket: "CASE-7"})
	h.must(err)
	if len(found.Customers) != 1 || found.Customers[0].Token != token || found.Customers[0].Fields["email"] != "z•••@e•••.com" {
		t.Fatalf("%+v", found)
	}
	if nobody, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "a@b.example", Purpose: "customer-support"}); err != nil || len(nobody.Customers) != 0 || nobody.Receipt == nil {
		t.Errorf("searching for nobody: %+v, %v", nobody, err)
	}
	r, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"given_name", "email", "purchases"}, Purpose: "customer-support", Ticket: "CASE-7"})
	h.must(err)
	if got := r.Customers[0]; got.Fields["email"] != zoe()["email"] || len(got.Fields) != 2 || got.Purchases[0].Amount != "790.00" || r.Receipt.Brand != "gucci" {
		t.Errorf("%+v", got)
	}
	_, err = h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"email", "attributes"}, Purpose: "customer-support"})
	var denied *api.Error
	if !errors.As(err, &denied) || denied.Type != api.TypePolicyDenied || fmt.Sprint(denied.Fields) != "[attributes]" {
		t.Errorf("a reveal beyond the policy gave %v", err)
	}
	for what, c := range map[string]*client.Client{"administrator": h.as["administrator"], "local administrator": h.Client} {
		if _, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"email"}, Purpose: "customer-support"}); !isType(err, api.TypePolicyDenied) {
			t.Errorf("the %s revealed: %v", what, err)
		}
	}
	if _, err := h.as["support-agent"].View(ctx, "gucci", token, "curiosity", ""); !isType(err, api.TypeUnknownPurpose) {
		t.Errorf("an unregistered purpose gave %v", err)
	}

	d, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", token)
	h.must(err)
	if len(d.Disclosures) != 2 || d.Disclosures[1].Principal != "support-agent" || d.Disclosures[1].Level != "clear" || d.Disclosures[1].Proof.Counter != 1 {
		t.Errorf("%+v", d.Disclosures)
	}

	if _, err := h.as["support-agent"].Erase(ctx, "gucci", token); !isType(err, api.TypePolicyDenied) {
		t.Errorf("support erased: %v", err)
	}
	_, err = h.as["data-protection-officer"].Erase(ctx, "gucci", token)
	h.must(err)
	if _, err := h.as["support-agent"].View(ctx, "gucci", token, "customer-support", ""); !isType(err, api.TypeUnknownToken) {
		t.Errorf("the erased customer gave %v", err)
	}
}

func TestOneBrandIsAFence(t *testing.T) {
	t.Parallel()
	onEach(t, oneBrandIsAFence)
}

func oneBrandIsAFence(t *testing.T, h *house) {
	ctx := t.Context()
	ours, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	theirs, err := h.Put(ctx, "balenciaga", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	mixed := []string{ours.Results[0].Token, theirs.Results[0].Token}
	if _, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: mixed, Fields: []string{"email"}, Purpose: "customer-support"}); !isType(err, api.TypeOtherBrand) {
		t.Errorf("a token of another brand gave %v", err)
	}
	for _, brand := range []string{"balenciaga", "nowhere"} {
		if _, err := h.as["support-agent"].View(ctx, brand, mixed[1], "customer-support", ""); !isType(err, api.TypeUnknownBrand) {
			t.Errorf("without a role, %s gave %v", brand, err)
		}
	}
	found, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: zoe()["email"], Purpose: "customer-support"})
	if err != nil || len(found.Customers) != 1 || found.Customers[0].Token != mixed[0] {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestABudgetHoldsOverHTTP(t *testing.T) {
	t.Parallel()
	onEach(t, aBudgetHoldsOverHTTP)
}

func aBudgetHoldsOverHTTP(t *testing.T, h *house) {
	ctx := t.Context()
	var rules api.BudgetRules
	h.must(h.Do(ctx, "GET", client.Path("brands", "gucci", "budgets"), nil, &rules))
	var many []api.Fields
	for i := range 60 {
		many = append(many, api.Fields{"external_id": fmt.Sprint("N-", i), "email": fmt.Sprintf("n%d@example.com", i)})
	}
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: many})
	h.must(err)
	lines := strings.Split(strings.TrimSpace(rules.Rules), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "role") && strings.Contains(l, "support-agent") || strings.HasPrefix(l, "lineage") {
			f := strings.Fields(l)
			f[len(f)-1] = "10"
			lines[i] = strings.Join(f, " ")
		}
	}
	h.must(h.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: strings.Join(lines, "\n") + "\n"}, nil))
	var wg sync.WaitGroup
	var mu sync.Mutex
	given := 0
	for _, r := range w.Results {
		wg.Go(func() {
			_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{r.Token}, Fields: []string{"email"}, Purpose: "customer-support"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				given++
			case !isType(err, api.TypeBudgetExhausted):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if given != 10 {
		t.Errorf("%d customers were given under a budget of 10", given)
	}
}

// Whatever is sent, no error and no log line repeats it.
func TestErrorsAndLogsRepeatNothing(t *testing.T) {
	t.Parallel()
	onEach(t, errorsAndLogsRepeatNothing)
}

func errorsAndLogsRepeatNothing(t *testing.T, h *house) {
	secret := "Unmistakable-4711"
	var bodies bytes.Buffer
	send := func(method, path, body string) {
		req, err := http.NewRequestWithContext(context.Background(), method, h.url+path, strings.NewReader(body))
		h.must(err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+h.key(t))
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		defer resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("%s %s was not refused", method, body)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s %s: content type %s", method, path, ct)
		}
		bodies.ReadFrom(resp.Body)
	}
	for _, body := range []string{
		`{"customers":[{"external_id":"` + secret + `","email":17}]}`,
		`{"customers":[{"external_id":"1","` + secret + `":"x"}]}`,
		`{"customers":["` + secret + `"]}`,
		`{"customers":[{"external_id":"1","given_name":"` + secret,
		`{"` + secret + `":1}`,
		`{"customers":[{"external_id":"1","country":"` + secret + `"}]}`,
		`{"customers":[{"external_id":"1","given_name":"` + secret + ` 4111 1111 1111 1111"}]}`,
		`"` + secret + `"`,
	} {
		send("PUT", "/v1/brands/gucci/customers", body)
	}
	for _, body := range []string{
		`{"by":"` + secret + `","value":"x","purpose":"customer-support"}`,
		`{"by":"email","value":"` + secret + `","purpose":"order-fulfilment"}`,
		`{"by":"email","value":{"x":"` + secret + `"},"purpose":"order-fulfilment"}`,
		`{"by":"email","value":"` + strings.Repeat(secret, 100) + `","purpose":"order-fulfilment"}`,
	} {
		send("POST", "/v1/brands/gucci/search", body)
	}
	send("POST", "/v1/brands/gucci/reveal", `{"tokens":["`+secret+`"],"fields":["email"],"purpose":"order-fulfilment"}`)
	send("POST", "/v1/brands/gucci/reveal", `{"tokens":["cus_a"],"fields":["email"],"purpose":"order-fulfilment","ticket":"`+secret+` x"}`)
	for _, path := range []string{"/v1/brands/" + secret + "/log", "/v1/brands/gucci/customers/" + secret, "/v1/" + secret, "/v1/brands/../" + secret, "/v1/brands/gucci/purposes/" + secret} {
		send("DELETE", path, "")
		send("GET", path, "")
	}
	for what, text := range map[string]string{"an error": bodies.String(), "the log": h.logged.b.String()} {
		if strings.Contains(text, "Unmistakable") || strings.Contains(text, "-4711") {
			t.Errorf("%s repeats what was sent:\n%s", what, text)
		}
	}
	if !strings.Contains(bodies.String(), api.TypeCardNumber) {
		t.Error("a card number was not refused as one")
	}
}

func (h *house) key(t *testing.T) string {
	t.Helper()
	var c api.Credential
	h.must(h.Do(t.Context(), "POST", client.Path("principals", "application", "credentials"), api.CredentialRequest{}, &c))
	return c.Key
}

func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	onEach(t, strangersLearnNothing)
}

func strangersLearnNothing(t *testing.T, h *house) {
	for _, key := range []string{"", "ckr_nonsense", strings.Repeat("x", 9000)} {
		c := client.New(h.url, key, nil)
		for _, path := range []string{"/v1/brands", "/v1/brands/gucci/log", "/v1/brands/gucci/tiles/checkpoint", "/v1/nowhere"} {
			if err := c.Do(t.Context(), "GET", path, nil, nil); !isType(err, api.TypeUnauthenticated) {
				t.Errorf("%s gave %v", path, err)
			}
		}
	}
	var health api.Health
	if err := client.New(h.url, "", nil).Do(t.Context(), "GET", "/v1/health", nil, &health); err != nil || health.Status != "ok" {
		t.Errorf("%+v, %v", health, err)
	}
	b, err := h.as["data-protection-officer"].Tile(t.Context(), "gucci", "checkpoint")
	if err != nil || !strings.HasPrefix(string(b), "cloakroom.local/gucci\n") {
		t.Errorf("%q, %v", b, err)
	}
	var p map[string]any
	if err := client.New(h.url, "", nil).Do(t.Context(), "GET", "/v1/openapi.json", nil, &p); err != nil || json.Valid(nil) {
		t.Error(err)
	}
}

// Two keys of one principal, from two addresses, have one budget; a request for N
// customers costs N; what was read already is free.
func TestASecondKeyGainsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, aSecondKeyGainsNothing)
}

func aSecondKeyGainsNothing(t *testing.T, h *house) {
	ctx := t.Context()
	var many []api.Fields
	for i := range 100 {
		many = append(many, api.Fields{"external_id": fmt.Sprint("N-", i), "email": fmt.Sprintf("n%d@example.com", i)})
	}
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: many})
	h.must(err)
	var tokens []string
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	var c api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "support-agent", "credentials"), api.CredentialRequest{}, &c))
	second := client.New(strings.Replace(h.url, "127.0.0.1", "localhost", 1), c.Key, nil)
	ask := func(c *client.Client, tokens []string) error {
		_, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "customer-support"})
		return err
	}
	// The default is 40 customers an hour for a lineage, and as many for a principal.
	h.must(ask(h.as["support-agent"], tokens[:30]))
	if err := ask(second, tokens[30:50]); !isType(err, api.TypeBudgetExhausted) {
		t.Errorf("20 more by a second key: %v", err)
	}
	h.must(ask(second, tokens[30:40]))
	if err := ask(second, tokens[40:41]); !isType(err, api.TypeBudgetExhausted) {
		t.Errorf("the 41st customer: %v", err)
	}
	h.must(ask(second, tokens[:40]))
	var u api.Exposure
	h.must(h.as["administrator"].Do(ctx, "GET", client.Path("brands", "gucci", "exposure")+"?principal=support-agent", nil, &u))
	checked := 0
	for _, r := range u.Rows {
		for _, x := range r.Classes {
			if r.Kind == "principal" && x.Class == "clear" {
				checked++
				if *x.Now != (api.Windows{Hour: 40, Day: 40, Month: 40}) || x.Bound != (api.Windows{Hour: 40, Day: 150, Month: 1500}) {
					t.Errorf("the principal uses %+v of %+v", *x.Now, x.Bound)
				}
			}
		}
	}
	if checked != 1 {
		t.Errorf("%d rows of one principal", checked)
	}
}
