// Package invent makes up customers and purchases that look like a group's own:
// names in several scripts, addresses of forty countries and every US state, e-mail
// addresses in odd case and with +tags, people who are customers of two brands,
// customers without e-mail or phone, opt-outs, and purchases with a heavy tail.
//
// Nobody in it is real. A customer depends on the seed and on the customer's number
// alone, so the same seed gives the same bytes on every machine, and a larger set
// begins with the smaller one. Customers are yielded one at a time in constant
// memory.
package invent

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// MaxCustomers is the most customers of one run: ordinals have 32 bits.
const MaxCustomers = math.MaxUint32 - 1

// ErrConfig is returned for a configuration that cannot be generated.
var ErrConfig = fault.New(fault.Internal, "wrong configuration")

// Config says what to generate.
type Config struct {
	Customers int      // in all brands together
	Seed      uint64   // the same seed gives the same customers
	Brands    []string // customers go round them in turn
}

// Check reports what is wrong, as an ErrConfig.
func (c Config) Check() error {
	if len(c.Brands) == 0 {
		return fmt.Errorf("%w: at least one brand is needed", ErrConfig)
	}
	if c.Customers < 0 || c.Customers > MaxCustomers {
		return fmt.Errorf("%w: the number of customers must be 0 to %d", ErrConfig, MaxCustomers)
	}
	return nil
}

// Customer is a generated customer of the brand with that index in Config.Brands.
type Customer struct {
	record.Customer
	Brand     int
	Purchases []record.Purchase
}

// Shares of customers, one in so many.
const (
	oneInTwoBrands = 12 // is the customer before this one, met again in another brand
	oneInNoEmail   = 15
	oneInNoPhone   = 8
	oneInPlusTag   = 16
	oneInOddCase   = 10
	oneInOptOut    = 5
	oneInNoBuy     = 7
	oneInNote      = 40
)

const (
	// tailExponent is the Pareto exponent of the number of purchases: most buy a
	// few times, one in thousands buys hundreds of times.
	tailExponent = 1.5
	// tailMost cuts the tail where a customer would be a shop.
	tailMost = 2000
	// productsPerBrand is the length of each brand's list of products.
	productsPerBrand = 400
)

// The period in which generated purchases lie.
const (
	periodStartUnix = 1672531200 // 2023-01-01
	periodEndUnix   = 1767225600 // 2026-01-01
)

// Customers yields the customers of cfg, and none where cfg does not pass its
// check. The yielded customer is overwritten by the next one.
func Customers(cfg Config) iter.Seq[*Customer] {
	return func(yield func(*Customer) bool) {
		if cfg.Check() != nil {
			return
		}
		m := newMaker(cfg.Seed)
		for n := range uint64(cfg.Customers) {
			m.out.Brand = int(n % uint64(len(cfg.Brands)))
			person := n
			if n > 0 && len(cfg.Brands) > 1 && n%oneInTwoBrands == 1 {
				person = n - 1
			}
			c := m.profile(n, person, nil)
			m.purchases(c, cfg.Brands[m.out.Brand])
			if !yield(&m.out) {
				return
			}
		}
	}
}

// Buyers invents the profiles of customers whose purchases are known. Not for
// concurrent use.
type Buyers struct{ m *maker }

// NewBuyers returns the profiles of a seed.
func NewBuyers(seed uint64) *Buyers { return &Buyers{newMaker(seed)} }

// Customer returns the n-th customer, created before the given time, without purchases.
// The next call overwrites it.
func (b *Buyers) Customer(n uint64, before time.Time) *Customer {
	b.m.profile(n, n, &before)
	return &b.m.out
}

// maker makes one customer after the other in the same memory.
type maker struct {
	seed      uint64
	countries []country
	pcg       *rand.PCG
	rng       *rand.Rand
	out       Customer
	times     []int64
}

func newMaker(seed uint64) *maker {
	pcg := rand.NewPCG(0, 0)
	return &maker{seed: seed, countries: parseCountries(), pcg: pcg, rng: rand.New(pcg)}
}

// Streams of random numbers: what a person carries from brand to brand, and what
// belongs to one customer number.
const (
	streamPerson   = 0x9e3779b97f4a7c15
	streamCustomer = 0xbf58476d1ce4e5b9
)

func (m *maker) restart(stream, n uint64) { m.pcg.Seed(m.seed^stream, n*stream+stream) }

func (m *maker) oneIn(n int) bool { return m.rng.IntN(n) == 0 }

func pick[T any](m *maker, of []T) T { return of[m.rng.IntN(len(of))] }

// profile fills in everything but the purchases. A customer is created before the
// given time, or at some time of the period. Customers of files of purchases live
// in the US, where their amounts come from.
func (m *maker) profile(n, person uint64, before *time.Time) *country {
	m.restart(streamPerson, person)
	at := m.rng.IntN(len(m.countries))
	if before != nil {
		at = 0 // the table begins with the US
	}
	return m.profileIn(n, person, at, before)
}

// profileIn is profile in a country, once the person's stream has begun.
func (m *maker) profileIn(n, person uint64, at int, before *time.Time) *country {
	c := &m.countries[at]
	given, family := pick(m, c.names.given), pick(m, c.names.family)
	home := pick(m, c.places)
	postal := c.postal
	if home.postal != "" {
		postal = home.postal
	}
	street := strings.Replace(c.form, "#", strconv.Itoa(1+m.rng.IntN(240)), 1)
	mailbox := given.ascii + pick(m, []string{".", "_", ""}) + family.ascii + strconv.FormatUint(person, 36)
	domain := pick(m, []string{"example.com", "example.net", "example.org", "mail.example.com", "bücher.example"})

	cols := &m.out.Columns
	cols[record.GivenName], cols[record.FamilyName] = given.text, family.text
	cols[record.Phone] = m.digits(c.phone, 2)
	cols[record.Street] = strings.Replace(street, "%", pick(m, c.streets), 1)
	cols[record.PostalCode] = m.digits(postal, 0)
	cols[record.City], cols[record.Region] = home.city, home.region
	cols[record.Country], cols[record.Locale] = c.code, c.locale
	cols[record.BirthDate] = time.Date(1940+m.rng.IntN(67), 1, 1+m.rng.IntN(365), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	noEmail, noPhone := m.oneIn(oneInNoEmail), m.oneIn(oneInNoPhone)

	m.restart(streamCustomer, n)
	cols[record.ExternalID] = fmt.Sprintf("C%09d", n+1)
	if m.oneIn(oneInPlusTag) {
		mailbox += "+" + pick(m, []string{"shop", "vip", "news"})
	}
	cols[record.Email] = mailbox + "@" + domain
	if m.oneIn(oneInOddCase) {
		cols[record.Email] = strings.ToUpper(mailbox[:1]) + mailbox[1:] + "@" + strings.ToUpper(domain)
	}
	if noEmail {
		cols[record.Email] = ""
	}
	if noPhone {
		cols[record.Phone] = ""
	}
	created := int64(periodStartUnix) + m.rng.Int64N(periodEndUnix-periodStartUnix)
	if before != nil {
		created = before.Unix() - m.rng.Int64N(90*24*3600)
	}
	cols[record.CreatedAt] = time.Unix(created, 0).UTC().Format(time.RFC3339)
	m.out.Attributes = map[string]string{"marketing": "opted-in", "shoe_size": strconv.Itoa(35 + m.rng.IntN(12))}
	if m.oneIn(oneInOptOut) {
		m.out.Attributes["marketing"] = "opted-out"
	}
	if m.oneIn(oneInNote) {
		m.out.Attributes["note"] = pick(m, []string{"prefers to be called after 18:00", "birthday flowers, no lilies", "leave with the concierge", "speaks French and Japanese"})
	}
	return c
}

// digits replaces every # by a random digit of at least least. Telephone numbers
// use 2 and up: 0 and 1 begin no local number in several countries.
func (m *maker) digits(pattern string, least int) string {
	b := []byte(pattern)
	for i := range b {
		if b[i] == '#' {
			b[i] = byte('0' + least + m.rng.IntN(10-least))
		}
	}
	return string(b)
}

// purchases gives the customer a heavy-tailed number of purchases in order of time.
func (m *maker) purchases(c *country, brand string) {
	m.out.Purchases = m.out.Purchases[:0]
	if m.oneIn(oneInNoBuy) {
		return
	}
	n := int(min(2*math.Pow(1-m.rng.Float64(), -1/tailExponent), tailMost))
	m.times = m.times[:0]
	for range n {
		m.times = append(m.times, periodStartUnix+m.rng.Int64N(periodEndUnix-periodStartUnix))
	}
	slices.Sort(m.times)
	id := m.out.Get(record.ExternalID)
	for i, at := range m.times {
		product := uint64(m.rng.IntN(productsPerBrand))
		p := record.Purchase{
			ID: id + "-" + strconv.Itoa(i+1), At: time.Unix(at, 0).UTC(),
			SKU:      strings.ToUpper(brand[:min(2, len(brand))]) + fmt.Sprintf("%05d", 10*product),
			Quantity: 1, Currency: c.currency, Channel: "online",
		}
		p.Description, p.Amount = describe(product, c.currency)
		if m.oneIn(20) {
			p.Quantity = 2
			p.Amount.Units *= 2
		}
		if !m.oneIn(3) {
			p.Channel, p.Store = "store", c.code+"-"+strconv.Itoa(1+m.rng.IntN(9))
		}
		m.out.Purchases = append(m.out.Purchases, p)
	}
}

// describe returns a product's name and price: the same for everybody.
func describe(product uint64, currency string) (string, record.Amount) {
	things := []string{"Shoulder bag", "Loafers", "Silk scarf", "Card case", "Sneakers", "Wool coat", "Sunglasses", "Belt", "Ankle boots", "Knit dress"}
	stuffs := []string{"black leather", "ivory silk", "red suede", "navy wool", "canvas", "patent leather", "gold-tone", "printed cotton"}
	name := things[product%10] + ", " + stuffs[product/10%8]
	if product >= 80 {
		name += ", edition " + strconv.FormatUint(product/80, 10)
	}
	price := int64(90 + 37*product%2900)
	switch currency {
	case "JPY", "KRW", "CLP":
		return name, record.Amount{Units: price * 150}
	}
	return name, record.Amount{Units: price*100 - 5, Scale: 2}
}
