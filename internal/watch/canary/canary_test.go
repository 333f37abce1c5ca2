package canary

import (
	"math"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestOdds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		rate float64
		want float64
	}{{0, 0.005, 0}, {1, 0.005, 0.005}, {500, 0.005, 0.918}, {100, 0.01, 0.634}, {10, 0, 0}, {3, 1, 1}} {
		if got := Odds(c.n, c.rate); math.Abs(got-c.want) > 0.0005 {
			t.Errorf("Odds(%d, %g) = %.4f, not %.3f", c.n, c.rate, got, c.want)
		}
	}
}

func TestARateCountsTheCanariesThereAre(t *testing.T) {
	for _, c := range []struct {
		customers int64
		have      int
		rate      float64
		want      int
	}{{995, 0, 0.005, 5}, {1000, 5, 0.005, 0}, {1000, 10, 0.005, 0}, {0, 0, 0.005, 0}, {100, 0, 0.005, 1}} {
		if got := missing(c.customers, c.have, c.rate); got != c.want {
			t.Errorf("missing(%d, %d, %g) = %d, not %d", c.customers, c.have, c.rate, got, c.want)
		}
	}
}

func TestACanaryHasNumbersOfItsOwn(t *testing.T) {
	y := style{Domain: "decoys.example", Prefix: "G-", Digits: 7}
	puts, err := y.invent(general("gucci"), 200, map[string]bool{}, random)
	if err != nil {
		t.Fatal(err)
	}
	mails := map[string]bool{}
	for _, p := range puts {
		id := p.Customer.Get(record.ExternalID)
		if !strings.HasPrefix(id, "G-") || len(id) != 9 {
			t.Fatalf("the external id %s", id)
		}
		for _, b := range p.Purchases {
			if !strings.HasPrefix(b.ID, id+"-") {
				t.Fatalf("the purchase %s of %s", b.ID, id)
			}
		}
		if mail := p.Customer.Get(record.Email); mail != "" {
			if !strings.HasSuffix(mail, "@decoys.example") || mails[mail] {
				t.Fatalf("the address %s", mail)
			}
			mails[mail] = true
		}
	}
}
