package evidence

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// maxHours is how many hours a breakdown by time shows. A month has as many; a longer time
// is shown by day.
const maxHours = 744

// Tally counts whose data the matching entries of one log concern. Sets of customers are
// bitmaps, so that its memory grows with the customers and not with the entries.
type Tally struct {
	filter      *Filter
	set         entry.Set
	entries     int
	disclosures int
	levels      map[string]*breakdown
	fields      map[string]*breakdown
	purposes    map[string]*breakdown
	recipients  map[string]*breakdown
	hours       map[string]*breakdown
	days        map[string]*breakdown
	changed     entry.Set
	erased      entry.Set
	created     int
	leftOut     portion
	unknown     portion
	seen        map[uint64]bool // principals of the filter that an entry names
}

type breakdown struct {
	entries, disclosures int
	set                  entry.Set
}

type portion struct {
	entries int
	set     entry.Set
}

// NewTally counts by a filter.
func NewTally(f *Filter) *Tally {
	m := func() map[string]*breakdown { return map[string]*breakdown{} }
	return &Tally{filter: f, levels: m(), fields: m(), purposes: m(), recipients: m(), hours: m(), days: m(), seen: map[uint64]bool{}}
}

// Add counts an entry with its customers, and reports whether it discloses customers of
// the scope.
func (t *Tally) Add(e *entry.Entry, ords []record.Ordinal) (counted bool, err error) {
	if e.Principal != 0 {
		for _, n := range t.filter.names {
			t.seen[n] = t.seen[n] || n == e.Principal
		}
	}
	if len(ords) == 0 {
		return false, nil
	}
	if e.Level == entry.Counted { // opened to count customers of a scope, and shown to nobody
		return false, nil
	}
	discloses := e.Kind == entry.KindDisclosure || e.Kind == entry.KindSearch
	wrote, writes := entry.WroteOf(e.Detail)
	erases := e.Kind == entry.KindErasure || e.Kind == entry.KindErasureBegun
	if !discloses && !writes && !erases {
		return false, nil
	}
	verdict := t.filter.Match(e)
	if verdict == Yes && writes && e.Bare() && wrote.Changed > 0 {
		verdict = Unknown // who of its customers changed was erased
	}
	switch verdict {
	case No:
		return false, nil
	case LeftOut:
		t.leftOut.add(ords)
		return false, nil
	case Unknown:
		t.unknown.add(ords)
		return false, nil
	}
	switch {
	case discloses:
		t.disclosed(e, ords)
	case erases:
		t.erased.Add(ords...)
	default:
		t.created += wrote.New
		if wrote.Changed > 0 {
			changed, err := wrote.ChangedOf(ords)
			if err != nil {
				return false, err
			}
			t.changed.Add(changed...)
		}
	}
	return discloses, nil
}

func (t *Tally) disclosed(e *entry.Entry, ords []record.Ordinal) {
	t.set.Add(ords...)
	t.entries++
	t.disclosures += len(ords)
	count := func(rows map[string]*breakdown, name string) {
		r := rows[name]
		if r == nil {
			r = &breakdown{}
			rows[name] = r
		}
		r.entries++
		r.disclosures += len(ords)
		r.set.Add(ords...)
	}
	count(t.levels, e.Level)
	count(t.fields, e.Fields.String())
	count(t.purposes, e.Purpose)
	if e.Recipient != "" {
		count(t.recipients, e.Recipient)
	}
	count(t.days, e.At.UTC().Format(time.DateOnly))
	if len(t.hours) <= maxHours {
		count(t.hours, e.At.UTC().Format("2006-01-02T15:00Z"))
	}
}

func (p *portion) add(ords []record.Ordinal) {
	p.entries++
	p.set.Add(ords...)
}

func (p *portion) figures() api.ScopePart {
	return api.ScopePart{Entries: p.entries, Records: p.set.Len()}
}

// Set is the customers disclosed.
func (t *Tally) Set() *entry.Set { return &t.set }

// Digest is the digest of the set of customers, as the log has it.
func (t *Tally) Digest() string { return SetDigest(&t.set) }

// SetDigest is the digest of a set of customers, as the entry of a scope has it.
func SetDigest(set *entry.Set) string {
	h := sha256.New()
	fmt.Fprint(h, "cloakroom scope set 1\n")
	h.Write(set.Encode())
	return hex.EncodeToString(h.Sum(nil))
}

// Figures are what was counted.
func (t *Tally) Figures() api.BrandScope {
	out := api.BrandScope{
		Digest: t.Digest(), Entries: t.entries, Disclosures: t.disclosures, Records: t.set.Len(), Reached: t.reached(),
		Changed: t.changed.Len(), Created: t.created, Erased: t.erased.Len(), LeftOut: t.leftOut.figures(), Unknown: t.unknown.figures(),
		Fields: rowsOf(t.fields), Levels: rowsOf(t.levels), Purposes: rowsOf(t.purposes), Recipients: rowsOf(t.recipients), Times: rowsOf(t.hours),
	}
	if len(t.hours) > maxHours {
		out.Times = rowsOf(t.days)
	}
	for name, n := range t.filter.names {
		if !t.seen[n] {
			out.Unmatched = append(out.Unmatched, name)
		}
	}
	slices.Sort(out.Unmatched)
	return out
}

// reached splits the records by the most that was shown of each.
func (t *Tally) reached() map[string]int {
	out := map[string]int{"clear": 0, "masked": 0, "extract": 0}
	var before entry.Set
	for _, level := range []string{"clear", "masked", "extract"} {
		if r := t.levels[level]; r != nil {
			out[level] = r.set.Without(&before).Len()
			before.Merge(&r.set)
		}
	}
	return out
}

func rowsOf(rows map[string]*breakdown) []api.ScopeRow {
	out := []api.ScopeRow{}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		out = append(out, api.ScopeRow{Name: name, Entries: r.entries, Disclosures: r.disclosures, Records: r.set.Len()})
	}
	return out
}

// Total adds the parts of brands up.
func Total(parts []api.BrandScope) *api.Scope {
	out := &api.Scope{Brands: parts}
	for i := range parts {
		out.Records += parts[i].Records
		out.Persons.AtLeast = max(out.Persons.AtLeast, parts[i].Records)
	}
	out.Persons.AtMost = out.Records
	slices.SortFunc(out.Brands, func(a, b api.BrandScope) int { return cmp.Compare(a.Brand, b.Brand) })
	return out
}
