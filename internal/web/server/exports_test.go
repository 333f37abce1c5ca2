package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/export"
)

func TestAnExtract(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(40, anExtract))
}

// An extract is asked for, approved by another person and downloaded; it tells nobody's
// name, and two of the same customers have nothing in common that would join them.
func anExtract(t *testing.T, s *shelf) {
	analyst := s.as["analyst"]
	req := s.extract()
	req.Tokens = s.tokens[:20]
	dry := req
	dry.DryRun = true
	d, err := s.asked(analyst, dry)
	s.must(err)
	if d.ID != "" || d.Customers != 20 || d.Room.Hour != 10000 {
		t.Errorf("a dry run: %+v", d)
	}
	x, err := s.asked(analyst, req)
	s.must(err)
	if x.State != "requested" || x.Customers != 20 || x.Cohort == "" || x.Form != "extract" {
		t.Fatalf("%+v", x)
	}
	if _, err := s.file(analyst, x.ID, 1, "customers"); !isType(err, api.TypeConflict) {
		t.Errorf("a file of an export that nobody approved: %v", err)
	}
	x, err = s.export(s.as["data-protection-officer"], "POST", x.ID, "approve")
	s.must(err)
	if x.State != "approved" || x.DecidedBy != "data-protection-officer" || x.Parts != 1 {
		t.Fatalf("%+v", x)
	}
	customers, err := s.file(analyst, x.ID, 1, "customers")
	s.must(err)
	bought, err := s.file(analyst, x.ID, 1, "purchases")
	s.must(err)
	rows, sales := rowsOf(t, customers), rowsOf(t, bought)
	if got := strings.Join(rows[0], ","); got != "token,postal_code,country,birth_date,created_at" || len(rows) != 21 || len(sales) != 21 {
		t.Fatalf("%s: %d customers, %d purchases", got, len(rows)-1, len(sales)-1)
	}
	for _, r := range rows[1:] {
		if r[1] != "29" || r[3] != "1984" || r[4] != "2024-02" || !strings.HasPrefix(r[0], "ext_") {
			t.Errorf("a row of an extract: %q", r)
		}
	}
	for _, r := range sales[1:] {
		if len(r[2]) != len("2025-01-01") || r[6] != "90.00" || r[5] != "2" || r[8] != "Brest" || strings.Contains(r[1], "receipt") {
			t.Errorf("a purchase of an extract: %q", r)
		}
	}
	for _, no := range []string{"Unmistakable", "@", "cus_", "Brest,", "C-"} {
		if bytes.Contains(customers, []byte(no)) {
			t.Errorf("an extract has %q", no)
		}
	}
	second := s.approved(analyst, req)
	again, err := s.file(analyst, second.ID, 1, "customers")
	s.must(err)
	sold, err := s.file(analyst, second.ID, 1, "purchases")
	s.must(err)
	seen := map[string]bool{}
	for _, r := range append(rows[1:], sales[1:]...) {
		seen[r[0]] = true
	}
	for _, r := range sales[1:] {
		seen[r[1]] = true
	}
	for _, r := range rowsOf(t, again)[1:] {
		if seen[r[0]] {
			t.Fatal("two extracts have a pseudonym in common")
		}
	}
	for _, r := range rowsOf(t, sold)[1:] {
		if seen[r[0]] || seen[r[1]] {
			t.Fatal("two extracts have a pseudonym, or a purchase, in common")
		}
	}
	changes, left := s.entries(x.ID)
	if got := strings.Join(changes, " "); got != "request approve download" {
		t.Errorf("the log has %q", got)
	}
	want := s.ords(req.Tokens)
	for ord, n := range left {
		if !want[ord] || n != 2 {
			t.Errorf("the entries name somebody %d times who is not in the file twice", n)
		}
	}
	if len(left) != 20 {
		t.Errorf("the entries name %d customers, not 20", len(left))
	}
	// Whoever holds the root key says of a leaked row whose it is.
	own, err := s.vault.Disclose.Seal.Extract(t.Context(), 1, x.ID)
	s.must(err)
	if ord, ok := own.Trace(rows[1][0]); !ok || !want[ord] {
		t.Error("a row is not traced to its customer")
	}
	if _, ok := own.Trace(rowsOf(t, again)[1][0]); ok {
		t.Error("a row of another extract is traced")
	}
}

func TestWhoApproves(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(12, whoApproves))
}

// Neither the one who asked, nor an app connected to them, nor a second credential of
// theirs approves; and each attempt is in the log.
func whoApproves(t *testing.T, s *shelf) {
	ctx := t.Context()
	officer := s.as["data-protection-officer"]
	req := s.extract()
	req.Tokens, req.Purpose, req.Form, req.Fields = s.tokens, "migration", "clear", []string{"email", "family_name"}
	x, err := s.asked(officer, req)
	s.must(err)
	var app, other api.Credential
	s.must(officer.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "CRM Loader"}, &app))
	s.must(s.Do(ctx, "POST", client.Path("principals", "data-protection-officer", "credentials"), api.CredentialRequest{}, &other))
	for what, c := range map[string]*client.Client{"who asked": officer, "an app": client.New(s.url, app.Key, nil), "another credential": client.New(s.url, other.Key, nil)} {
		for _, verb := range []string{"approve", "refuse"} {
			if _, err := s.export(c, "POST", x.ID, verb); !isType(err, api.TypePolicyDenied) || !strings.Contains(err.Error(), "another person") {
				t.Errorf("%s may %s: %v", what, verb, err)
			}
		}
	}
	for _, role := range []string{"analyst", "administrator", "application"} {
		if _, err := s.export(s.as[role], "POST", x.ID, "approve"); !isType(err, api.TypePolicyDenied) {
			t.Errorf("the %s approves: %v", role, err)
		}
	}
	own := 0
	s.must(s.vault.Ledger.Scan(ctx, 1, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		if e.Kind == entry.KindRefusal && e.Texts()["reason"] == "export-own" {
			own++
		}
		return nil
	}))
	if own == 0 {
		t.Error("that somebody would approve their own is not in the log")
	}
	if _, err := s.export(s.as["incident-responder"], "POST", x.ID, "approve"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.export(s.as["incident-responder"], "POST", x.ID, "approve"); !isType(err, api.TypeConflict) {
		t.Errorf("approved twice: %v", err)
	}
	// The lineage that asked downloads, an app of it too, and nobody else.
	if _, err := s.file(client.New(s.url, other.Key, nil), x.ID, 1, "customers"); !isType(err, api.TypePolicyDenied) {
		t.Errorf("another credential downloads: %v", err)
	}
	if _, err := s.file(s.as["incident-responder"], x.ID, 1, "customers"); !isType(err, api.TypePolicyDenied) {
		t.Errorf("the approver downloads: %v", err)
	}
	if _, err := s.file(s.as["analyst"], x.ID, 1, "customers"); !isType(err, api.TypeNotFound) {
		t.Errorf("a stranger downloads: %v", err)
	}
	b, err := s.file(client.New(s.url, app.Key, nil), x.ID, 1, "customers")
	if err != nil || !bytes.Contains(b, []byte("c3@example.com")) || !bytes.Contains(b, []byte("cus_")) {
		t.Errorf("in clear: %q, %v", b, err)
	}
}

func TestAnExportThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(12, notAllowed))
}

func notAllowed(t *testing.T, s *shelf) {
	req := s.extract()
	req.Tokens = s.tokens
	try := func(what, typ string, who string, change func(r *api.ExportRequest)) {
		t.Helper()
		r := req
		change(&r)
		if _, err := s.asked(s.as[who], r); !isType(err, typ) {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("names in an extract", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Fields = []string{"family_name"} })
	try("in clear by an analyst", api.TypePolicyDenied, "analyst", func(r *api.ExportRequest) { r.Form, r.Fields = "clear", []string{"country"} })
	try("masked by an analyst", api.TypePolicyDenied, "analyst", func(r *api.ExportRequest) { r.Form, r.Fields = "masked", []string{"country"} })
	try("by support", api.TypePolicyDenied, "support-agent", func(r *api.ExportRequest) { r.Purpose = "customer-support" })
	try("for no purpose", api.TypeUnknownPurpose, "analyst", func(r *api.ExportRequest) { r.Purpose = "curiosity" })
	try("to no recipient", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Recipient = "age1nobody" })
	try("to two recipients", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Recipient += "\n" + r.Recipient })
	try("of a few", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Tokens = s.tokens[:9] })
	try("of one, many times", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Tokens = slices.Repeat(s.tokens[:1], 20) })
	try("of everybody and somebody", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Filter = &api.ExportFilter{} })
	try("of nobody", api.TypeInvalid, "analyst", func(r *api.ExportRequest) { r.Tokens = nil })
	try("of a forged token", api.TypeUnknownToken, "analyst", func(r *api.ExportRequest) {
		r.Tokens = append(slices.Clone(s.tokens), "cus_aaaaaaaaaaaaaaaaaaaaaaaaaa")
	})
	try("by a filter on what may not leave", api.TypePolicyDenied, "marketing", func(r *api.ExportRequest) {
		r.Tokens, r.Filter, r.Fields = nil, &api.ExportFilter{BoughtSince: "2024-01-01"}, []string{"country"}
	})
	for range export.MaxOpen {
		_, err := s.asked(s.as["analyst"], req)
		s.must(err)
	}
	try("too many", api.TypeConflict, "analyst", func(r *api.ExportRequest) {})
}

func TestAFilterIsFrozen(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(60, aFilterIsFrozen))
}

// A filter finds who was there when it was asked: who joins later does not leave, who is
// erased does not either, and the log names nobody who did not match.
func aFilterIsFrozen(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst := s.as["analyst"]
	req := s.extract()
	req.Filter = &api.ExportFilter{Countries: []string{"FR"}, Regions: []string{"bretagne"}, CreatedFrom: "2024-02-01", CreatedBefore: "2024-02-04", BoughtSince: "2024-01-01"}
	var x api.Export
	s.must(analyst.Do(ctx, "POST", client.Path("brands", "gucci", "exports"), req, &x))
	if x.State != "gathering" || x.Customers != 0 {
		t.Fatalf("%+v", x)
	}
	late := api.Fields{"external_id": "late", "country": "FR", "region": "Bretagne", "created_at": "2024-02-03"}
	_, err := s.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{late}})
	s.must(err)
	_, err = s.as["application"].AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: "late",
		Purchases: []api.Purchase{{ID: "1", At: "2025-03-01T10:00:00Z", Amount: "1.00", Currency: "EUR"}}}}})
	s.must(err)
	got, err := s.export(analyst, "POST", x.ID, "gather")
	s.must(err)
	var want []string // French, and bought something since 2024
	for i, token := range s.tokens {
		if i%2 == 0 && i%3 != 0 {
			want = append(want, token)
		}
	}
	if rounded := (len(want) + 9) / 10 * 10; got.State != "requested" || got.Customers != rounded {
		t.Fatalf("%d customers meet the filter, not %d: %+v", got.Customers, len(want), got)
	}
	if _, err = s.export(s.as["incident-responder"], "POST", x.ID, "approve"); err != nil {
		t.Fatal(err)
	}
	_, err = s.as["data-protection-officer"].Erase(ctx, "gucci", want[0])
	s.must(err)
	left := s.ords(want[1:])
	b, err := s.file(analyst, x.ID, 1, "customers")
	s.must(err)
	if n := len(rowsOf(t, b)) - 1; n != len(want)-1 {
		t.Errorf("%d customers left, not %d", n, len(want)-1)
	}
	_, named := s.entries(x.ID)
	for ord := range named {
		if !left[ord] {
			t.Error("the log names somebody who is not in the file")
		}
	}
	if len(named) != len(left) {
		t.Errorf("the log names %d customers of %d", len(named), len(left))
	}
	// A sample is of that size; of too few nothing is told, not even how many.
	req.Filter = &api.ExportFilter{Sample: 15}
	if got, err := s.asked(analyst, req); err != nil || got.Customers != 20 { // rounded
		t.Errorf("a sample: %+v, %v", got, err)
	}
	req.Filter = &api.ExportFilter{CreatedFrom: "2030-01-01"}
	if got, err := s.asked(analyst, req); !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), " 0 ") {
		t.Errorf("a filter of nobody: %+v, %v", got, err)
	}
	// Whom it is for lies sealed: what is stored holds no filter and no list in clear.
	d := s.vault.DB
	s.must(d.Rows(ctx, func(r db.Row) error {
		var filter, cohort []byte
		if err := r.Scan(&filter, &cohort); err != nil {
			return err
		}
		if bytes.Contains(filter, []byte("FR")) {
			t.Error("a filter is stored in clear")
		}
		if list, err := entry.DecodeSubjects(cohort); err == nil && len(list) > 0 {
			t.Error("a list is stored in clear")
		}
		return nil
	}, `SELECT filter, cohort FROM exports`))
}

func TestAnExportEnds(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(12, anExportEnds))
}

// After its time, when it is stopped, while exports are contained, and when its lineage is
// revoked, no further file leaves and nothing is approved.
func anExportEnds(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst, responder := s.as["analyst"], s.as["incident-responder"]
	req := s.extract()
	req.Tokens = s.tokens
	d := s.vault.DB
	past := func(id string) {
		_, err := d.Exec(ctx, `UPDATE exports SET expires = 1 WHERE id = $1`, id)
		s.must(err)
		s.must(s.vault.Upkeep.ResealRows(ctx))
	}
	x, err := s.asked(analyst, req)
	s.must(err)
	past(x.ID)
	if _, err := s.export(responder, "POST", x.ID, "approve"); !isType(err, api.TypeConflict) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("approved after its time: %v", err)
	}
	if changes, _ := s.entries(x.ID); strings.Join(changes, " ") != "request expire" {
		t.Errorf("the log has %q", changes)
	}
	x = s.approved(analyst, req)
	past(x.ID)
	if _, err := s.file(analyst, x.ID, 1, "customers"); !isType(err, api.TypeConflict) {
		t.Errorf("downloaded after its time: %v", err)
	}

	x = s.approved(analyst, req)
	if _, err := s.file(analyst, x.ID, 1, "customers"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.export(s.as["application"], "DELETE", x.ID); !isType(err, api.TypePolicyDenied) {
		t.Errorf("stopped by anybody: %v", err)
	}
	if got, err := s.export(analyst, "DELETE", x.ID); err != nil || got.State != "stopped" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.file(analyst, x.ID, 1, "purchases"); !isType(err, api.TypeConflict) {
		t.Errorf("downloaded after it was stopped: %v", err)
	}

	x = s.approved(analyst, req)
	waiting, err := s.asked(analyst, req)
	s.must(err)
	var stop api.Containment
	s.must(responder.Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{AllExports: true}, &stop))
	var shown api.Exports
	s.must(analyst.Do(ctx, "GET", "/v1/brands/gucci/exports", nil, &shown))
	if !shown.Contained {
		t.Error("the list of exports does not tell")
	}
	if _, err := s.asked(analyst, req); !isType(err, api.TypeContained) {
		t.Errorf("asked for while exports are contained: %v", err)
	}
	if _, err := s.export(responder, "POST", waiting.ID, "approve"); !isType(err, api.TypeContained) {
		t.Errorf("approved while exports are contained: %v", err)
	}
	if _, err := s.file(analyst, x.ID, 1, "customers"); !isType(err, api.TypeContained) {
		t.Errorf("downloaded while exports are contained: %v", err)
	}
	undo := fmt.Sprint("/v1/brands/gucci/containments/", stop.ID, "/undo")
	s.must(s.as["data-protection-officer"].Do(ctx, "POST", undo, nil, nil))
	s.must(responder.Do(ctx, "POST", undo+"/confirm", nil, nil))
	if _, err := s.file(analyst, x.ID, 1, "customers"); err != nil {
		t.Errorf("downloaded after exports went on: %v", err)
	}

	var list []api.Principal
	s.must(s.Do(ctx, "GET", "/v1/principals", nil, &list))
	i := slices.IndexFunc(list, func(p api.Principal) bool { return p.Name == "analyst" })
	s.must(s.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(list[i].Credentials[0].Lineage)), nil, nil))
	if _, err := s.file(analyst, x.ID, 1, "purchases"); !isType(err, api.TypeUnauthenticated) {
		t.Errorf("downloaded after the lineage was revoked: %v", err)
	}
	var other api.Credential
	s.must(s.Do(ctx, "POST", client.Path("principals", "analyst", "credentials"), api.CredentialRequest{}, &other))
	if _, err := s.file(client.New(s.url, other.Key, nil), x.ID, 1, "purchases"); !isType(err, api.TypePolicyDenied) {
		t.Errorf("a new lineage goes on with the old one's export: %v", err)
	}
}

func TestAnExportInParts(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(2*export.PartCustomers+20, inParts))
}

// A download that is cut in the middle of a file goes on with it. Whoever may have left
// is in the entries and nobody else is; what leaves twice costs no budget; a budget that
// ends in the middle refuses the next file and not the last.
func inParts(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst := s.as["analyst"]
	req := s.extract()
	req.Fields = []string{"country"}
	req.Tokens = s.tokens
	x := s.approved(analyst, req)
	if x.Parts != 3 {
		t.Fatalf("%+v", x)
	}
	inFile := map[string]bool{}
	read := func(part int) error {
		b, err := s.file(analyst, x.ID, part, "customers")
		if err != nil {
			return err
		}
		for _, r := range rowsOf(t, b)[1:] {
			if inFile[r[0]] {
				t.Fatal("somebody is in two parts")
			}
			inFile[r[0]] = true
		}
		return nil
	}
	s.must(read(1))
	_, left := s.entries(x.ID)
	if len(left) != export.PartCustomers {
		t.Errorf("one part of %d customers is logged as %d", export.PartCustomers, len(left))
	}
	// Killed while the second file is sent.
	stop, cancel := context.WithCancel(ctx)
	_, err := analyst.ExportFile(stop, "gucci", x.ID, 2, "customers", &killer{cancel: cancel})
	if err == nil {
		t.Fatal("the download was not cut")
	}
	s.must(read(2))
	// The budget of 10,000 in an hour is used up.
	if err := read(3); !isType(err, api.TypeBudgetExhausted) {
		t.Errorf("beyond the budget: %v", err)
	}
	_, left = s.entries(x.ID)
	own, err := s.vault.Disclose.Seal.Extract(ctx, 1, x.ID)
	s.must(err)
	for row := range inFile {
		ord, ok := own.Trace(row)
		if !ok || left[ord] == 0 {
			t.Fatal("somebody is in a file and in no entry")
		}
	}
	if len(left) != len(inFile) {
		t.Errorf("the entries name %d customers, the files have %d", len(left), len(inFile))
	}
	var rules api.BudgetRules
	s.must(s.Do(ctx, "GET", client.Path("brands", "gucci", "budgets"), nil, &rules))
	more := strings.ReplaceAll(rules.Rules, " export hour 10000\n", " export hour 20000\n")
	more = strings.ReplaceAll(more, " export day 10000\n", " export day 20000\n")
	s.must(s.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: more}, nil))
	s.must(read(3))
	if _, left = s.entries(x.ID); len(left) != len(s.tokens) || len(inFile) != len(s.tokens) {
		t.Errorf("%d left, %d are logged, of %d", len(inFile), len(left), len(s.tokens))
	}
}

// killer is a writer that gives up in the middle of a file.
type killer struct {
	n      int
	cancel func()
}

func (k *killer) Write(b []byte) (int, error) {
	if k.n += len(b); k.n > 20_000 {
		k.cancel()
		return 0, errors.New("killed")
	}
	return len(b), nil
}

func TestDecoysOfAnExport(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(30, decoysOfAnExport))
}

// The decoys of an export leave with it among the others, are logged as everybody is,
// and are in no count; the brand's own are in no filter.
func decoysOfAnExport(t *testing.T, s *shelf) {
	s.vault.Exports.Marker, s.vault.Exports.Canaries = decoys{s}, decoys{s}
	officer := s.as["data-protection-officer"]
	req := s.extract()
	req.Purpose, req.Form, req.Fields, req.Filter = "migration", "clear", []string{"email"}, &api.ExportFilter{}
	x := s.approved(officer, req)
	if x.Customers != 29 {
		t.Errorf("%d customers", x.Customers)
	}
	b, err := s.file(officer, x.ID, 1, "customers")
	s.must(err)
	rows := rowsOf(t, b)[1:]
	var at []int
	for i, r := range rows {
		if strings.HasPrefix(r[1], "decoy") {
			at = append(at, i)
		}
	}
	if len(rows) != 32 || len(at) != 3 || at[0] == len(rows)-3 {
		t.Errorf("%d rows, with decoys at %v", len(rows), at)
	}
	if _, left := s.entries(x.ID); len(left) != 32 {
		t.Errorf("%d are logged", len(left))
	}
}
