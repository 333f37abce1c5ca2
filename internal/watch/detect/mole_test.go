package detect_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// A mole takes as much every day from the first on, and is nobody's surprise but the
// role's. The others of the role differ by four times among each other, and are left alone.
func TestAMoleIsNoticedByTheRole(t *testing.T) {
	t.Parallel()
	rules, err := detect.DefaultRules()
	if err != nil {
		t.Fatal(err)
	}
	d := detect.New(1, rules, nil)
	r := rand.New(rand.NewPCG(5, 9))
	begin := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	const people, mole = 12, 12
	var next uint64
	taken, noticed := 0, 0
	for day := range 120 {
		for p := range people + 1 {
			n := 5 + p%4*5 // 5 to 20 a day
			if p == mole {
				n = 60
			}
			for i := range n {
				at := begin.AddDate(0, 0, day).Add(time.Duration(p*600+i*20) * time.Second)
				e := entry.Entry{Kind: entry.KindDisclosure, At: at, Brand: 1, Principal: uint64(p + 1), Lineage: uint64(p + 1), Credential: uint64(p + 1),
					Role: "support-agent", Class: "clear", Level: "clear", Fields: record.Fields(record.Email), Purpose: "customer-support"}
				if p == mole && noticed == 0 {
					taken++
				}
				for _, a := range d.Observe(next, &e, []record.Ordinal{record.Ordinal(1 + r.IntN(200_000))}) {
					switch {
					case a.Rule != detect.Mole:
					case p != mole:
						t.Errorf("day %d: honest %d: %s, %s", day, p, a.Usual, a.Seen)
					case noticed == 0:
						noticed = day + 1
					}
				}
				next++
			}
		}
	}
	if noticed == 0 || noticed > 30 || taken > 2208 {
		t.Errorf("noticed on day %d, after %d customers", noticed, taken)
	}
}
