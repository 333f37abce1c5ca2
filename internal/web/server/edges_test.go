package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

func (h *house) setBudget(prefix string, limit int) {
	h.t.Helper()
	ctx := h.t.Context()
	var rules api.BudgetRules
	h.must(h.Do(ctx, "GET", client.Path("brands", "gucci", "budgets"), nil, &rules))
	lines := strings.Split(strings.TrimSpace(rules.Rules), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, prefix) {
			f := strings.Fields(l)
			f[len(f)-1] = fmt.Sprint(limit)
			lines[i] = strings.Join(f, " ")
		}
	}
	h.must(h.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: strings.Join(lines, "\n") + "\n"}, nil))
}

// A thief with a list of addresses is stopped as early as one who takes customers:
// a search that finds nobody costs what finding somebody costs, by a second key and
// after a restart too.
func TestSearchesThatFindNobodyAreCounted(t *testing.T) {
	t.Parallel()
	onEach(t, searchesThatFindNobodyAreCounted)
}

func searchesThatFindNobodyAreCounted(t *testing.T, h *house) {
	ctx := t.Context()
	_, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	h.setBudget("principal any search hour", 10)
	var key api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "support-agent", "credentials"), api.CredentialRequest{}, &key))
	keys := []*client.Client{h.as["support-agent"], client.New(h.url, key.Key, nil)}
	search := func(i int, value string) error {
		_, err := keys[i%2].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: value, Purpose: "customer-support"})
		return err
	}
	for i := range 10 {
		h.must(search(i, fmt.Sprintf("nobody-%d@example.com", i)))
	}
	for i, value := range []string{"nobody-0@example.com", "nobody-11@example.com", zoe()["email"]} {
		if err := search(i, value); !isType(err, api.TypeBudgetExhausted) {
			t.Errorf("search %d beyond the budget of 10 gave %v", i+1, err)
		}
	}
	var u api.Exposure
	h.must(h.as["administrator"].Do(ctx, "GET", client.Path("brands", "gucci", "exposure")+"?principal=support-agent", nil, &u))
	for _, r := range u.Rows {
		for _, x := range r.Classes {
			if r.Kind == "principal" && x.Class == "search" && *x.Now != (api.Windows{Hour: 10, Day: 10, Month: 10}) {
				t.Errorf("%+v customers searched for", *x.Now)
			}
		}
		if r.Kind == "principal" && *r.Now != (api.Windows{}) {
			t.Errorf("searches that found nobody are %+v people", *r.Now)
		}
	}
	var e api.Entry
	for i := 0; e.Kind != "search"; i++ { // the first
		e = api.Entry{}
		h.must(h.as["data-protection-officer"].Do(ctx, "GET", fmt.Sprintf("/v1/brands/gucci/log/entries/%d", i), nil, &e))
	}
	if e.Kind != "search" || e.Detail["found"] != "nobody" {
		t.Errorf("the log says of a search that found nobody: %+v", e)
	}
	var out api.Verified
	h.must(h.Do(ctx, "POST", "/v1/brands/gucci/log/verify", struct{}{}, &out))
	if !out.OK {
		t.Error(out.Fault)
	}
}

// Once a search budget is exhausted, every search gets the same answer: of a customer who
// was found before, of one who was not, and of nobody. Trying again tells nothing.
func TestAnExhaustedSearchBudgetTellsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, anExhaustedSearchBudgetTellsNothing)
}

func anExhaustedSearchBudgetTellsNothing(t *testing.T, h *house) {
	ctx := t.Context()
	_, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe(), {"external_id": "C-2", "email": "other@example.com"}}})
	h.must(err)
	h.setBudget("principal any search hour", 3)
	search := func(value string) (*api.Disclosed, error) {
		return h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: value, Purpose: "customer-support"})
	}
	for _, value := range []string{zoe()["email"], "nobody@example.com", "nobody@example.com"} {
		_, err := search(value)
		h.must(err)
	}
	before := len(h.entriesOf(entry.KindSearch))
	var words string
	for range 20 {
		for _, value := range []string{zoe()["email"], "other@example.com", "nobody@example.com", "nobody-else@example.com"} {
			out, err := search(value)
			var e *api.Error
			if !errors.As(err, &e) || e.Type != api.TypeBudgetExhausted {
				t.Fatalf("a search beyond the budget gave %+v, %v", out, err)
			}
			said := strings.Split(e.Detail, ";")[0] // when it fits moves with the clock
			if words == "" {
				words = said
			}
			if said != words {
				t.Fatalf("one is refused with %q, and another with %q", words, said)
			}
		}
	}
	if n := len(h.entriesOf(entry.KindSearch)) - before; n != 0 {
		t.Errorf("%d searches were logged beyond the budget", n)
	}
}

// A thief who keeps to masked views, or to searches, is given as many customers as the
// budget of that says and no more, by however many keys, and the log names exactly them.
func TestOneKindOfAnswerAloneIsBounded(t *testing.T) {
	t.Parallel()
	onEach(t, oneKindOfAnswerAloneIsBounded)
}

func oneKindOfAnswerAloneIsBounded(t *testing.T, h *house) {
	ctx := t.Context()
	var put api.PutRequest
	for i := range 24 {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprintf("C-%d", i), "email": fmt.Sprintf("customer-%d@example.com", i), "given_name": "Zoe"})
	}
	w, err := h.Put(ctx, "gucci", put)
	h.must(err)
	h.setBudget("principal any search hour", 8)
	h.setBudget("principal any masked hour", 8)
	var key api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "support-agent", "credentials"), api.CredentialRequest{}, &key))
	keys := []*client.Client{h.as["support-agent"], client.New(h.url, key.Key, nil)}
	for _, c := range []struct {
		kind string
		from int // of the 12 customers who are asked for
		ask  func(c *client.Client, i int) (*api.Disclosed, error)
	}{
		{"disclosure", 0, func(c *client.Client, i int) (*api.Disclosed, error) {
			var d api.Disclosed
			err := c.Do(ctx, "GET", client.Path("brands", "gucci", "customers", w.Results[i].Token)+"?purpose=customer-support&ticket=CASE-1", nil, &d)
			return &d, err
		}},
		{"search", 12, func(c *client.Client, i int) (*api.Disclosed, error) {
			return c.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: put.Customers[i]["email"], Purpose: "customer-support", Ticket: "CASE-1"})
		}},
	} {
		given := map[string]bool{}
		for i := range 12 {
			if i == 7 {
				for range 3 { // within the budget a customer is counted once
					_, err := c.ask(keys[0], c.from)
					h.must(err)
				}
			}
			d, err := c.ask(keys[i%2], c.from+i)
			if i >= 8 {
				if !isType(err, api.TypeBudgetExhausted) {
					t.Errorf("%s: the customer after %d of a budget of 8 gave %v", c.kind, i, err)
				}
				continue
			}
			h.must(err)
			for _, x := range d.Customers {
				given[x.Token] = true
			}
		}
		// Beyond it a customer who was seen within the hour is seen again for nothing. A
		// search is refused before anything is looked up: see
		// TestAnExhaustedSearchBudgetTellsNothing.
		if _, err := c.ask(keys[1], c.from); (err != nil) != (c.kind == "search") {
			t.Errorf("%s: who was seen within the hour: %v", c.kind, err)
		}
		if len(given) != 8 {
			t.Errorf("%s: %d customers were given", c.kind, len(given))
		}
		for i := range 12 {
			token := w.Results[c.from+i].Token
			var who api.Disclosures
			h.must(h.as["data-protection-officer"].Do(ctx, "GET", client.Path("brands", "gucci", "customers", token, "disclosures"), nil, &who))
			shown := 0
			for _, d := range who.Disclosures {
				if d.Kind == c.kind {
					shown++
				}
			}
			if given[token] != (shown > 0) {
				t.Errorf("%s: customer %d was given: %v; the log has %d entries of it", c.kind, i, given[token], shown)
			}
		}
	}
}

func TestWhatNoRouteIsForIsAProblemToo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	for _, c := range []struct {
		method, path, typ string
		status            int
	}{
		{"GET", "/v1/nowhere", api.TypeNotFound, 404},
		{"GET", "/", api.TypeNotFound, 404},
		{"PUT", "/v1/brands/gucci/reveal", api.TypeInvalid, 405},
		{"GET", "/v1/brands//gucci", api.TypeNotFound, 404},
		{"GET", "/v1/brands/gucci/tiles/../../brands", api.TypeNotFound, 404},
		{"GET", "/v1/brands/gucci/tiles/%2e%2e%2fvault.db", api.TypeNotFound, 404},
	} {
		req, err := http.NewRequest(c.method, h.url+c.path, nil)
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+h.key(t))
		resp, err := (&http.Transport{}).RoundTrip(req) // follows nothing
		h.must(err)
		b, err := io.ReadAll(resp.Body)
		h.must(err)
		resp.Body.Close()
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(b), `"type":"`+c.typ+`"`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, b)
		}
		if c.status == 405 && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s %s allows %q", c.method, c.path, resp.Header.Get("Allow"))
		}
	}
}

// Nobody locks themselves, and perhaps everybody, out by a slip: another takes an
// administrator's role away.
func TestAnAdministratorKeepsTheirOwnRole(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	path := client.Path("principals", "local-administrator", "roles", "group")
	for what, err := range map[string]error{
		"taking": h.Do(ctx, "DELETE", path, nil, nil), "changing": h.Do(ctx, "PUT", path, api.RoleRequest{Role: "analyst"}, nil),
	} {
		if !isType(err, api.TypeInvalid) {
			t.Errorf("%s one's own role gave %v", what, err)
		}
	}
	h.must(h.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "other", Kind: "person", Roles: map[string]string{"group": "administrator"}}, nil))
	var c api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "other", "credentials"), api.CredentialRequest{}, &c))
	h.must(client.New(h.url, c.Key, nil).Do(ctx, "DELETE", path, nil, nil))
	if err := h.Do(ctx, "GET", "/v1/principals", nil, nil); err == nil {
		t.Error("the role that was taken is still used")
	}
}

// What is answered is in no cache on the way.
func TestAnswersAreNotCached(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	for _, path := range []string{"/v1/health", "/v1/nowhere", "/v1/brands/gucci/tiles/checkpoint"} {
		resp, err := http.Get(h.url + path)
		h.must(err)
		resp.Body.Close()
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}

func TestRevokingNothingSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	if err := h.Do(t.Context(), "DELETE", "/v1/lineages/4711", nil, nil); !isType(err, api.TypeNotFound) {
		t.Errorf("revoking a lineage that there is not gave %v", err)
	}
}

// What is counted is counted without anything that a request brought.
func TestMetricsNameNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	secret := "Unmistakable-4711"
	shop := h.as["application"]
	w, err := shop.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": secret, "given_name": secret}}})
	h.must(err)
	token := w.Results[0].Token
	_, err = shop.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"given_name"}, Purpose: "order-fulfilment", Ticket: secret})
	h.must(err)
	for _, path := range []string{"/v1/" + secret, "/v1/brands/" + secret + "/log", "/v1/brands/gucci/customers/" + secret + "?purpose=" + secret} {
		if shop.Do(ctx, "GET", path, nil, nil) == nil {
			t.Errorf("%s was answered", path)
		}
	}
	if shop.Do(ctx, "PUT", "/v1/brands/gucci/customers", map[string]any{secret: 1}, nil) == nil {
		t.Error("a malformed request was answered")
	}
	metrics := func(c string) (int, string) {
		req, err := http.NewRequest("GET", h.url+"/v1/metrics", nil)
		h.must(err)
		if c != "" {
			req.Header.Set("Authorization", "Bearer "+c)
		}
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		h.must(err)
		return resp.StatusCode, string(b)
	}
	h.must(h.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "watcher", Kind: "service", Roles: map[string]string{"group": "incident-responder"}}, nil))
	var c api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "watcher", "credentials"), api.CredentialRequest{}, &c))
	status, text := metrics(c.Key)
	if status != http.StatusOK {
		t.Fatalf("metrics: %d %s", status, text)
	}
	for _, want := range []string{
		`cloakroom_requests_total{route="POST /v1/brands/{brand}/reveal",status="200"} 1` + "\n",
		`cloakroom_request_seconds_count{route="PUT /v1/brands/{brand}/customers"} 2` + "\n",
		`cloakroom_requests_total{route="",status="404"} 1` + "\n",
		`cloakroom_errors_total{type="unknown-brand"} 1` + "\n",
		"cloakroom_requests_running 1\n",
		`cloakroom_follower_lag_entries{follower="alarms"} `,
		`cloakroom_follower_lag_seconds{follower="alarms"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		for _, s := range []string{secret, "4711", token, "gucci"} {
			if strings.Contains(line, s) {
				t.Errorf("metrics repeat what was sent: %s", line)
			}
		}
	}
	for who, key := range map[string]string{"a stranger": "", "an application": h.key(t)} {
		if status, text := metrics(key); status < 400 || strings.Contains(text, "cloakroom_requests") {
			t.Errorf("%s was shown metrics: %d", who, status)
		}
	}
}

// A client that sends a body by drops is given up at the request's deadline, and
// bodies beyond the memory for them wait no longer than that.
func TestSlowAndLargeBodiesHaveADeadline(t *testing.T) {
	t.Parallel()
	h := newHouseWithin(t, "", 2*time.Second)
	ctx := t.Context()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	h.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/brands/gucci/reveal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{", h.key(t))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	h.must(err)
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), `"type":"timeout"`) {
		t.Errorf("a body that does not arrive gave %d %s", resp.StatusCode, b)
	}
	h.must(h.server.TakeBodies(ctx))
	large := api.PutRequest{Customers: []api.Fields{{"external_id": "1", "attr.x": strings.Repeat("x", server.MaxBody)}}}
	if _, err := h.as["application"].Put(ctx, "gucci", large); !isType(err, api.TypeTimeout) {
		t.Errorf("a large body without room gave %v", err)
	}
	_, err = h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err) // a small one needs none
	h.server.GiveBodies()
	if _, err := h.as["application"].Put(ctx, "gucci", large); err == nil || isType(err, api.TypeTimeout) {
		t.Errorf("a large body with room gave %v", err)
	}
}
