package detect_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// A role that uses its day's budget up is an alarm while there is time to act, which says
// when it is used up. It comes once, also over a restart, and again on another day.
func TestABudgetNearItsEndIsNoticedBefore(t *testing.T) {
	t.Parallel()
	rules, err := detect.DefaultRules()
	if err != nil {
		t.Fatal(err)
	}
	var list []budget.Rule
	for kind, limit := range map[budget.HolderKind]uint32{budget.Lineage: 900, budget.Principal: 900, budget.Role: 100, budget.Brand: 1000} {
		list = append(list, budget.Rule{Kind: kind, Class: budget.Clear, Window: budget.Day, Limit: limit})
	}
	limits, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	d := detect.New(1, rules, nil)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	d.Observe(0, &entry.Entry{Kind: entry.KindBudget, At: at, Brand: 1, Detail: entry.BudgetRules{Rules: string(limits.Encode())}}, nil)
	next := uint64(1)
	read := func(ord int) (said []detect.Alarm) {
		e := entry.Entry{Kind: entry.KindDisclosure, At: at, Brand: 1, Principal: 7 + next%5, Lineage: 70 + next%5, Credential: 70 + next%5, Role: "support-agent", Class: "clear"}
		for _, a := range d.Observe(next, &e, []record.Ordinal{record.Ordinal(ord)}) {
			if a.Rule == detect.Budget {
				said = append(said, a)
			}
		}
		next++
		at = at.Add(time.Minute)
		return said
	}
	for n := range 69 {
		if said := read(1 + n); len(said) > 0 {
			t.Fatalf("after %d of 100: %+v", n+1, said)
		}
		if said := read(1 + n); len(said) > 0 { // a customer again costs nothing
			t.Fatalf("after %d of 100: %+v", n+1, said)
		}
		at = at.Add(-time.Minute)
	}
	said := read(70)
	if len(said) != 1 || !strings.Contains(said[0].Seen, "70 of 100 customers on 2026-03-02 until 10:09 UTC: at this pace it is used up at 10:3") ||
		!strings.Contains(said[0].Usual, "less than 70 % of the clear budget of role support-agent") {
		t.Fatalf("%+v", said)
	}
	if said := read(71); len(said) > 0 {
		t.Errorf("it said so again: %+v", said)
	}
	var kept bytes.Buffer
	if err := d.Encode(bufio.NewWriter(&kept)); err != nil {
		t.Fatal(err)
	}
	d = detect.New(1, rules, nil)
	if err := d.Decode(bufio.NewReader(&kept)); err != nil {
		t.Fatal(err)
	}
	if said := read(72); len(said) > 0 {
		t.Errorf("after a restart it said so again: %+v", said)
	}
	at = at.Add(24 * time.Hour)
	for n := range 100 {
		said = append(said, read(1+n)...)
	}
	if len(said) != 2 {
		t.Errorf("%d alarms on two days", len(said))
	}
}

// A brand that switched the rule off gets no alarm of it, and loses no other.
func TestABudgetThatIsOffIsNoAlarm(t *testing.T) {
	t.Parallel()
	rules, err := detect.ParseRules("off: [budget]\n")
	if err != nil {
		t.Fatal(err)
	}
	limits, err := budget.NewRules([]budget.Rule{{Kind: budget.Role, Class: budget.Clear, Window: budget.Day, Limit: 1}})
	if err != nil {
		t.Fatal(err)
	}
	d := detect.New(1, rules, nil)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	d.Observe(0, &entry.Entry{Kind: entry.KindBudget, At: at, Brand: 1, Detail: entry.BudgetRules{Rules: string(limits.Encode())}}, nil)
	for n := range 5 {
		e := entry.Entry{Kind: entry.KindDisclosure, At: at, Brand: 1, Principal: 7, Lineage: 70, Credential: 70, Role: "support-agent", Class: "clear"}
		for _, a := range d.Observe(uint64(1+n), &e, []record.Ordinal{record.Ordinal(1 + n)}) {
			if a.Rule == detect.Budget || strings.Contains(a.Key, "/budget/") {
				t.Errorf("%+v", a)
			}
		}
	}
}
