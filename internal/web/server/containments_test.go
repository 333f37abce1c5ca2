package server_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

var measureContain = flag.Int("contain-rounds", 0, "measure this many containments under load")

func TestContain(t *testing.T) {
	t.Parallel()
	onEach(t, testContain)
}

func TestWhoContainsWhom(t *testing.T) {
	t.Parallel()
	onEach(t, containReach)
}

func TestSomebodyIsLeftToUndo(t *testing.T) {
	t.Parallel()
	onEach(t, containLast)
}

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
	for _, req := range []api.ContainRequest{{Lineage: theirs.ID}, {Lineage: hqs.ID}, {Lineage: 1}, {Lineage: 999}, {Principal: "bala"}, {Principal: "hq"},
		{Principal: "local-administrator"}, {Principal: "nobody"}, {Lineage: theirs.ID, DryRun: true}} {
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
		if err := responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: own.ID, Alarm: alarm}, nil); !isType(err, api.TypeNotFound) || !strings.Contains(err.Error(), "no such alarm") {
			t.Errorf("for the alarm %q: %v", alarm, err)
		}
	}
	var c api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: own.ID}, &c))
	if !c.Elsewhere {
		t.Errorf("it is not told that they have another role: %+v", c)
	}
	if err := purposes(both, "gucci"); !isType(err, api.TypeContained) || purposes(both, "balenciaga") != nil {
		t.Errorf("at gucci: %v, at balenciaga: %v", err, purposes(both, "balenciaga"))
	}
	h.must(both.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "loader"}, nil)) // for balenciaga
	for _, req := range []api.ContainRequest{{Lineage: own.ID}, {Principal: "bala"}} {
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
	refused(responder, path, api.ContainRequest{Lineage: second.ID}, api.TypeConflict)
	refused(responder, path, api.ContainRequest{Principal: "second"}, api.TypeConflict)
	_, spare := h.newKey(t, "second") // another way in for them
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: spare.ID}, nil))
	refused(responder, path, api.ContainRequest{Lineage: second.ID}, api.TypeConflict)
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
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: stolen.ID}, &stop))
	if err := officer.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
		t.Errorf("whoever asked is contained: %v", err)
	}
	h.must(officer.Do(ctx, "POST", undo, nil, nil))
	h.must(responder.Do(ctx, "POST", confirm, nil, nil))

	// The local administrator by any name; a key made for that name is another lineage.
	hq, _ := h.person(t, "hq", "person", map[string]string{"group": "incident-responder"})
	var remote api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "local-administrator", "credentials"), api.CredentialRequest{}, &remote))
	for _, req := range []api.ContainRequest{{Principal: "local-administrator"}, {Lineage: 1}} {
		refused(hq, groups, req, api.TypeInvalid)
	}
	h.must(hq.Do(ctx, "POST", groups, api.ContainRequest{Lineage: remote.ID}, nil))
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
	h.must(h.vault.Ledger.Scan(h.t.Context(), brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		switch e.Detail.(type) {
		case entry.Stopped, entry.Resumed: // what the committers obey of the steps that are looked at
			return nil
		}
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
		h.must(officer.Do(ctx, "POST", fmt.Sprint(path, "/", id, "/undo"), nil, nil))
		h.must(responder.Do(ctx, "POST", fmt.Sprint(path, "/", id, "/undo/confirm"), nil, nil))
	}
	second, own := h.newKey(t, "support-agent")
	var app api.Credential
	h.must(second.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "CRM Loader"}, &app))
	loader := client.New(h.url, app.Key, nil)

	for who, c := range map[string]*client.Client{"an agent": agent, "the administrator": h.as["administrator"]} {
		if err := c.Do(ctx, "POST", path, api.ContainRequest{Lineage: app.ID}, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s contained: %v", who, err)
		}
	}
	for _, bad := range []api.ContainRequest{{}, {Lineage: app.ID, Brand: true}, {Lineage: app.ID, Keep: "nothing"}, {AllExports: true, Keep: "masked"}, {Principal: "incident-responder"}} {
		if err := responder.Do(ctx, "POST", path, bad, nil); !isType(err, api.TypeInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	var c api.Containment
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: app.ID, DryRun: true}, &c))
	if c.ID != 0 || c.Credentials != 2 || !slices.Equal(c.Principals, []string{"support-agent"}) || reveal(loader) != nil {
		t.Fatalf("a dry run: %+v, %v", c, reveal(loader))
	}

	// A lineage: the connected application by its own number, and what it came from.
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: app.ID, Ticket: "INC-1"}, &c))
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
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: own.ID}, &again))
	if again.ID != c.ID || again.TookMillis != 0 {
		t.Errorf("contained twice: %+v", again)
	}
	if list := h.entriesOf(entry.KindContainment); len(list) != 2 || list[1].Texts()["took-ms"] == "" || list[0].Ticket != "INC-1" {
		t.Errorf("logged: %+v", list)
	}

	// Nobody lets it go alone but its maker.
	confirm := fmt.Sprint(path, "/", c.ID, "/undo/confirm")
	if err := responder.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
		t.Errorf("confirmed what nobody asked for: %v", err)
	}
	h.must(officer.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, nil))
	other, _ := h.newKey(t, "incident-responder")
	officers, _ := h.newKey(t, "data-protection-officer")
	for _, same := range []*client.Client{officer, officers} {
		if err := same.Do(ctx, "POST", confirm, nil, nil); !isType(err, api.TypeConflict) {
			t.Errorf("one person undid it: %v", err)
		}
	}
	if !isType(reveal(loader), api.TypeContained) {
		t.Error("it goes on already")
	}
	h.must(responder.Do(ctx, "POST", confirm, nil, nil))
	if reveal(loader) != nil || reveal(second) != nil {
		t.Error("it does not go on")
	}
	h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: app.ID}, &c))
	var alone api.Containment
	h.must(other.Do(ctx, "POST", fmt.Sprint(path, "/", c.ID, "/undo"), nil, &alone))
	if alone.EndedBy != "incident-responder" || alone.AskedBy != alone.EndedBy || reveal(loader) != nil {
		t.Errorf("its maker undid it at once: %+v", alone)
	}
	if list := h.entriesOf(entry.KindContainment); list[len(list)-1].Texts()["alone"] == "" {
		t.Errorf("logged: %+v", list[len(list)-1])
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
		h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: own.ID}, &c))
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
