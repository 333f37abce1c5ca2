package budget_test

import (
	"bufio"
	"bytes"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// bruteUsed counts by the words of the definition what a window holds that ends in a
// bucket: customers once, and each search that found nobody.
func bruteUsed(log []logged, bucket, length int64, more budget.Disclosure) (n int) {
	seen := map[record.Ordinal]bool{}
	add := func(d budget.Disclosure) {
		n += d.Absent
		for _, o := range d.Ords {
			if o.Nobody() { // as earlier releases logged it
				n++
			} else {
				seen[o] = true
			}
		}
	}
	for _, e := range log {
		if b := e.at.Unix() / 300; b >= bucket-length && b <= bucket {
			add(e.d)
		}
	}
	add(more)
	return n + len(seen)
}

// A search that finds nobody costs one, always: also above 2^20 of them, beside entries of
// earlier releases that fell on one ordinal, after a refusal, and after a restart from a
// snapshot or from the log. What is answered is what fits, to the last.
func TestEachSearchForNobodyCostsOne(t *testing.T) {
	t.Parallel()
	lengths := [3]int64{12, 288, 8640}
	rapid.Check(t, func(t *rapid.T) {
		var limits [3]uint32
		var list []budget.Rule
		for w := budget.Hour; w <= budget.Month; w++ {
			limits[w] = rapid.Uint32Range(1<<20+1, 1<<22).Draw(t, "limit")
			list = append(list, budget.Rule{Kind: budget.Brand, Class: budget.Search, Window: w, Limit: limits[w]})
		}
		for _, kind := range []budget.HolderKind{budget.Lineage, budget.Principal, budget.Role} {
			list = append(list, budget.Rule{Kind: kind, Class: budget.Search, Window: budget.Hour, Limit: 1 << 30})
		}
		rules, err := budget.NewRules(list)
		if err != nil {
			t.Fatal(err)
		}
		book := budget.NewBook(rules)
		other := budget.NewBook(rules) // another server: it reads what the first commits
		var log []logged
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 40).Draw(t, "groups") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Minute, 6 * time.Minute, time.Hour, 25 * time.Hour, 31 * 24 * time.Hour}).Draw(t, "later"))
			g := book.Begin(now)
			bucket, pending := g.At().Unix()/300, log
			for range rapid.IntRange(1, 3).Draw(t, "requests") {
				d := person(t)
				d.Class = budget.Search
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					d.Ords = []record.Ordinal{record.Ordinal(rapid.IntRange(1, 9).Draw(t, "customer"))}
				case 1:
					d.Ords = []record.Ordinal{record.FirstNobody + record.Ordinal(rapid.IntRange(0, 2).Draw(t, "stranger"))}
				case 2:
					d.Absent = 1
				default: // many at once stand for as many searches, so that the limit comes near
					d.Absent = rapid.IntRange(1, 1<<21).Draw(t, "absent")
				}
				fits := true
				for w, length := range lengths {
					fits = fits && bruteUsed(pending, bucket, length, d) <= int(limits[w])
				}
				var full *budget.ExhaustedError
				switch err := g.Decide(d); {
				case err == nil && fits:
					pending = append(pending[:len(pending):len(pending)], logged{g.At(), d})
				case err == nil:
					t.Fatal("a window went over its limit")
				case !errors.As(err, &full) || fits:
					t.Fatalf("refused what fits: %v", err)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "commit") > 0 {
				g.Commit()
				for _, e := range pending[len(log):] {
					e.d.At = e.at
					if err := other.Apply(e.d); err != nil {
						t.Fatal(err)
					}
				}
				log = pending
			}
			for w, length := range lengths {
				want := bruteUsed(log, book.Begin(now).At().Unix()/300, length, budget.Disclosure{})
				for _, b := range []*budget.Book{book, other} {
					for _, u := range b.Usage(budget.Holder{Kind: budget.Brand}, now) {
						if u.Class == budget.Search && u.Window == budget.Window(w) && u.Count != want {
							t.Fatalf("%d are used, and the log has %d", u.Count, want)
						}
					}
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
				var out bytes.Buffer
				if err := book.Encode(bufio.NewWriter(&out)); err != nil {
					t.Fatal(err)
				}
				if book, err = budget.DecodeBook(bufio.NewReader(&out)); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
