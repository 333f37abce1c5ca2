package intake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

const (
	sqlTestStones = `SELECT count(*) FROM tombstones`
	sqlTestBound  = `SELECT count(*) FROM tombstones WHERE ord <> 0`
	sqlTestRows   = `SELECT count(*) FROM withheld`
	sqlTestSealed = `SELECT sealed FROM withheld`
)

func testCount(h *apptest.House, t *testing.T, sql string) (n int64) {
	t.Helper()
	h.Must(h.DB.Row(t.Context(), sql).Scan(&n))
	return n
}

var anna = api.Fields{"external_id": "C-1", "given_name": "Anna", "email": "anna@example.com", "phone": "+33612345678"}

// found reports whether gucci finds somebody by a value.
func found(h *apptest.House, t *testing.T, f record.Field, value string) bool {
	t.Helper()
	ords, err := h.Disclose.Seal.Lookup(t.Context(), h.Brand("gucci"), f, value, "FR")
	h.Must(err)
	return len(ords) > 0
}

// Somebody who was erased does not come back by a put, a patch, a feed or a direct import:
// not while the erasure cools, nor when the key is destroyed. When the brand's time is
// over they may.
func TestErasedCustomersDoNotComeBack(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		shop := h.Person("shop", map[string]string{"gucci": "application"})
		officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
		owner := h.Local
		owner.Owner = true
		tokens := h.Put("gucci", anna, api.Fields{"external_id": "C-2", "email": "bo@example.com"})
		if n := testCount(h, t, sqlTestStones); n != 0 {
			t.Fatalf("%d tombstones of nobody", n)
		}
		_, err := h.Erase.Erase(ctx, officer, "gucci", tokens[0], false)
		h.Must(err)
		ways := map[string]func(c identity.Caller) error{
			"number": func(c identity.Caller) error {
				return put(h, c, api.Fields{"external_id": " C-1 ", "given_name": "Anna"})
			},
			"mail": func(c identity.Caller) error {
				return put(h, c, api.Fields{"external_id": "N-1", "email": "ANNA@example.com"})
			},
			"phone": func(c identity.Caller) error {
				return put(h, c, api.Fields{"external_id": "N-2", "phone": "+33 6 12 34 56 78"})
			},
			"country": func(c identity.Caller) error {
				return put(h, c, api.Fields{"external_id": "N-3", "phone": "06 12 34 56 78", "country": "FR"})
			},
			"patch": func(c identity.Caller) error {
				out, err := h.Intake.Patch(ctx, c, "gucci", tokens[1], api.Fields{"email": "anna@example.com", "city": "Lyon"})
				if err == nil && out.Results[0].Outcome == "rejected" {
					err = errors.New("rejected")
				}
				return err
			},
			"renumber": func(c identity.Caller) error {
				_, err := h.Intake.Patch(ctx, c, "gucci", tokens[1], api.Fields{"external_id": "C-1"})
				return err
			},
			"feed": func(c identity.Caller) error {
				place := int64(7)
				_, err := h.Intake.Feed(ctx, c, "gucci", []api.FeedRecord{
					{Source: "crm", Position: &place, Customer: anna},
					{Source: "crm", Position: &place, Purchase: &api.FeedPurchase{ExternalID: "C-1", Purchase: api.Purchase{ID: "P-1", At: "2026-01-02", Amount: "10", Currency: "EUR"}}},
				})
				return err
			},
			"direct": func(identity.Caller) error {
				o := options(t, customersHead+"C-1,Anna,anna@example.com,x\nN-4,Ann,anna@example.com,x\nC-2,Bo,bo@example.com,x\n", purchasesHead+"C-1,P-1,2025-01-01T00:00:00Z,Belt,100,EUR\nC-2,P-2,2025-01-01T00:00:00Z,Belt,100,EUR\n")
				var rejects bytes.Buffer
				o.Rejects = &rejects
				rep, err := intake.Run(ctx, &intake.Direct{Desk: h.Intake, Caller: h.Local, Brand: "gucci"}, o)
				c, p := rep.Customers, rep.Purchases
				if c.Read != 3 || c.Withheld != 2 || c.Read != c.New+c.Updated+c.Unchanged+c.Rejected+c.Withheld {
					t.Errorf("customers: %+v", c)
				}
				if p.Read != 2 || p.Withheld != 1 || p.Rejected != 0 {
					t.Errorf("purchases: %+v", p)
				}
				if rejects.Len() > 0 {
					t.Errorf("the file of rejects has %s", rejects.String())
				}
				return err
			},
			"rehearsal": func(c identity.Caller) error {
				out, err := h.Intake.Put(ctx, c, "gucci", api.PutRequest{Customers: []api.Fields{anna}, DryRun: true})
				if err == nil && (out.Results[0].Outcome == "rejected" || out.Withheld != nil) {
					err = fmt.Errorf("%+v", out)
				}
				return err
			},
		}
		for _, state := range []string{"cooling", "destroyed", "restarted"} {
			switch state {
			case "destroyed":
				if n := testCount(h, t, sqlTestBound); n != 3 {
					t.Errorf("%d tombstones can be taken back with the erasure, not 3", n)
				}
				n, err := h.Erase.DestroyCooled(ctx, 30*24*time.Hour)
				if h.Must(err); n != 1 {
					t.Fatalf("%d keys destroyed", n)
				}
				if n := testCount(h, t, sqlTestBound); n != 0 {
					t.Errorf("%d tombstones say of which customer they are", n)
				}
			case "restarted":
				h.Restart()
			}
			for name, way := range ways {
				for _, c := range []identity.Caller{shop, owner} {
					if name == "rehearsal" && c.Owner {
						continue
					}
					if err := way(c); err != nil {
						t.Errorf("%s, %s: %v", state, name, err)
					}
				}
				if found(h, t, record.ExternalID, "C-1") || found(h, t, record.Email, "anna@example.com") || found(h, t, record.Phone, "+33612345678") || !found(h, t, record.ExternalID, "C-2") {
					t.Errorf("%s: the erased customer came back by %s", state, name)
				}
			}
			if !found(h, t, record.Email, "bo@example.com") {
				t.Errorf("%s: the other customer's address is gone", state)
			}
			if n := testCount(h, t, `SELECT count(*) FROM customers WHERE erased = 0`); n != 1 {
				t.Errorf("%s: %d customers", state, n)
			}
		}
		// What else the patch said was written, and the log has totals.
		lines := strings.Join(h.Logged("gucci", 0), "\n")
		if !strings.Contains(lines, "withheld=1") || strings.Contains(lines, "anna@") {
			t.Errorf("the log says\n%s", lines)
		}
		sealed := ""
		h.Must(h.DB.Rows(ctx, func(r db.Row) error {
			var b []byte
			err := r.Scan(&b)
			sealed += string(b)
			return err
		}, sqlTestSealed))
		if sealed == "" || strings.Contains(strings.ToLower(sealed), "anna") {
			t.Error("withheld rows are not sealed, or none are kept")
		}
		h.Later(4 * 365 * 24 * time.Hour)
		h.Must(h.Erase.DropTombstones(ctx))
		if a, b := testCount(h, t, sqlTestStones), testCount(h, t, sqlTestRows); a != 0 || b != 0 {
			t.Errorf("%d tombstones and %d rows outlive their time", a, b)
		}
		h.Must(put(h, shop, anna))
		if !found(h, t, record.ExternalID, "C-1") {
			t.Error("after the brand's time nobody can come back")
		}
	})
}

func put(h *apptest.House, c identity.Caller, fields api.Fields) error {
	out, err := h.Intake.Put(context.Background(), c, "gucci", api.PutRequest{Customers: []api.Fields{fields}})
	if err == nil && (out.Results[0].Reject != nil || out.Results[0].Token == "") {
		err = fmt.Errorf("%+v", out.Results[0])
	}
	if err == nil && (out.Withheld != nil) != c.Owner {
		err = fmt.Errorf("told %+v", out.Withheld)
	}
	return err
}

// Whatever a service writes of somebody who was erased, it is answered as of a stranger:
// the attack writes a list of addresses from elsewhere and looks for one that is answered
// otherwise. At balenciaga the same is written, where nobody was ever erased.
func TestNoWriteTellsWhoWasErased(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		both := func(role string) map[string]string { return map[string]string{"gucci": role, "balenciaga": role} }
		shop := h.Person("shop", both("application"))
		officer := h.Person("dana", both("data-protection-officer"))
		token := h.Put("gucci", anna)[0]
		bo := api.Fields{"external_id": "C-2", "email": "bo@example.com"}
		tokens := map[string][]string{"gucci": h.Put("gucci", bo), "balenciaga": h.Put("balenciaga", bo)}
		_, err := h.Erase.Erase(ctx, officer, "gucci", token, false)
		h.Must(err)
		buy := func(token, id, amount string) api.PurchasesRequest {
			c := api.CustomerPurchases{Purchases: []api.Purchase{{ID: "P-1", At: "2026-01-02T00:00:00Z", Amount: amount, Currency: "EUR"}}}
			if c.Token = token; token == "" {
				c.ExternalID = id
			}
			return api.PurchasesRequest{Customers: []api.CustomerPurchases{c}}
		}
		play := func(brand string) (out []string) {
			last, named := "", map[string]string{}
			say := func(what string, w *api.Written, err error) {
				t.Helper()
				if err != nil {
					out = append(out, fmt.Sprintf("%s: %v", what, err))
					return
				}
				r := w.Results[0]
				if r.Token != "" {
					last = r.Token
					if named[last] == "" {
						named[last] = fmt.Sprint("token ", len(named))
					}
				}
				line := fmt.Sprintf("%s: %s %s receipt %v, cleared %d %v, unfindable %v, withheld %v", what, r.Outcome, named[r.Token], w.Receipt != nil, r.Cleared, r.Emptied, r.Unfindable, w.Withheld)
				for _, p := range r.Purchases {
					line += " " + p.Outcome
				}
				out = append(out, line)
			}
			write := func(f api.Fields) {
				w, err := h.Intake.Put(ctx, shop, brand, api.PutRequest{Customers: []api.Fields{f}})
				say("put", w, err)
			}
			try := func(f api.Fields) {
				w, err := h.Intake.Put(ctx, shop, brand, api.PutRequest{Customers: []api.Fields{f}, DryRun: true})
				say("rehearse", w, err)
			}
			patch := func(token string, f api.Fields) {
				w, err := h.Intake.Patch(ctx, shop, brand, token, f)
				say("patch", w, err)
			}
			add := func(req api.PurchasesRequest) {
				w, err := h.Intake.AddPurchases(ctx, shop, brand, req)
				say("buy", w, err)
			}
			for _, who := range []api.Fields{
				{"external_id": "C-1", "given_name": "Ann", "phone": "0612"}, // the number
				{"external_id": "N-1", "email": "anna@example.com", "given_name": "Ann"},
				{"external_id": "N-2", "phone": "+33612345678"},
			} {
				id := who["external_id"]
				add(buy("", id, "1"))
				write(who)
				write(who)
				try(who)
				other := api.Fields{"external_id": id, "given_name": "", "city": "Lyon"}
				if id != "C-1" { // of the number a code alone is kept: see below
					write(other)
					write(other)
					patch(last, api.Fields{"city": "Nice"})
					patch(last, api.Fields{"city": "Nice"})
				}
				write(who)
				add(buy(last, "", "1"))
				add(buy("", id, "1"))
				add(buy(last, "", "2"))
				patch(last, api.Fields{"locale": "xx-not-a-locale-at-all"})
			}
			two := tokens[brand][0]
			patch(two, api.Fields{"email": "anna@example.com", "city": "Rome"})
			patch(two, api.Fields{"email": "anna@example.com", "city": "Rome"})
			patch(two, api.Fields{"email": "anna@example.com", "city": "Pisa"})
			return out
		}
		erased, stranger := play("gucci"), play("balenciaga")
		if len(erased) < 30 || !reflect.DeepEqual(erased, stranger) {
			for i := range erased {
				if erased[i] != stranger[i] {
					t.Errorf("%d: of the erased  %s\n of a stranger  %s", i, erased[i], stranger[i])
				}
			}
		}
		if found(h, t, record.Email, "anna@example.com") || found(h, t, record.ExternalID, "C-1") || found(h, t, record.ExternalID, "N-1") {
			t.Error("the erased customer came back")
		}
	})
}

// The request desk sees what was withheld, in the log; a row with an address alone is
// admitted, with its token, or refused for good. Nobody else sees or decides.
func TestTheRequestDeskDecides(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		shop := h.Person("shop", map[string]string{"gucci": "application"})
		officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
		tokens := h.Put("gucci", anna, api.Fields{"external_id": "C-2", "given_name": "Bo"})
		_, err := h.Erase.Erase(ctx, officer, "gucci", tokens[0], false)
		h.Must(err)
		w, err := h.Intake.Put(ctx, shop, "gucci", api.PutRequest{Customers: []api.Fields{
			anna, {"external_id": "S-1", "given_name": "Sam", "email": "anna@example.com"}, {"external_id": "S-2", "email": "anna@example.com"}, {"external_id": "S-3", "email": "new@example.com"},
		}})
		h.Must(err)
		_, err = h.Intake.Patch(ctx, shop, "gucci", tokens[1], api.Fields{"phone": "+33612345678"})
		h.Must(err)
		var denied *access.DeniedError
		for _, c := range []identity.Caller{shop, h.Person("alice", map[string]string{"gucci": "support-agent"})} {
			if _, err := h.Intake.Withheld(ctx, c, "gucci", api.WithheldQuery{}); !errors.As(err, &denied) {
				t.Errorf("%s sees withheld rows: %v", c.Name, err)
			}
			if _, err := h.Intake.Admit(ctx, c, "gucci", api.WithheldDecision{IDs: []string{"wh_1"}, Reason: "x"}); !errors.As(err, &denied) {
				t.Errorf("%s admits withheld rows: %v", c.Name, err)
			}
			if _, err := h.Intake.Refuse(ctx, c, "gucci", api.WithheldDecision{IDs: []string{"wh_1"}}); !errors.As(err, &denied) {
				t.Errorf("%s refuses withheld rows: %v", c.Name, err)
			}
		}
		size := h.Size("gucci")
		rows := map[string]api.WithheldRow{}
		for after := ""; ; {
			page, err := h.Intake.Withheld(ctx, officer, "gucci", api.WithheldQuery{Limit: 1, After: after})
			h.Must(err)
			for _, r := range page.Rows {
				rows[r.ExternalID] = r
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if h.Size("gucci") == size {
			t.Error("the list is not logged")
		}
		one, sam := rows["C-1"], rows["S-1"]
		if len(rows) != 4 || one.Admissible || !sam.Admissible || sam.By != "shop" || sam.Token != w.Results[1].Token || fmt.Sprint(sam.Matches) != "[email]" || !rows[""].Existing || rows[""].Token != tokens[1] {
			t.Errorf("%+v", rows)
		}
		admit := func(reason string, ids ...string) error {
			_, err := h.Intake.Admit(ctx, officer, "gucci", api.WithheldDecision{IDs: ids, Reason: reason})
			return err
		}
		if err := admit("again", one.ID); !errors.Is(err, seal.ErrNotKept) {
			t.Errorf("a row that is not kept is admitted: %v", err)
		}
		if err := admit("", sam.ID); !errors.Is(err, intake.ErrReason) {
			t.Errorf("admitted without a reason: %v", err)
		}
		h.Must(admit("shared address", sam.ID, rows[""].ID))
		if err := admit("shared address", sam.ID); !errors.Is(err, seal.ErrNoWithheld) {
			t.Errorf("admitted twice: %v", err)
		}
		if !found(h, t, record.ExternalID, "S-1") || !found(h, t, record.Phone, "+33612345678") {
			t.Error("admitted rows are not there")
		}
		last := h.Logged("gucci", h.Size("gucci")-1)[0]
		if !strings.Contains(last, "relationship=shared address") {
			t.Errorf("the log says %s", last)
		}
		if _, err := h.Disclose.View(ctx, officer, "gucci", sam.Token, "data-subject-request", "", record.AllFields); err != nil {
			t.Errorf("the token that the shop was given: %v", err)
		}
		_, err = h.Intake.Refuse(ctx, officer, "gucci", api.WithheldDecision{IDs: []string{rows["S-2"].ID}})
		h.Must(err)
		h.Must(put(h, shop, api.Fields{"external_id": "S-2", "email": "anna@example.com"}))
		h.Must(put(h, shop, api.Fields{"external_id": "S-2", "email": "other@example.com"}))
		page, err := h.Intake.Withheld(ctx, officer, "gucci", api.WithheldQuery{})
		h.Must(err)
		for _, r := range page.Rows {
			if r.Admissible {
				t.Errorf("it is asked about again: %+v", r)
			}
		}
		if found(h, t, record.ExternalID, "S-2") {
			t.Error("a refused row came in")
		}
	})
}

// Who buys again is let in with a reason, and keeps the token that was answered before; an
// erasure that is taken back takes its tombstones along.
func TestWhoIsACustomerAgain(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		shop := h.Person("shop", map[string]string{"gucci": "application"})
		officer, responder := h.TwoPeople()
		token := h.Put("gucci", anna)[0]
		_, err := h.Erase.Erase(ctx, officer, "gucci", token, false)
		h.Must(err)
		_, err = h.Erase.UndoErasures(ctx, officer, "gucci", api.ErasureUndo{Tokens: []string{token}})
		h.Must(agreed(h, responder, err))
		if n := testCount(h, t, sqlTestStones); n != 0 {
			t.Errorf("%d tombstones of somebody who is there", n)
		}
		if out, err := h.Intake.Put(ctx, shop, "gucci", api.PutRequest{Customers: []api.Fields{anna}}); err != nil || out.Results[0].Outcome != "unchanged" || out.Results[0].Token != token {
			t.Errorf("%+v, %v", out, err)
		}
		_, err = h.Erase.Erase(ctx, officer, "gucci", token, false)
		h.Must(err)
		_, err = h.Erase.DestroyCooled(ctx, 30*24*time.Hour)
		h.Must(err)
		held, err := h.Intake.Put(ctx, shop, "gucci", api.PutRequest{Customers: []api.Fields{anna}})
		h.Must(err)
		again, err := h.Intake.Put(ctx, shop, "gucci", api.PutRequest{Customers: []api.Fields{anna}, NewRelationship: "bought on 3 May"})
		h.Must(err)
		if again.Results[0].Token != held.Results[0].Token || again.Results[0].Token == token || !found(h, t, record.ExternalID, "C-1") {
			t.Errorf("%+v after %+v", again.Results, held.Results)
		}
		if last := h.Logged("gucci", h.Size("gucci")-1)[0]; !strings.Contains(last, "returned=1") || !strings.Contains(last, "relationship=bought on 3 May") {
			t.Errorf("the log says %s", last)
		}
		if n := testCount(h, t, sqlTestRows); n != 0 {
			t.Errorf("%d rows still wait", n)
		}
		if out, err := h.Intake.Put(ctx, shop, "gucci", api.PutRequest{Customers: []api.Fields{anna}}); err != nil || out.Results[0].Outcome != "unchanged" {
			t.Errorf("who is there again is kept out: %+v, %v", out, err)
		}
		// One hand does not shorten the time, and none is a time of 0.
		_, err = h.Admin.SetTombstones(ctx, h.Local, "gucci", api.ErasureTombstones{Days: 0})
		h.Must(agreed(h, responder, err))
		_, err = h.Erase.Erase(ctx, officer, "gucci", again.Results[0].Token, false)
		h.Must(err)
		h.Must(put(h, shop, api.Fields{"external_id": "C-77", "email": "x@example.com"}))
	})
}

// agreed has a second person approve what waits for one.
func agreed(h *apptest.House, second identity.Caller, err error) error {
	var waits *change.PendingError
	if !errors.As(err, &waits) {
		return fmt.Errorf("one hand is enough: %w", err)
	}
	x, err := h.Changes.Approve(context.Background(), second, waits.ID)
	if err == nil && x.State != "done" {
		err = fmt.Errorf("%+v", x)
	}
	return err
}

// However much is withheld, what is kept is bounded, and the rest stays out as well.
func TestWhatIsWithheldIsBounded(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	owner := h.Local
	owner.Owner = true
	officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
	_, err := h.Erase.Erase(ctx, officer, "gucci", h.Put("gucci", anna)[0], false)
	h.Must(err)
	for part := range 3 {
		var list []api.Fields
		for i := range 4000 {
			list = append(list, api.Fields{"external_id": fmt.Sprintf("N-%d-%d", part, i), "email": "anna@example.com"})
		}
		out, err := h.Intake.Put(ctx, owner, "gucci", api.PutRequest{Customers: list})
		h.Must(err)
		if out.Withheld == nil || out.Withheld.Rows.New != len(list) {
			t.Fatalf("%+v", out.Withheld)
		}
	}
	if n := testCount(h, t, sqlTestRows); n != 10_000 {
		t.Errorf("%d rows are kept", n)
	}
	if n := testCount(h, t, `SELECT count(*) FROM customers WHERE erased = 0`); n != 0 {
		t.Errorf("%d came in", n)
	}
	if last := h.Logged("gucci", h.Size("gucci")-1)[0]; !strings.Contains(last, "unkept=2000") {
		t.Errorf("the log says %s", last)
	}
}
