package scope_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// invented is a log in memory.
type invented []struct {
	e    entry.Entry
	ords []record.Ordinal
}

func (l invented) Scan(_ context.Context, _ record.BrandID, from uint64, fn func(uint64, entry.Entry, []record.Ordinal) error) error {
	for i := from; i < uint64(len(l)); i++ {
		if err := fn(i, l[i].e, l[i].ords); err != nil {
			return err
		}
	}
	return nil
}

var began = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// draw invents an entry, of which every eighth has lost its values.
func draw(t *rapid.T) (e entry.Entry, ords []record.Ordinal) {
	for _, o := range rapid.SliceOfNDistinct(rapid.IntRange(1, 30), 1, 8, rapid.ID[int]).Draw(t, "customers") {
		ords = append(ords, record.Ordinal(o))
	}
	slices.Sort(ords)
	kind := rapid.SampledFrom([]entry.Kind{entry.KindDisclosure, entry.KindDisclosure, entry.KindSearch, entry.KindErasure, entry.KindAudit}).Draw(t, "kind")
	e = entry.Entry{
		Kind: kind, Brand: 1, At: began.Add(time.Duration(rapid.IntRange(0, 3*24*3600).Draw(t, "at")) * time.Second),
		Principal: rapid.Uint64Range(1, 4).Draw(t, "principal"), Credential: rapid.Uint64Range(1, 6).Draw(t, "credential"),
		Lineage: rapid.Uint64Range(1, 3).Draw(t, "lineage"),
		Role:    rapid.SampledFrom([]string{"support-agent", "application", "incident-responder"}).Draw(t, "role"),
		Purpose: rapid.SampledFrom([]string{"support", "orders"}).Draw(t, "purpose"),
		Fields:  record.FieldSet(rapid.Uint32Range(1, 15).Draw(t, "fields")),
		Count:   entry.Bucket(len(ords)), Root: [32]byte{1}, Subjects: [32]byte{1},
	}
	if kind == entry.KindDisclosure || kind == entry.KindSearch {
		e.Level = rapid.SampledFrom([]string{"clear", "masked", "extract"}).Draw(t, "level")
	}
	if kind == entry.KindDisclosure && rapid.Bool().Draw(t, "exported") {
		e.Detail = entry.ExportPart{Export: rapid.SampledFrom([]string{"exp-1", "exp-2"}).Draw(t, "export")}
	}
	leaf, values, err := entry.Marshal(&e, entry.Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	out, err := entry.Unmarshal(leaf)
	if err != nil {
		t.Fatal(err)
	}
	if rapid.IntRange(0, 7).Draw(t, "erased") > 0 {
		if err := out.Open(values); err != nil {
			t.Fatal(err)
		}
	}
	return out, ords
}

func drawFilter(t *rapid.T) (f api.ScopeFilter) {
	some := func() bool { return rapid.IntRange(0, 3).Draw(t, "use") == 0 }
	if some() {
		f.Principals = rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "9"}), 1, 2).Draw(t, "principals")
	}
	if some() {
		f.Credentials = rapid.SliceOfN(rapid.Uint64Range(1, 6), 1, 3).Draw(t, "credentials")
	}
	if some() {
		f.Lineages = rapid.SliceOfN(rapid.Uint64Range(1, 3), 1, 2).Draw(t, "lineages")
	}
	if some() {
		f.Roles = []string{rapid.SampledFrom([]string{"support-agent", "incident-responder"}).Draw(t, "roles")}
	}
	if some() {
		f.Exports = []string{"exp-1"}
	}
	if some() {
		f.Fields = []string{record.Field(rapid.IntRange(0, 3).Draw(t, "field")).String()}
	}
	if some() {
		f.Purposes = []string{"support"}
	}
	if some() {
		f.Levels = rapid.SliceOfN(rapid.SampledFrom([]string{"clear", "masked", "extract"}), 1, 2).Draw(t, "levels")
	}
	if some() {
		f.Kinds = []string{"search"}
	}
	if some() {
		f.From = began.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "from")) * time.Hour)
	}
	if some() {
		f.To = began.Add(time.Duration(rapid.IntRange(49, 72).Draw(t, "to")) * time.Hour)
	}
	return f
}

// where writes a filter in SQL, without any of the code under test.
func where(f *api.ScopeFilter) string {
	and := []string{"true"}
	in := func(column string, list []string) {
		if len(list) > 0 {
			and = append(and, fmt.Sprintf("coalesce(%s IN ('%s'), false)", column, strings.Join(list, "','")))
		}
	}
	numbers := func(list []uint64) (out []string) {
		for _, n := range list {
			out = append(out, fmt.Sprint(n))
		}
		return out
	}
	in("principal", f.Principals)
	in("credential", numbers(f.Credentials))
	in("lineage", numbers(f.Lineages))
	in("role", f.Roles)
	in("export", f.Exports)
	in("purpose", f.Purposes)
	in("level", f.Levels)
	in("kind", f.Kinds)
	for _, name := range f.Fields {
		and = append(and, fmt.Sprintf("fields LIKE '%%,%s,%%'", name))
	}
	if !f.From.IsZero() {
		and = append(and, fmt.Sprintf("at >= %d", f.From.UnixMicro()))
	}
	if !f.To.IsZero() {
		and = append(and, fmt.Sprintf("at < %d", f.To.UnixMicro()))
	}
	return "(" + strings.Join(and, " AND ") + ")"
}

func join(filters []api.ScopeFilter) string {
	var or []string
	for i := range filters {
		or = append(or, where(&filters[i]))
	}
	return "(" + strings.Join(append(or, "false"), " OR ") + ")"
}

// The scope of any filter is what plain SQL over the entries counts. Entries that lost
// their values are compared by the filters that need none.
func TestAScopeIsWhatSQLCounts(t *testing.T) {
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		if _, err := d.Exec(ctx, `CREATE TABLE slow (entry bigint, ord bigint, kind text, principal text, credential text, lineage text, role text, export text, purpose text, level text, fields text, at bigint)`); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			if _, err := d.Exec(ctx, `DELETE FROM slow`); err != nil {
				rt.Fatal(err)
			}
			var log invented
			var stmts []db.Stmt
			for i := range rapid.IntRange(1, 12).Draw(rt, "entries") {
				e, ords := draw(rt)
				log = append(log, struct {
					e    entry.Entry
					ords []record.Ordinal
				}{e, ords})
				if e.Bare() {
					continue // counted apart
				}
				export := ""
				if p, ok := e.Detail.(entry.ExportPart); ok {
					export = p.Export
				}
				for _, o := range ords {
					stmts = append(stmts, db.Stmt{SQL: `INSERT INTO slow VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)`, Args: []any{int64(i), int64(o), e.Kind.String(),
						fmt.Sprint(e.Principal), fmt.Sprint(e.Credential), fmt.Sprint(e.Lineage), e.Role, export, e.Purpose, e.Level, "," + e.Fields.String() + ",", e.At.UnixMicro()}})
				}
			}
			if err := d.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
				rt.Fatal(err)
			}
			req := api.ScopeRequest{Investigators: rapid.Bool().Draw(rt, "investigators")}
			for range rapid.IntRange(1, 2).Draw(rt, "any") {
				req.Any = append(req.Any, drawFilter(rt))
			}
			for range rapid.IntRange(0, 2).Draw(rt, "except") {
				req.Except = append(req.Except, drawFilter(rt))
			}
			f, err := evidence.NewFilter(&req)
			if err != nil {
				rt.Fatal(err)
			}
			named := slices.ContainsFunc(req.Any, func(f api.ScopeFilter) bool {
				return len(f.Principals)+len(f.Credentials)+len(f.Lineages)+len(f.Roles) > 0
			})
			matching := join(req.Any) + " AND NOT " + join(req.Except)
			if !req.Investigators && !named {
				matching += " AND role <> 'incident-responder'"
			}
			var whole invented // without those that lost their values, which SQL has not
			for _, x := range log {
				if !x.e.Bare() {
					whole = append(whole, x)
				}
			}
			tally := evidence.NewTally(f)
			if err := scope.Count(ctx, whole, 1, scope.Question{Size: uint64(len(whole)), Tally: tally}); err != nil {
				rt.Fatal(err)
			}
			got := tally.Figures()
			var want struct{ entries, disclosures, records, clear, masked, extract, erased int }
			count := func(to *int, what, cond string) {
				if err := d.Row(ctx, `SELECT count(`+what+`) FROM slow WHERE `+matching+` AND `+cond).Scan(to); err != nil {
					rt.Fatal(err)
				}
			}
			const shown = "kind IN ('disclosure','search')"
			count(&want.entries, "DISTINCT entry", shown)
			count(&want.disclosures, "*", shown)
			count(&want.records, "DISTINCT ord", shown)
			count(&want.clear, "DISTINCT ord", shown+" AND level = 'clear'")
			count(&want.erased, "DISTINCT ord", "kind = 'erasure'")
			count(&want.masked, "DISTINCT ord", shown+" AND level = 'masked' AND ord NOT IN (SELECT ord FROM slow WHERE "+matching+" AND level = 'clear')")
			count(&want.extract, "DISTINCT ord", shown+" AND level = 'extract' AND ord NOT IN (SELECT ord FROM slow WHERE "+matching+" AND level IN ('clear', 'masked'))")
			have := want
			have.entries, have.disclosures, have.records, have.erased = got.Entries, got.Disclosures, got.Records, got.Erased
			have.clear, have.masked, have.extract = got.Reached["clear"], got.Reached["masked"], got.Reached["extract"]
			if have != want {
				rt.Fatalf("%+v, and SQL counts %+v, for %+v", have, want, req)
			}
			var ords []record.Ordinal
			if err := d.Rows(ctx, func(r db.Row) error {
				var o int64
				err := r.Scan(&o)
				ords = append(ords, record.Ordinal(o))
				return err
			}, `SELECT DISTINCT ord FROM slow WHERE `+matching+` AND `+shown+` ORDER BY ord`); err != nil {
				rt.Fatal(err)
			}
			if set := slices.Collect(tally.Set().All()); !slices.Equal(set, ords) {
				rt.Fatalf("the set is %v, and that of SQL %v", set, ords)
			}
			// With the others: nothing gets lost. What cannot be held against the filter is counted.
			all := evidence.NewTally(f)
			if err := scope.Count(ctx, log, 1, scope.Question{Size: uint64(len(log)), Tally: all}); err != nil {
				rt.Fatal(err)
			}
			for o := range tally.Set().All() {
				if !all.Set().Has(o) {
					rt.Fatalf("customer %d is missing once other entries lost their values", o)
				}
			}
		})
	})
}

// once is a log that counts how often it is read, and from how many entries.
type once struct {
	invented
	scans, entries int
}

func (l *once) Scan(ctx context.Context, brand record.BrandID, from uint64, fn func(uint64, entry.Entry, []record.Ordinal) error) error {
	l.scans++
	return l.invented.Scan(ctx, brand, from, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		l.entries++
		return fn(i, e, ords)
	})
}

// Questions asked together are answered as if each was asked alone, of its own size of the
// log, from one reading that ends soon after the longest of them.
func TestQuestionsOfOneLogReadItOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		log := &once{}
		for range rapid.IntRange(1, 12).Draw(rt, "entries") {
			e, ords := draw(rt)
			log.invented = append(log.invented, struct {
				e    entry.Entry
				ords []record.Ordinal
			}{e, ords})
		}
		var together []scope.Question
		var alone []*evidence.Tally
		longest := uint64(0)
		for range rapid.IntRange(1, 3).Draw(rt, "questions") {
			f, err := evidence.NewFilter(&api.ScopeRequest{Any: []api.ScopeFilter{drawFilter(rt)}})
			if err != nil {
				rt.Fatal(err)
			}
			size := rapid.Uint64Range(0, uint64(len(log.invented))).Draw(rt, "size")
			longest = max(longest, size)
			together = append(together, scope.Question{Size: size, Tally: evidence.NewTally(f)})
			alone = append(alone, evidence.NewTally(f))
			if err := scope.Count(ctx, log.invented[:size], 1, scope.Question{Size: size, Tally: alone[len(alone)-1]}); err != nil {
				rt.Fatal(err)
			}
		}
		if err := scope.Count(ctx, log, 1, together...); err != nil {
			rt.Fatal(err)
		}
		if log.scans != 1 || uint64(log.entries) > longest+1 {
			rt.Fatalf("the log was read %d times, %d entries, and the longest question is of %d", log.scans, log.entries, longest)
		}
		for i, q := range together {
			if got, want := fmt.Sprintf("%+v", q.Tally.Figures()), fmt.Sprintf("%+v", alone[i].Figures()); got != want {
				rt.Fatalf("together it is\n%s\nand alone\n%s", got, want)
			}
		}
	})
}

// The day of an entry is left when its values are erased: a name can then not be decided,
// a whole day can.
func TestEntriesWithoutValuesAreCountedApart(t *testing.T) {
	t.Parallel()
	e := entry.Entry{Kind: entry.KindDisclosure, Brand: 1, At: began.Add(5 * time.Hour), Principal: 7, Level: "clear", Role: "application", Count: 1, Root: [32]byte{1}, Subjects: [32]byte{1}}
	leaf, _, err := entry.Marshal(&e, entry.Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	bare, err := entry.Unmarshal(leaf)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    api.ScopeFilter
		want evidence.Verdict
	}{
		"everything":             {api.ScopeFilter{}, evidence.Yes},
		"a principal":            {api.ScopeFilter{Principals: []string{"7"}}, evidence.Unknown},
		"another role":           {api.ScopeFilter{Principals: []string{"7"}, Roles: []string{"marketing"}}, evidence.No},
		"the whole day":          {api.ScopeFilter{From: began, To: began.Add(24 * time.Hour)}, evidence.Yes},
		"a part of the day":      {api.ScopeFilter{From: began.Add(time.Hour)}, evidence.Unknown},
		"the end within the day": {api.ScopeFilter{To: began.Add(time.Hour)}, evidence.Unknown},
		"a later day":            {api.ScopeFilter{From: began.Add(24 * time.Hour)}, evidence.No},
		"an earlier day":         {api.ScopeFilter{To: began}, evidence.No},
	} {
		f, err := evidence.NewFilter(&api.ScopeRequest{Any: []api.ScopeFilter{c.f}})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(&bare); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
	}
}

func customers(n int) (out []api.Fields) {
	for i := range n {
		out = append(out, api.Fields{"external_id": fmt.Sprint("Z-", i), "given_name": "Zoe", "email": fmt.Sprintf("zoe%d@mail.example", i)})
	}
	return out
}

func reveal(t *testing.T, h *apptest.House, c identity.Caller, brand string, tokens ...string) {
	t.Helper()
	_, err := h.Disclose.Reveal(t.Context(), c, brand, api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "order-fulfilment"})
	h.Must(err)
}

// What a thief was shown is counted exactly, at one brand and from the group, while the
// brand is contained too, and the question is in the log before the answer.
func TestScopeOfAThief(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		thief := h.Person("thief", map[string]string{"gucci": access.Application, "balenciaga": access.Application})
		honest := h.Person("honest", map[string]string{"gucci": access.Application})
		lead := h.Person("lead", map[string]string{"group": access.IncidentResponder})
		gucci, balenciaga := h.Put("gucci", customers(6)...), h.Put("balenciaga", customers(3)...)
		reveal(t, h, thief, "gucci", gucci[:4]...)
		reveal(t, h, thief, "gucci", gucci[2:5]...)
		reveal(t, h, thief, "balenciaga", balenciaga[:2]...)
		reveal(t, h, honest, "gucci", gucci[5])
		_, err := h.Contain.Contain(ctx, lead, "gucci", api.ContainRequest{Brand: true})
		h.Must(err)
		size := h.Size("gucci")
		s, err := h.Scope.Scope(ctx, lead, "group", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}, Ticket: "CASE-1"})
		h.Must(err)
		if s.Records != 7 || s.Persons != (api.Persons{AtLeast: 5, AtMost: 7}) || len(s.Brands) != 2 {
			t.Fatalf("%+v", s)
		}
		g := s.Brands[1]
		if g.Brand != "gucci" || g.Records != 5 || g.Disclosures != 7 || g.Entries != 2 || g.Size != size || g.Entry != size || g.Reached["clear"] != 5 {
			t.Errorf("%+v", g)
		}
		last := h.Logged("gucci", size)
		if len(last) != 1 || !strings.Contains(last[0], "change=scope") || !strings.Contains(last[0], "records=5") || !strings.Contains(last[0], g.Digest) {
			t.Errorf("the log says %q", last)
		}
		// A brand's own people see the brand's part, and nobody else's.
		officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
		s, err = h.Scope.Scope(ctx, officer, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
		h.Must(err)
		if s.Records != 5 || len(s.Brands) != 1 {
			t.Errorf("the brand's own part is %+v", s)
		}
		for brand, c := range map[string]identity.Caller{"group": officer, "balenciaga": officer, "gucci": honest} {
			if _, err := h.Scope.Scope(ctx, c, brand, api.ScopeRequest{Any: []api.ScopeFilter{{}}}); err == nil {
				t.Errorf("%s answers somebody without the right to audit it", brand)
			}
		}
		// A name that nobody has is answered as somebody who did nothing.
		s, err = h.Scope.Scope(ctx, officer, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"nobody"}}}})
		h.Must(err)
		if s.Records != 0 || !slices.Equal(s.Brands[0].Unmatched, []string{"nobody"}) {
			t.Errorf("nobody gives %+v", s)
		}
		if _, err := h.Scope.Scope(ctx, officer, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{{Fields: []string{"emial"}}}}); fault.Of(err) == nil || fault.Of(err).Kind() != fault.Invalid {
			t.Errorf("a misspelt field gives %v", err)
		}
	})
}
