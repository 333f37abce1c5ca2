package canary

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	sealed "github.com/cloakroom/cloakroom/internal/vault/seal"
)

// brand is how the customers of one brand differ from what package generate makes, so
// that canaries who were not learned from them would show.
var shapes = map[string]func(i int, p *sealed.Put){
	"as generated": func(int, *sealed.Put) {},
	"few countries, no birth dates, bare telephone numbers": func(i int, p *sealed.Put) {
		p.Customer.Set(record.BirthDate, "")
		p.Customer.Set(record.Phone, strings.ReplaceAll(p.Customer.Get(record.Phone), " ", ""))
		p.Customer.Set(record.ExternalID, fmt.Sprintf("%d-IT", 40_000_000+977*i))
		p.Customer.Attributes = map[string]string{"tier": []string{"gold", "none", "none"}[i%3]}
		for j := range p.Purchases {
			p.Purchases[j].Store, p.Purchases[j].SKU = "", fmt.Sprint("sku-", p.Purchases[j].SKU)
			p.Purchases[j].ID = fmt.Sprintf("%08x", 77777777*(i+1)+j)
		}
		p.Purchases = p.Purchases[:min(len(p.Purchases), 3)]
	},
	"customers alone": func(i int, p *sealed.Put) { p.Purchases = nil },
}

func customers(n int, seed uint64, countries []string, shape func(int, *sealed.Put)) (out []sealed.Put) {
	for c := range invent.Customers(invent.Config{Customers: 40 * n, Seed: seed, Brands: []string{"gucci"}}) {
		if len(countries) > 0 && !slices.Contains(countries, c.Get(record.Country)) {
			continue
		}
		p := sealed.Put{Customer: c.Customer, Purchases: slices.Clone(c.Purchases)}
		p.Customer.Attributes = maps.Clone(c.Attributes)
		shape(len(out), &p)
		if out = append(out, p); len(out) == n {
			break
		}
	}
	return out
}

// What one can measure of a customer.
var measures = map[string]func(p *sealed.Put) float64{
	"size":       func(p *sealed.Put) float64 { return float64(len(record.AppendCustomer(nil, &p.Customer))) },
	"purchases":  func(p *sealed.Put) float64 { return float64(len(p.Purchases)) },
	"segments":   func(p *sealed.Put) float64 { return float64((len(p.Purchases) + 31) / 32) },
	"attributes": func(p *sealed.Put) float64 { return float64(len(p.Customer.Attributes)) },
	"columns": func(p *sealed.Put) (n float64) {
		for _, v := range p.Customer.Columns {
			if v != "" {
				n++
			}
		}
		return n
	},
	"length of the number": func(p *sealed.Put) float64 { return float64(len(p.Customer.Get(record.ExternalID))) },
	"length of the phone":  func(p *sealed.Put) float64 { return float64(len(p.Customer.Get(record.Phone))) },
	"length of the name":   func(p *sealed.Put) float64 { return float64(len(p.Customer.Get(record.FamilyName))) },
	"amount of the first": func(p *sealed.Put) float64 {
		if len(p.Purchases) == 0 {
			return 0
		}
		return float64(p.Purchases[0].Amount.Units)
	},
	"bytes of a purchase": func(p *sealed.Put) float64 {
		if len(p.Purchases) == 0 {
			return 0
		}
		b := &p.Purchases[0]
		return float64(len(b.ID) + len(b.SKU) + len(b.Description) + len(b.Store) + len(b.Channel))
	},
	"day of creation": func(p *sealed.Put) float64 {
		var y, m, d int
		fmt.Sscanf(p.Customer.Get(record.CreatedAt), "%d-%d-%d", &y, &m, &d)
		return float64(372*y + 31*m + d)
	},
}

// What one can sort customers by.
var kinds = map[string]func(p *sealed.Put) string{
	"country":   func(p *sealed.Put) string { return p.Customer.Get(record.Country) },
	"locale":    func(p *sealed.Put) string { return p.Customer.Get(record.Locale) },
	"attribute": func(p *sealed.Put) string { return p.Customer.Attributes["marketing"] + p.Customer.Attributes["tier"] },
	"currency": func(p *sealed.Put) string {
		if len(p.Purchases) == 0 {
			return ""
		}
		return p.Purchases[0].Currency + p.Purchases[0].Channel
	},
	"born": func(p *sealed.Put) string { return (p.Customer.Get(record.BirthDate) + "none")[:3] },
	"without": func(p *sealed.Put) string {
		return fmt.Sprint(p.Customer.Get(record.Email) == "", p.Customer.Get(record.Phone) == "")
	},
}

const (
	// apart is how much better than by tossing a coin one feature may tell a canary from a
	// customer: 0.5 is tossing one, 1 is telling each.
	apart = 0.06
	// spread is which share of canaries may be of other kinds than customers are, beyond what
	// it is of other customers of the brand: chance alone makes two samples differ.
	spread = 0.1
)

// better is how likely a canary has more of something than a customer, ties halved: the
// area under the curve of who sorts by it.
func better(canaries, real []float64) float64 {
	slices.Sort(real)
	sum := 0.0
	for _, x := range canaries {
		low, _ := slices.BinarySearch(real, x)
		high, _ := slices.BinarySearch(real, math.Nextafter(x, math.Inf(1)))
		sum += float64(low) + float64(high-low)/2
	}
	return sum / float64(len(canaries)) / float64(len(real))
}

// differ is which share of one sample is of other kinds than the other is.
func differ(a, b []sealed.Put, of func(*sealed.Put) string) (sum float64) {
	share := map[string]float64{}
	for i := range a {
		share[of(&a[i])] += 1 / float64(len(a))
	}
	for i := range b {
		share[of(&b[i])] -= 1 / float64(len(b))
	}
	for _, x := range share {
		sum += math.Abs(x) / 2
	}
	return sum
}

// No single feature tells canaries from the customers that they come among by more than
// the margins above. The seeds are fixed: it is the same sample every time.
func TestCanariesAreLikeTheCustomersTheyComeAmong(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			var countries []string
			if strings.HasPrefix(name, "few") {
				countries = []string{"IT", "JP", "FR"}
			}
			real, others := customers(2000, 11, countries, shape), customers(1000, 12, countries, shape)
			m := mixer{recent: invent.NewLikeness()}
			seeds := rand.New(rand.NewPCG(5, 6))
			canaries, err := style{Domain: "example.com"}.invent(m.learn(real), 1000, map[string]bool{}, seeds.Uint64)
			if err != nil {
				t.Fatal(err)
			}
			for what, of := range measures {
				var a, b []float64
				for i := range canaries {
					a = append(a, of(&canaries[i]))
				}
				for i := range real {
					b = append(b, of(&real[i]))
				}
				if got := better(a, b); math.Abs(got-0.5) > apart {
					t.Errorf("%s tells a decoy from a customer: %.3f, where 0.5 is chance", what, got)
				} else {
					t.Logf("%s %.3f", what, got)
				}
			}
			for what, of := range kinds {
				sum := differ(canaries, real, of) - differ(others, real, of)
				if sum > spread {
					t.Errorf("%s tells decoys from customers: %.3f more of them are of another than of other customers", what, sum)
				} else {
					t.Logf("%s %.3f", what, sum)
				}
			}
			for i := range canaries {
				if err := canaries[i].Customer.Check(); err != nil {
					t.Fatalf("%+v: %v", canaries[i].Customer, err)
				}
				for j := range canaries[i].Purchases {
					if err := canaries[i].Purchases[j].Check(); err != nil {
						t.Fatalf("%+v: %v", canaries[i].Purchases[j], err)
					}
				}
			}
		})
	}
}
