package duties

import (
	"testing"
)

// The worked cases of every rule come out.
func TestWorkedCases(t *testing.T) {
	b, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, r := range b.order {
		cases += len(r.Cases)
	}
	rules, unread, places := b.Counts()
	t.Logf("%d rules in %d jurisdictions, %d unread, %d worked cases, version %s", rules, places, unread, cases, b.Version)
	if rules < 143 || cases < 3*rules {
		t.Errorf("%d rules with %d cases", rules, cases)
	}
}
