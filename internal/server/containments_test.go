package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/contain"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/record"
)

var measureContain = flag.Int("contain-rounds", 0, "measure this many containments under load")

func TestContain(t *testing.T) { onEach(t, testContain) }

func TestWhoContainsWhom(t *testing.T) { onEach(t, containReach) }

func TestSomebodyIsLeftToUndo(t *testing.T) { onEach(t, containLast) }

// person registers somebody and returns a client with a key of theirs.
func (h *house) person(t *testing.T, name, kind string, roles map[string]string) (*client.Client, api.Credential) {
	t.Helper()
	h.must(h.Do(t.Context(), "POST", "/v1/principals", api.Principal{Name: name, Kind: kind, Roles: roles}, nil))
	return h.newKey(t, name)
}

// A brand stops its own people, at that brand alone, and learns nothing of others.
func containReach(t *testing.T, h *house) {
	ctx := t.Context()
	const path, groups = "/v1/brands/gucci/containments", "/v1/brands/group/containments"
	responder := h.as["incident-responder"]
	_, theirs := h.person(t, "bala", "person", map[string]string{"balenciaga": "support-agent"})
	both, own := h.person(t, "both", "person", map[string]string{"balenciaga": "support-agent", "gucci": "support-agent"})
	hq, hqs := h.person(t, "hq", "person", map[string]string{"group": "incident-responder"})
	purposes := func(c *client.Client, brand string) error {
		return c.Do(ctx, "GET", client.Path("brands", brand, "purposes"), nil, nil)
	}
	refused := map[string]bool{}
	for _, req := range []api.ContainRequest{{Credential: theirs.ID}, {Credential: hqs.ID}, {Credential: 1}, {Credential: 999}, {Principal: "bala"}, {Principal: "hq"},
		{Principal: "local-administrator"}, {Principal: "nobody"}, {Credential: theirs.ID, DryRun: true}} {
		err := responder.Do(ctx, "POST", path, req, nil)
		if !isType(err, api.TypeNotFound) {
			t.Errorf("%+v: %v", req, err)
			continue
		}
		refused[err.Error()] = true
	}
	if len(refused) != 1 {
		t.Errorf("a brand learns of others by what it is told: %v", refused)
	}
	for _, alarm := range []string{"77-surge", "77", "no alarm at all", "77-surge-and-more"} {
		if err := responder.Do(ctx, "POST", path, api.ContainRequest{Credential: own.ID, Alarm: alarm}, nil); !isType(err, api.TypeNotFound) || !strings.Contains(err.Error(), "no such alarm") {
			t.Errorf("for the alarm %q: %v", alarm, err)
		}
	}
	var c api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: own.ID}, &c))
	if !c.Elsewhere {
		t.Errorf("it is not told that they have another role: %+v", c)
	}
	if err := purposes(both, "gucci"); !isType(err, api.TypeContained) || purposes(both, "balenciaga") != nil {
		t.Errorf("at gucci: %v, at balenciaga: %v", err, purposes(both, "balenciaga"))
	}
	h.must(both.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "loader"}, nil)) // for balenciaga
	for _, req := range []api.ContainRequest{{Credential: own.ID}, {Principal: "bala"}} {
		var c api.Containment
		h.must(hq.Do(ctx, "POST", groups, req, &c))
		if c.Elsewhere {
			t.Errorf("the group's holds everywhere: %+v", c)
		}
	}
	if err := purposes(both, "balenciaga"); !isType(err, api.TypeContained) {
		t.Errorf("contained at the group, at balenciaga: %v", err)
	}
	if err := both.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "loader"}, nil); !isType(err, api.TypeContained) {
		t.Errorf("a stopped key made another: %v", err)
	}
	var list []api.Containment
	h.must(responder.Do(ctx, "GET", path, nil, &list))
	if len(list) != 1 {
		t.Errorf("gucci sees the group's: %+v", list)
	}

	// Many at once contain the same: it is one containment.
	var ids sync.Map
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			var c api.Containment
			err := responder.Do(ctx, "POST", path, api.ContainRequest{Principal: "marketing"}, &c)
			for isType(err, api.TypeConflict) { // the others' changed what it was decided under
				err = responder.Do(ctx, "POST", path, api.ContainRequest{Principal: "marketing"}, &c)
			}
			if err != nil || c.ID == 0 {
				t.Errorf("%+v: %v", c, err)
			}
			ids.Store(c.ID, true)
		})
	}
	wg.Wait()
	h.must(responder.Do(ctx, "GET", path, nil, &list))
	if len(list) != 2 {
		t.Errorf("%d containments, one was there before: %+v", len(list), list)
	}
	ids.Delete(list[0].ID)
	ids.Range(func(id, _ any) bool { t.Errorf("somebody was told of containment %v", id); return true })
}

// However much is contained, somebody is left to undo it; and whoever sits at the machine
// can ask.
func containLast(t *testing.T, h *house) {
	ctx := t.Context()
	const path, groups = "/v1/brands/gucci/containments", "/v1/brands/group/containments"
	responder, officer := h.as["incident-responder"], h.as["data-protection-officer"]
	refused := func(c *client.Client, path string, req api.ContainRequest, typ string) {
		t.Helper()
		for _, req.DryRun = range []bool{true, false} {
			if err := c.Do(ctx, "POST", path, req, nil); !isType(err, typ) {
				t.Errorf("%+v: %v", req, err)
			}
		}
	}
	// One of two would be left alone with the right to undo.
	refused(responder, path, api.ContainRequest{Principal: "data-protection-officer"}, api.TypeConflict)
	_, second := h.person(t, "second", "person", map[string]string{"gucci": "incident-responder"})
	var c api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Principal: "data-protection-officer"}, &c))
	refused(responder, path, api.ContainRequest{Credential: second.ID}, api.TypeConflict)
	refused(responder, path, api.ContainRequest{Principal: "second"}, api.TypeConflict)
	_, spare := h.newKey(t, "second") // another way in for them
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: spare.ID}, nil))
	refused(responder, path, api.ContainRequest{Credential: second.ID}, api.TypeConflict)
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Principal: "support-agent"}, nil)) // who undoes nothing

	// Whoever sits at the machine asks, where only one other is left.
	h.must(h.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil))
	if err := h.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo/confirm"), nil, nil); !isType(err, api.TypePolicyDenied) {
		t.Errorf("the local administrator confirmed: %v", err)
	}
	if err := h.as["administrator"].Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil); !isType(err, api.TypePolicyDenied) {
		t.Errorf("another administrator asked: %v", err)
	}
	h.must(responder.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo/confirm"), nil, nil))
	if err := officer.Do(ctx, "GET", path, nil, nil); err != nil {
		t.Errorf("undone, and %v", err)
	}

	// Only people undo, who were not made for it, and who may still contain.
	hunter, _ := h.person(t, "hunter", "person", map[string]string{"gucci": "incident-responder"})
	thief, stolen := h.person(t, "thief", "person", map[string]string{"gucci": "incident-responder"})
	robot, _ := h.person(t, "robot", "service", map[string]string{"gucci": "incident-responder"})
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Principal: "store-associate"}, &c))
	undo, confirm := fmt.Sprint(path, "/", c.ID, "/undo"), fmt.Sprint(path, "/", c.ID, "/undo/confirm")
	late, _ := h.person(t, "late", "person", map[string]string{"gucci": "incident-responder"})
	for who, not := range map[string]*client.Client{"a service": robot, "somebody made for it": late} {
		if err := not.Do(ctx, "POST", undo, nil, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s asked: %v", who, err)
		}
	}
	h.must(hunter.Do(ctx, "POST", undo, nil, nil))
	for who, not := range map[string]*client.Client{"a service": robot, "somebody made for it": late} {
		if err := not.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s confirmed: %v", who, err)
		}
	}
	h.must(h.Do(ctx, "PUT", client.Path("principals", "hunter", "roles", "gucci"), map[string]string{"role": "analyst"}, nil))
	if err := officer.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
		t.Errorf("whoever asked may not ask any more: %v", err)
	}
	h.must(thief.Do(ctx, "POST", undo, nil, nil))
	// With an idempotency key an asking is one, also when it is sent again.
	for _, replayed := range []string{"", "true"} {
		req, err := http.NewRequestWithContext(ctx, "POST", h.url+undo, nil)
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+stolen.Key)
		req.Header.Set("Idempotency-Key", "ask-1")
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		resp.Body.Close()
		if got := resp.Header.Get("Idempotency-Replayed"); resp.StatusCode != http.StatusOK || got != replayed {
			t.Errorf("status %d, replayed %q, want %q", resp.StatusCode, got, replayed)
		}
	}
	var stop api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: stolen.ID}, &stop))
	if err := officer.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
		t.Errorf("whoever asked is contained: %v", err)
	}
	h.must(responder.Do(ctx, "POST", undo, nil, nil))
	h.must(officer.Do(ctx, "POST", confirm, nil, nil))

	// The local administrator by any name; a key made for that name is another lineage.
	hq, _ := h.person(t, "hq", "person", map[string]string{"group": "incident-responder"})
	var remote api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "local-administrator", "credentials"), api.CredentialRequest{}, &remote))
	for _, req := range []api.ContainRequest{{Principal: "local-administrator"}, {Credential: 1}} {
		refused(hq, groups, req, api.TypeInvalid)
	}
	h.must(hq.Do(ctx, "POST", groups, api.ContainRequest{Credential: remote.ID}, nil))
	h.must(h.Do(ctx, "GET", "/v1/principals", nil, nil))

	// A service contains, and only people undo: of those there are none at balenciaga.
	soar, _ := h.person(t, "soar", "service", map[string]string{"balenciaga": "incident-responder"})
	h.must(h.Do(ctx, "DELETE", client.Path("principals", "hq", "roles", "group"), nil, nil))
	h.person(t, "bala", "person", map[string]string{"balenciaga": "support-agent"})
	refused(soar, "/v1/brands/balenciaga/containments", api.ContainRequest{Principal: "bala"}, api.TypeConflict)
}

func (h *house) newKey(t *testing.T, name string) (*client.Client, api.Credential) {
	t.Helper()
	var c api.Credential
	h.must(h.Do(t.Context(), "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c))
	return client.New(h.url, c.Key, nil), c
}

// entriesOf returns the entries of a kind, of gucci.
func (h *house) entriesOf(kind entry.Kind) []entry.Entry { return h.entriesAt(1, kind) }

func (h *house) entriesAt(brand record.BrandID, kind entry.Kind) (out []entry.Entry) {
	h.t.Helper()
	h.must(h.server.vault.Ledger.Scan(h.t.Context(), brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		if e.Kind == kind {
			out = append(out, e)
		}
		return nil
	}))
	return out
}

func testContain(t *testing.T, h *house) {
	ctx := t.Context()
	const path = "/v1/brands/gucci/containments"
	responder, officer, agent := h.as["incident-responder"], h.as["data-protection-officer"], h.as["support-agent"]
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	token := w.Results[0].Token
	reveal := func(c *client.Client) error {
		_, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"email"}, Purpose: "customer-support"})
		return err
	}
	view := func(c *client.Client) error {
		return c.Do(ctx, "GET", client.Path("brands", "gucci", "customers", token)+"?purpose=customer-support", nil, nil)
	}
	search := func(c *client.Client) error {
		_, err := c.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "a@b.example", Purpose: "customer-support"})
		return err
	}
	undo := func(id int64) {
		t.Helper()
		h.must(responder.Do(ctx, "POST", fmt.Sprint(path, "/", id, "/undo"), nil, nil))
		h.must(officer.Do(ctx, "POST", fmt.Sprint(path, "/", id, "/undo/confirm"), nil, nil))
	}
	second, own := h.newKey(t, "support-agent")
	var app api.Credential
	h.must(second.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "CRM Loader"}, &app))
	loader := client.New(h.url, app.Key, nil)

	for who, c := range map[string]*client.Client{"an agent": agent, "the administrator": h.as["administrator"]} {
		if err := c.Do(ctx, "POST", path, api.ContainRequest{Credential: app.ID}, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s contained: %v", who, err)
		}
	}
	for _, bad := range []api.ContainRequest{{}, {Credential: app.ID, Brand: true}, {Credential: app.ID, Keep: "nothing"}, {AllExports: true, Keep: "masked"}, {Principal: "incident-responder"}} {
		if err := responder.Do(ctx, "POST", path, bad, nil); !isType(err, api.TypeInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	var c api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: app.ID, DryRun: true}, &c))
	if c.ID != 0 || c.Credentials != 2 || !slices.Equal(c.Principals, []string{"support-agent"}) || reveal(loader) != nil {
		t.Fatalf("a dry run: %+v, %v", c, reveal(loader))
	}

	// A lineage: the connected application by its own number, and what it came from.
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: app.ID, Ticket: "INC-1"}, &c))
	if c.Kind != "lineage" || c.Target != own.Lineage || c.TookMillis == 0 {
		t.Fatalf("%+v", c)
	}
	for name, err := range map[string]error{"reveal": reveal(loader), "view": view(loader), "its parent": view(second),
		"a further child": loader.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "x"}, nil)} {
		if !isType(err, api.TypeContained) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if reveal(agent) != nil {
		t.Error("another lineage of the same person was stopped")
	}
	var again api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: own.ID}, &again))
	if again.ID != c.ID || again.TookMillis != 0 {
		t.Errorf("contained twice: %+v", again)
	}
	if list := h.entriesOf(entry.KindContainment); len(list) != 2 || list[1].Detail["took-ms"] == "" || list[0].Ticket != "INC-1" {
		t.Errorf("logged: %+v", list)
	}

	// Nobody lets it go alone.
	confirm := fmt.Sprint(path, "/", c.ID, "/undo/confirm")
	if err := officer.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
		t.Errorf("confirmed what nobody asked for: %v", err)
	}
	h.must(responder.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil))
	other, _ := h.newKey(t, "incident-responder")
	for _, same := range []*client.Client{responder, other} {
		if err := same.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
			t.Errorf("one person undid it: %v", err)
		}
	}
	if !isType(reveal(loader), api.TypeContained) {
		t.Error("it goes on already")
	}
	h.must(officer.Do(ctx, "POST", confirm, nil, nil))
	if reveal(loader) != nil || reveal(second) != nil {
		t.Error("it does not go on")
	}

	// A person, everywhere; a contained responder does not free themselves.
	deputy, _ := h.person(t, "second", "person", map[string]string{"gucci": "incident-responder"})
	h.must(officer.Do(ctx, "POST", path, api.ContainRequest{Principal: "incident-responder"}, &c))
	if err := other.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil); !isType(err, api.TypeContained) {
		t.Errorf("a contained responder: %v", err)
	}
	h.must(deputy.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil))
	h.must(officer.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo/confirm"), nil, nil))

	// A role, and a brand: the shops go on selling.
	write := func(c *client.Client, name string) error {
		_, err := c.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "Z-9", "given_name": name}}})
		return err
	}
	h.must(h.Do(ctx, "PUT", "/v1/brands/gucci/policy", api.Policy{Text: access.DefaultText() + `permit (principal in Role::"support-agent", action == Action::"write", resource);`}, nil))
	for _, x := range []struct {
		req           api.ContainRequest
		views, writes bool // stopped
	}{
		{req: api.ContainRequest{Role: "support-agent"}},
		{req: api.ContainRequest{Brand: true}},
		{req: api.ContainRequest{Role: "support-agent", Keep: "tokens"}, views: true},
		{req: api.ContainRequest{Brand: true, Keep: "nothing"}, views: true, writes: true},
	} {
		h.must(reveal(agent)) // so that there is something to tell
		var c api.Containment
		h.must(responder.Do(ctx, "POST", path, x.req, &c))
		if !isType(reveal(agent), api.TypeContained) || !isType(search(agent), api.TypeContained) || isType(view(agent), api.TypeContained) != x.views ||
			isType(write(agent, "Yan"+c.Keep+c.Kind), api.TypeContained) != x.writes {
			t.Errorf("%+v: reveal %v, search %v, view %v, write %v", x.req, reveal(agent), search(agent), view(agent), write(agent, "Yan"))
		}
		if i := slices.IndexFunc(c.Shown, func(s api.ContainedClass) bool { return s.Class == "clear" }); i < 0 || c.Shown[i].Hour == 0 {
			t.Errorf("%+v: it is not told what was shown: %+v", x.req, c)
		}
		undo(c.ID)
		h.must(errors.Join(reveal(agent), view(agent), write(agent, "Yan")))
	}
	id, err := age.GenerateX25519Identity()
	h.must(err)
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{AllExports: true}, &c))
	if err := h.as["analyst"].Do(ctx, "POST", "/v1/brands/gucci/exports", api.ExportRequest{Fields: []string{"country"}, Purpose: "analysis", Recipient: id.Recipient().String(), Tokens: []string{token}}, nil); !isType(err, api.TypeContained) {
		t.Errorf("an export was asked for: %v", err)
	}
	if reveal(agent) != nil {
		t.Error("containing exports stopped a reveal")
	}
	undo(c.ID)

	// While many requests run, none is logged after the command has come back.
	rounds := max(3, *measureContain)
	var took []int64
	for range rounds {
		_, own := h.newKey(t, "support-agent")
		thief := client.New(h.url, own.Key, nil)
		var wg sync.WaitGroup
		var stopped atomic.Bool
		var late atomic.Int64
		for range 8 {
			wg.Go(func() {
				for {
					after := stopped.Load()
					switch err := reveal(thief); {
					case err == nil && after:
						late.Add(1)
						return
					case err != nil:
						var ae *api.Error
						if !errors.As(err, &ae) || ae.Type != api.TypeContained {
							t.Errorf("in flight: %v", err)
						}
						return
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		var c api.Containment
		h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: own.ID}, &c))
		stopped.Store(true)
		size := len(h.entriesOf(entry.KindDisclosure))
		wg.Wait()
		if n := len(h.entriesOf(entry.KindDisclosure)); n != size || late.Load() != 0 {
			t.Errorf("%d disclosures were logged after it was contained, %d answered", n-size, late.Load())
		}
		took = append(took, c.TookMillis)
	}
	slices.Sort(took)
	if *measureContain > 0 {
		t.Logf("time to contain under 8 clients, %d rounds: median %d ms, most %d ms", rounds, took[rounds/2], took[rounds-1])
	}
}

// What containing is answered with when it did not end well.
func TestOutcomesAreTold(t *testing.T) {
	for _, c := range []struct {
		err       contain.OutcomeError
		typ, text string
		not       string
	}{
		{contain.OutcomeError{ID: 7, Logs: []string{"gucci", "group"}, Err: db.ErrOutcomeUnknown}, api.TypePartlyDone, "containment 7: it is stopped; not yet sure on every server", "nothing"},
		{contain.OutcomeError{ID: 7, Logs: []string{"gucci", "group"}, Err: db.ErrUnavailable}, api.TypePartlyDone, "the log of gucci, group could not be passed; send it again", "nothing"},
		{contain.OutcomeError{ID: 7, Err: db.ErrUnavailable}, api.TypePartlyDone, "it is stopped on every server", "nothing"},
		{contain.OutcomeError{Err: fmt.Errorf("committing: %w", db.ErrOutcomeUnknown)}, api.TypeOutcomeUnknown, "contain list", "nothing"},
		{contain.OutcomeError{Err: db.ErrUnavailable}, api.TypeLogUnavailable, "nothing was stopped", "is stopped"},
		{contain.OutcomeError{Undone: true, Err: db.ErrUnavailable}, api.TypeLogUnavailable, "nothing was undone", "stopped"},
	} {
		got := problem(fmt.Errorf("containing: %w", &c.err))
		if got.Type != c.typ || got.Status != http.StatusServiceUnavailable || !strings.Contains(got.Detail, c.text) || strings.Contains(got.Detail, c.not) {
			t.Errorf("%+v: %+v", c.err, got)
		}
	}
}

// blocked waits until so many sessions of the database wait for a lock.
func blocked(t *testing.T, c *pgx.Conn, want int) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n int
		if err := c.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions wait for a lock, not %d", n, want)
		}
	}
}

// While the database is slow, here because somebody holds the head of a log, it is
// contained, what is under way is refused, and the answer says what is true.
func TestContainWhileTheDatabaseIsSlow(t *testing.T) {
	if dbtest.Cluster() {
		t.Skip("who waits for a lock waits on a worker of the cluster, where this test does not look")
	}
	ctx := t.Context()
	dsn := dbtest.VaultDSN(t)
	h := newHouse(t, dsn)
	h.server.vault.Admin.PassWait = 100 * time.Millisecond
	within := func(key string) *client.Client {
		return client.New("http://vault", key, &http.Client{Transport: h.server.Local()})
	}
	_, key := h.person(t, "hq", "person", map[string]string{"group": "incident-responder"})
	hq := within(key.Key)
	_, key = h.person(t, "both", "person", map[string]string{"balenciaga": "support-agent", "gucci": "support-agent"})
	both := within(key.Key)
	tokens := map[string]string{}
	for _, b := range []string{"gucci", "balenciaga"} {
		w, err := h.Put(ctx, b, api.PutRequest{Customers: []api.Fields{zoe()}})
		h.must(err)
		tokens[b] = w.Results[0].Token
	}
	reveal := func(c *client.Client, brand string) error {
		_, err := c.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{tokens[brand]}, Fields: []string{"email"}, Purpose: "customer-support"})
		return err
	}
	holder, err := pgx.Connect(ctx, dsn)
	h.must(err)
	defer holder.Close(context.WithoutCancel(ctx))
	watcher, err := pgx.Connect(ctx, dsn)
	h.must(err)
	defer watcher.Close(context.WithoutCancel(ctx))
	hold := func(brand int) (release func()) {
		tx, err := holder.Begin(ctx)
		h.must(err)
		_, err = tx.Exec(ctx, `SELECT size FROM log_heads WHERE brand = $1 FOR UPDATE`, brand)
		h.must(err)
		return func() { h.must(tx.Rollback(ctx)) }
	}
	underWay := func(c *client.Client, brand string) (answers chan error) {
		answers = make(chan error, 6)
		for range cap(answers) {
			go func() { answers <- reveal(c, brand) }()
		}
		blocked(t, watcher, 1)
		return answers
	}

	// Another brand's log: it is stopped there too, and that is not sure yet.
	h.must(reveal(both, "balenciaga"))
	release := hold(2)
	answers := underWay(both, "balenciaga")
	err = hq.Do(ctx, "POST", "/v1/brands/group/containments", api.ContainRequest{Principal: "both"}, nil)
	if !isType(err, api.TypePartlyDone) || !strings.Contains(err.Error(), "it is stopped; not yet sure") || !strings.Contains(err.Error(), "balenciaga") {
		t.Errorf("with the log of balenciaga held: %v", err)
	}
	if err := reveal(both, "gucci"); !isType(err, api.TypeContained) {
		t.Errorf("at gucci: %v", err)
	}
	release()
	for range cap(answers) {
		if err := <-answers; !isType(err, api.TypeContained) {
			t.Errorf("what was under way: %v", err)
		}
	}
	if n := len(h.entriesAt(2, entry.KindDisclosure)); n != 1 {
		t.Errorf("%d disclosures, one was before it was contained", n)
	}
	var c api.Containment
	h.must(hq.Do(ctx, "POST", "/v1/brands/group/containments", api.ContainRequest{Principal: "both"}, &c))
	if c.ID != 1 || c.TookMillis != 0 {
		t.Errorf("sent again, to be sure: %+v", c)
	}

	// Its own log: it waits its turn, and nothing comes after it.
	release = hold(1)
	answers = underWay(h.as["support-agent"], "gucci")
	done := make(chan error, 1)
	go func() {
		done <- h.as["incident-responder"].Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Principal: "support-agent"}, &c)
	}()
	release()
	h.must(<-done)
	logged := len(h.entriesOf(entry.KindDisclosure))
	given := 0
	for range cap(answers) {
		if err := <-answers; err == nil {
			given++
		} else if !isType(err, api.TypeContained) {
			t.Errorf("what was under way: %v", err)
		}
	}
	if n := len(h.entriesOf(entry.KindDisclosure)); n != logged || given != logged {
		t.Errorf("%d disclosures when it was contained, %d in the end, %d answered", logged, n, given)
	}
}

// The connection is cut after COMMIT was sent and before its answer, at each commit of a
// containment in turn. Whoever asked is told what is true, or that it is not known; the
// list then says what holds, and so does who was to be stopped.
func TestAContainmentWhoseCommitIsNotAnswered(t *testing.T) {
	var left atomic.Int32 // commits until the one that is cut; 0: none is
	h := newHouse(t, dbtest.CutCommits(t, dbtest.VaultDSN(t), func() bool {
		for n := left.Load(); n > 0; n = left.Load() {
			if left.CompareAndSwap(n, n-1) {
				return n == 1
			}
		}
		return false
	}))
	ctx := t.Context()
	const path = "/v1/brands/gucci/containments"
	responder := h.as["incident-responder"]
	told := map[string]int{}
	for cut := 1; ; cut++ {
		thief, key := h.person(t, fmt.Sprint("thief-", cut), "person", map[string]string{"gucci": "support-agent"})
		left.Store(int32(cut))
		err := responder.Do(ctx, "POST", path, api.ContainRequest{Credential: key.ID}, nil)
		unused := left.Swap(0)
		var list []api.Containment
		eventually(t, "the list is read", func() bool { return responder.Do(ctx, "GET", path, nil, &list) == nil })
		i := slices.IndexFunc(list, func(c api.Containment) bool { return c.Target == key.Lineage })
		stopped := isType(thief.Do(ctx, "GET", "/v1/brands/gucci/purposes", nil, nil), api.TypeContained)
		if stopped != (i >= 0) {
			t.Errorf("commit %d cut: listed %v, stopped %v", cut, i >= 0, stopped)
		}
		if unused > 0 { // it takes fewer commits
			h.must(err)
			if !stopped {
				t.Error("contained, and not stopped")
			}
			break
		}
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
			t.Fatalf("commit %d cut: %v", cut, err)
		}
		told[e.Type]++
		switch {
		case e.Type == api.TypeOutcomeUnknown && strings.Contains(e.Detail, "contain list"): // the commit took effect
			if !stopped {
				t.Errorf("commit %d cut: %v; it was lost", cut, err)
			}
		case e.Type == api.TypeLogUnavailable:
			if stopped {
				t.Errorf("commit %d cut: told that nothing was stopped, and it was", cut)
			}
		case e.Type == api.TypePartlyDone:
			if !stopped || !strings.Contains(e.Detail, fmt.Sprint("containment ", list[i].ID)) {
				t.Errorf("commit %d cut: told that it holds: %v; %v", cut, err, stopped)
			}
		default:
			t.Errorf("commit %d cut: %v", cut, err)
		}
		if i >= 0 {
			var shown api.Containment
			h.must(responder.Do(ctx, "GET", fmt.Sprint(path, "/", list[i].ID), nil, &shown))
			if shown.Target != key.Lineage || !shown.Ended.IsZero() || shown.Credentials != 1 {
				t.Errorf("commit %d cut: shown %+v", cut, shown)
			}
		}
		var again api.Containment // as the answer says
		h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Credential: key.ID}, &again))
		if again.ID == 0 || i >= 0 && again.ID != list[i].ID {
			t.Errorf("commit %d cut, sent again: %+v", cut, again)
		}
	}
	if told[api.TypeOutcomeUnknown] != 1 || told[api.TypeLogUnavailable] == 0 || told[api.TypePartlyDone] == 0 {
		t.Errorf("what was told: %v", told)
	}
}

func TestARuleContains(t *testing.T) { onEach(t, testARuleContains) }

// A canary that is looked at contains whoever looked, where the brand's rules say so:
// once, until two people undo it, and never so that nobody could.
func testARuleContains(t *testing.T, h *house) {
	ctx := t.Context()
	const path = "/v1/brands/gucci/containments"
	watching, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.server.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	defer func() {
		stop()
		h.must(<-done)
	}()
	responder, officer, agent := h.as["incident-responder"], h.as["data-protection-officer"], h.as["support-agent"]
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	h.must(responder.Do(ctx, "POST", "/v1/brands/gucci/canaries", api.CanaryRequest{Count: 2, Domain: "decoys.example", Now: true}, nil))
	var decoys []api.Canary
	h.must(responder.Do(ctx, "GET", "/v1/brands/gucci/canaries", nil, &decoys))
	view := func(c *client.Client, token, purpose string) error {
		return c.Do(ctx, "GET", client.Path("brands", "gucci", "customers", token)+"?purpose="+purpose, nil, nil)
	}
	// Off, unless the rules say so.
	h.must(view(agent, decoys[0].Token, "customer-support"))
	var alarms api.Alarms
	eventually(t, "the canary is an alarm", func() bool {
		h.must(responder.Do(ctx, "GET", "/v1/brands/gucci/alarms", nil, &alarms))
		return slices.ContainsFunc(alarms.Alarms, func(a api.Alarm) bool { return a.Rule == "canary" })
	})
	h.must(h.Do(ctx, "PUT", "/v1/brands/gucci/detection", api.DetectionRules{Rules: "contain: {canary: critical}"}, nil))
	h.must(view(agent, w.Results[0].Token, "customer-support"))

	h.must(view(agent, decoys[0].Token, "customer-support"))
	eventually(t, "the agent is contained", func() bool { return isType(view(agent, w.Results[0].Token, "customer-support"), api.TypeContained) })
	var list []api.Containment
	h.must(responder.Do(ctx, "GET", path, nil, &list))
	if len(list) != 1 || list[0].By != "rule canary" || list[0].Kind != "lineage" || !strings.HasSuffix(list[0].Alarm, "-canary") {
		t.Fatalf("%+v", list)
	}
	steps := func() (out []string) {
		for _, e := range h.entriesOf(entry.KindContainment) {
			out = append(out, strings.TrimSpace(e.Detail["change"]+" "+e.Detail["reason"]))
		}
		return out
	}
	eventually(t, "the log says so", func() bool { return slices.Equal(steps(), []string{"contain", "contained"}) })
	if e := h.entriesOf(entry.KindContainment)[0]; e.Principal != 0 || e.Detail["by"] != "rule" || e.Detail["alarm"] != list[0].Alarm {
		t.Errorf("%+v", e)
	}

	// It is undone as any, and not made again: not by a server that died before it noted
	// that it was done, and not by several.
	undo := fmt.Sprint(path, "/", list[0].ID, "/undo")
	h.must(responder.Do(ctx, "POST", undo, nil, nil))
	h.must(officer.Do(ctx, "POST", undo+"/confirm", nil, nil))
	d := h.server.vault.DB
	answered := func() bool {
		var n int
		h.must(d.Row(ctx, `SELECT count(*) FROM alarms WHERE contain = 1`).Scan(&n))
		return n == 0
	}
	eventually(t, "it was answered", answered)
	_, err = d.Exec(ctx, `UPDATE alarms SET contain = 1 WHERE contain <> 0`)
	h.must(err)
	h.server.vault.Reflex.Wake()
	eventually(t, "it was answered again", answered)
	h.must(view(agent, w.Results[0].Token, "customer-support"))

	// Somebody is left to undo, and whoever owns the machine is not contained.
	h.must(view(officer, decoys[1].Token, "data-subject-request"))
	eventually(t, "the officer is contained", func() bool { return isType(officer.Do(ctx, "GET", path, nil, nil), api.TypeContained) })
	h.must(view(responder, decoys[1].Token, "incident-response"))
	eventually(t, "the responder is not contained, and why is logged", func() bool { return slices.Contains(steps(), "not-contained nobody-left-to-undo") })
	h.must(responder.Do(ctx, "GET", path, nil, &list))
	if len(list) != 2 {
		t.Errorf("%+v", list)
	}
}
