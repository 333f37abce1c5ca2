package disclose_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

const gucci record.BrandID = 1

// house is a vault on SQLite with customers at two brands.
type house struct {
	*apptest.House
	t      *testing.T
	tokens []string // of gucci's customers
	other  string   // of one of balenciaga's
	shop   identity.Caller
	rhea   identity.Caller // who sees masked values
}

func newHouse(t *testing.T, customers int) *house {
	t.Helper()
	h := &house{House: apptest.Open(t), t: t}
	for _, b := range []string{"gucci", "balenciaga"} {
		var put []api.Fields
		for i := range customers {
			put = append(put, api.Fields{"external_id": fmt.Sprintf("%s-%d", b, i), "given_name": fmt.Sprintf("Ann%d", i),
				"email": fmt.Sprintf("ann%d@%s.example", i, b), "city": "Paris", "attr.tier": "gold"})
		}
		tokens := h.Put(b, put...)
		if b == "gucci" {
			h.tokens = tokens
		} else {
			h.other = tokens[len(tokens)-1]
		}
	}
	shop := api.Principal{Name: "shop", Kind: "service", Roles: map[string]string{"gucci": "application", "balenciaga": "application"}}
	_, err := h.Admin.CreatePrincipal(t.Context(), h.Local, shop)
	h.Must(err)
	h.shop = h.Key("shop")
	h.rhea = h.Person("rhea", map[string]string{"gucci": "incident-responder"})
	return h
}

type logged struct {
	entry.Entry
	ords []record.Ordinal
}

// log returns gucci's entries from an index on.
func (h *house) log(from uint64) (out []logged) {
	h.t.Helper()
	err := h.Ledger.Scan(h.t.Context(), gucci, from, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		out = append(out, logged{e, slices.Clone(ords)})
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *house) next() uint64 { return uint64(len(h.log(0))) }

func (h *house) ords(tokens ...string) []record.Ordinal {
	h.t.Helper()
	ords, err := h.Disclose.Seal.Resolve(h.t.Context(), gucci, tokens)
	if err != nil {
		h.t.Fatal(err)
	}
	return ords
}

// A reveal shows the fields that were asked for, of the customers in the order asked, and
// its entry names both.
func TestRevealShowsWhatItsEntrySays(t *testing.T) {
	h := newHouse(t, 3)
	before := h.next()
	out, err := h.Disclose.Reveal(t.Context(), h.shop, "gucci", api.RevealRequest{
		Tokens: []string{h.tokens[2], h.tokens[0]}, Fields: []string{"email"}, Purpose: "order-fulfilment", Ticket: "T-1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Customers) != 2 || out.Customers[0].Token != h.tokens[2] || out.Customers[1].Token != h.tokens[0] {
		t.Fatalf("%+v", out.Customers)
	}
	for i, want := range []string{"ann2@gucci.example", "ann0@gucci.example"} {
		if f := out.Customers[i].Fields; len(f) != 1 || f["email"] != want {
			t.Errorf("customer %d is shown as %v", i, f)
		}
	}
	es := h.log(before)
	if len(es) != 1 || es[0].Kind != entry.KindDisclosure || es[0].Purpose != "order-fulfilment" || es[0].Ticket != "T-1" ||
		es[0].Fields != record.Fields(record.Email) || !slices.Equal(es[0].ords, h.ords(h.tokens[0], h.tokens[2])) || out.Receipt.Entry != before {
		t.Errorf("%+v", es)
	}
}

// Where the log takes no entry nothing is shown, whichever verb it is.
func TestNothingIsShownThatTheLogDidNotTake(t *testing.T) {
	h := newHouse(t, 1)
	if err := h.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for verb, call := range map[string]func() (*api.Disclosed, error){
		"reveal": func() (*api.Disclosed, error) {
			return h.Disclose.Reveal(ctx, h.shop, "gucci", api.RevealRequest{Tokens: h.tokens, Fields: []string{"email"}, Purpose: "order-fulfilment"})
		},
		"view": func() (*api.Disclosed, error) {
			return h.Disclose.View(ctx, h.rhea, "gucci", h.tokens[0], "incident-response", "T-1", record.AllFields)
		},
		"search": func() (*api.Disclosed, error) {
			return h.Disclose.Search(ctx, h.rhea, "gucci", api.SearchRequest{By: "email", Value: "ann0@gucci.example", Purpose: "incident-response", Ticket: "T-1"})
		},
	} {
		if out, err := call(); out != nil || err == nil {
			t.Errorf("%s showed %+v (%v)", verb, out, err)
		}
	}
}

// hourMasked is how many customers a person may see masked in an hour, by default.
const hourMasked = 120

// Beyond the budget nothing is shown, and nobody is logged as shown.
func TestNothingIsShownBeyondTheBudget(t *testing.T) {
	h := newHouse(t, hourMasked+5)
	ctx := t.Context()
	shown := 0
	var exhausted *budget.ExhaustedError
	for _, token := range h.tokens {
		out, err := h.Disclose.View(ctx, h.rhea, "gucci", token, "incident-response", "T-1", record.AllFields)
		switch {
		case err == nil:
			shown += len(out.Customers)
		case out != nil || !errors.As(err, &exhausted):
			t.Fatalf("%+v, %v", out, err)
		}
	}
	released := 0
	for _, e := range h.log(0) {
		if e.Kind == entry.KindDisclosure {
			released += len(e.ords)
		}
	}
	if shown != hourMasked || released != shown {
		t.Errorf("%d customers were shown and %d logged, of %d that an hour has", shown, released, hourMasked)
	}
}

// One token of another brand, or of nobody, fails the whole request, and the log says so
// without a customer.
func TestOneForeignTokenFailsAll(t *testing.T) {
	h := newHouse(t, 2)
	for reason, c := range map[string]struct {
		token string
		err   error
	}{
		"other-brand":   {h.other, disclose.ErrOtherBrand},
		"unknown-token": {"cus_aaaaaaaaaaaaaaaaaaaaaaaaaa", seal.ErrUnknownToken},
	} {
		before := h.next()
		out, err := h.Disclose.Reveal(t.Context(), h.shop, "gucci", api.RevealRequest{
			Tokens: []string{h.tokens[0], c.token}, Fields: []string{"email"}, Purpose: "order-fulfilment"})
		if out != nil || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v", reason, out, err)
		}
		es := h.log(before)
		if len(es) != 1 || es[0].Kind != entry.KindRefusal || len(es[0].ords) != 0 || !strings.Contains(fmt.Sprint(es[0].Detail), reason) {
			t.Errorf("%s: the log says %+v", reason, es)
		}
	}
}

// A search drops those whom the index finds by chance before it logs: they are neither
// shown nor said to have been.
func TestASearchDropsChanceMatchesBeforeItLogs(t *testing.T) {
	h := newHouse(t, 2)
	ctx := t.Context()
	ords := h.ords(h.tokens...)
	if _, err := h.DB.Exec(ctx, `INSERT INTO lookups (value, ord) SELECT value, $1 FROM lookups WHERE ord = $2`, int64(ords[1]), int64(ords[0])); err != nil {
		t.Fatal(err)
	}
	before := h.next()
	out, err := h.Disclose.Search(ctx, h.rhea, "gucci", api.SearchRequest{By: "email", Value: "ann0@gucci.example", Purpose: "incident-response", Ticket: "T-1"})
	if err != nil || len(out.Customers) != 1 || out.Customers[0].Token != h.tokens[0] {
		t.Fatalf("%+v, %v", out, err)
	}
	if f := out.Customers[0].Fields; f["email"] != "a•••@g•••.example" || f["given_name"] == "Ann0" || f["city"] != "Paris" {
		t.Errorf("a search shows %v", f)
	}
	if es := h.log(before); len(es) != 1 || !slices.Equal(es[0].ords, ords[:1]) {
		t.Errorf("the log says %+v", es)
	}
}

// A receipt opens the customers that it names: not one more who was fetched with them.
func TestAReleaseOpensNobodyElse(t *testing.T) {
	h := newHouse(t, 2)
	ctx := t.Context()
	v, err := h.Disclose.Door.Enter(ctx, h.shop, "gucci")
	if err != nil {
		t.Fatal(err)
	}
	fields := record.Fields(record.Email)
	g, err := v.Authorize(ctx, access.ActClear, "order-fulfilment", fields)
	if err != nil {
		t.Fatal(err)
	}
	ords := h.ords(h.tokens...)
	one, err := h.Disclose.Seal.Fetch(ctx, gucci, ords[:1], fields)
	if err != nil {
		t.Fatal(err)
	}
	both, err := h.Disclose.Seal.Fetch(ctx, gucci, ords, fields)
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Disclose.Release(ctx, one, nil, ledger.Release{Grant: g, Class: budget.Clear})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := r.Open(ctx, both); out != nil || !errors.Is(err, ledger.ErrNotLogged) {
		t.Errorf("the receipt of one customer opened %d: %v", len(out), err)
	}
	if out, err := r.Open(ctx, one); err != nil || len(out) != 1 {
		t.Errorf("%v, %v", out, err)
	}
	if out, err := new(disclose.Released).Open(ctx, one); out != nil || err == nil {
		t.Errorf("a release that nobody made opened %v", out)
	}
}

// A ticket is checked before anything is read or written.
func TestAWrongTicketIsRefusedAtTheDoor(t *testing.T) {
	h := newHouse(t, 1)
	before := h.next()
	_, err := h.Disclose.View(t.Context(), h.rhea, "gucci", h.tokens[0], "incident-response", strings.Repeat("x", 1000), record.AllFields)
	if !errors.Is(err, door.ErrTicket) || h.next() != before {
		t.Errorf("%v, %d entries", err, h.next()-before)
	}
}
